package fakehub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const service = "registry.docker.io"

// grant is what a token allows.
type grant struct {
	repos   map[string]bool
	expires time.Time
}

// RevokeTokens makes every token that was given out worthless, as an expiry in the middle of a pull does.
func (h *Hub) RevokeTokens() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.tokens)
}

// serveToken is the token server, by GET and, as OAuth2, by POST with a password.
func (h *Hub) serveToken(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r, KindToken)
	defer x.end()
	if x.faulty() {
		return
	}
	if r.URL.Path != "/token" {
		x.fail(http.StatusNotFound, "NOT_FOUND", "the token server has only /token")
		return
	}
	user, password, given := r.BasicAuth()
	if r.Method == http.MethodPost && r.FormValue("grant_type") == "password" {
		user, password, given = r.FormValue("username"), r.FormValue("password"), true
	}
	if given && !h.knows(user, password) {
		x.fail(http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	r.ParseForm()
	h.answerToken(x, user, strings.Fields(strings.Join(r.Form["scope"], " ")))
}

func (h *Hub) knows(user, password string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.users[user]
	return ok && known == password
}

func (h *Hub) answerToken(x *exchange, user string, scopes []string) {
	life := h.current().TokenLife
	if life == 0 {
		life = 300 * time.Second
	}
	g := grant{repos: map[string]bool{}, expires: time.Now().Add(life)}
	for _, scope := range scopes {
		name, ok := pullScope(scope)
		if ok && h.mayPull(user, name) {
			g.repos[name] = true
		}
	}
	token := h.issue(g)
	x.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(x.w).Encode(map[string]any{
		"token": token, "access_token": token, "expires_in": int(life / time.Second),
		"issued_at": time.Now().UTC().Format(time.RFC3339),
	})
}

// pullScope reads "repository:library/nginx:pull".
func pullScope(scope string) (name string, ok bool) {
	parts := strings.Split(scope, ":")
	if len(parts) != 3 || parts[0] != "repository" {
		return "", false
	}
	return parts[1], strings.Contains(","+parts[2]+",", ",pull,") || parts[2] == "*"
}

func (h *Hub) mayPull(user, name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[name]
	return r == nil || r.readers == nil || r.readers[user]
}

// issue makes a token as long as those of the cloud registries, which overflow small header buffers.
func (h *Hub) issue(g grant) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	token := fmt.Sprintf("%016x%016x%s", h.dice.Uint64(), h.dice.Uint64(), strings.Repeat("t", 1500))
	h.tokens[token] = g
	return token
}

// authorised reports whether the request may read the repository, and answers it when it may not.
func (h *Hub) authorised(x *exchange, name string) bool {
	if h.current().NoAuth {
		return true
	}
	token, given := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer ")
	h.mu.Lock()
	g := h.tokens[token]
	h.mu.Unlock()
	switch {
	case !given:
		x.challenge(h.realm(), name, "")
	case !time.Now().Before(g.expires):
		x.challenge(h.realm(), name, "invalid_token")
	case name != "" && !g.repos[name]:
		x.challenge(h.realm(), name, "insufficient_scope")
	default:
		return true
	}
	return false
}

func (h *Hub) realm() string { return h.scheme() + "://" + h.HostAddr(Token) + "/token" }

// challenge is a 401 that sends the client to a token server; problem as in RFC 6750 section 3.1.
func (x *exchange) challenge(realm, name, problem string) {
	value := fmt.Sprintf("Bearer realm=%q,service=%q", realm, service)
	if name != "" {
		value += fmt.Sprintf(",scope=%q", "repository:"+name+":pull")
	}
	if problem != "" {
		value += fmt.Sprintf(",error=%q", problem)
	}
	x.w.Header().Set("Www-Authenticate", value)
	x.fail(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}
