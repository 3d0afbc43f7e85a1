package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/cache"
)

const (
	searchPatience = 2 * time.Second // somebody waits for a list that can do without this
	searches       = 4               // at once, at most: anybody may search, and pulls need the slots
	maxSearch      = 1 << 20         // bytes of an answer
)

// SearchResult is a repository as a search by the v1 protocol lists it.
type SearchResult struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stars       int    `json:"star_count"`
	Official    bool   `json:"is_official"`
	Automated   bool   `json:"is_automated"`
}

// Search asks the registry's v1 search for up to n repositories, once, without our credential, for at most two seconds.
// What becomes of it says nothing about pulls: many registries have no search, and Docker Hub's is on another host.
func (r *Registry) Search(ctx context.Context, term string, n int) ([]SearchResult, error) {
	if r.host == dockerHub { // docker leaves it out too: Hub finds nothing with it
		term = strings.TrimPrefix(term, "library/")
	}
	ctx, cancel := context.WithTimeout(cache.TryOnce(ctx), searchPatience)
	defer cancel()
	found, err := r.search(ctx, url.Values{"q": {term}, "n": {strconv.Itoa(n)}})
	if err != nil {
		return nil, r.report("searching", err)
	}
	return found[:min(n, len(found))], nil
}

func (r *Registry) search(ctx context.Context, params url.Values) ([]SearchResult, error) {
	ctx, c, err := r.begin(ctx, KindSearch, r.searches)
	if err != nil {
		return nil, err
	}
	defer c.end()
	u := *r.searchBase
	u.Path += "/v1/search"
	u.RawQuery = params.Encode()
	q := query{kind: KindSearch, method: http.MethodGet, url: &u, header: http.Header{"Accept": {"application/json"}}}
	a, err := r.askAnonymously(ctx, q)
	if err != nil {
		return nil, err
	}
	body, err := r.readAll(ctx, q, a)
	if err != nil {
		return nil, err
	}
	var list struct {
		Results []SearchResult `json:"results"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, broken("its list of search results: %w", err)
	}
	return list.Results, nil
}
