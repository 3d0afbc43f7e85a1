package fakehub

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// found is a repository in an answer of the v1 search.
type found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stars       int    `json:"star_count"`
	Official    bool   `json:"is_official"`
	Automated   bool   `json:"is_automated"`
}

// serveSearch answers as index.docker.io does: official images go without their "library/".
func (h *Hub) serveSearch(x *exchange) {
	query := x.r.URL.Query()
	n, err := strconv.Atoi(query.Get("n"))
	if query.Has("n") && (err != nil || n < 1 || n > 100) {
		x.fail(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
		return
	}
	results := h.find(strings.ToLower(query.Get("q")))
	if n > 0 && n < len(results) {
		results = results[:n]
	}
	x.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(x.w).Encode(map[string]any{"query": query.Get("q"), "num_results": len(results), "results": results})
}

// find lists what everybody may pull, by name.
func (h *Hub) find(term string) []found {
	h.mu.Lock()
	defer h.mu.Unlock()
	results := []found{}
	for _, name := range slices.Sorted(maps.Keys(h.repos)) {
		short, official := strings.CutPrefix(name, "library/")
		if h.repos[name].readers == nil && strings.Contains(short, term) {
			results = append(results, found{Name: short, Description: "what " + name + " holds", Stars: 7, Official: official})
		}
	}
	return results
}
