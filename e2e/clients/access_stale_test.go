package clients

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A token is refused for its age alone: the same one, signed anew as it is, is taken.
func TestAccessStaleToken(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 90).Image)
	for _, c := range []struct {
		name   string
		age    time.Duration
		status int
		says   string
	}{
		{"as it was", 0, http.StatusOK, ""},
		{"dated back by an hour", time.Hour, http.StatusUnauthorized, `error="invalid_token"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := withStaleToken(t, g, c.age, func() string { return askToken(t, g, g.alice, "gcr.io/corp/app") })
			resp := showToken(t, g, token, "gcr.io/corp/app")
			if got := resp.Header.Get("Www-Authenticate"); resp.StatusCode != c.status || !strings.Contains(got, c.says) {
				t.Errorf("%s, challenge %q; want %d and %q", resp.Status, got, c.status, c.says)
			}
		})
	}
}

// askToken asks for a token to pull from a repository.
func askToken(t *testing.T, g guarded, who account, repo string) string {
	t.Helper()
	query := url.Values{"service": {"entrepot"}, "scope": {"repository:" + repo + ":pull"}}
	resp := get(t, "http://"+g.addr+"/token?"+query.Encode(), func(r *http.Request) { r.SetBasicAuth(who.name, who.password) })
	var answer struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("no token came: %v", err)
	}
	return answer.Token
}

// showToken asks for a manifest with it.
func showToken(t *testing.T, g guarded, token, repo string) *http.Response {
	t.Helper()
	return get(t, "http://"+g.addr+"/v2/"+repo+"/manifests/1.0.0", func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Accept", manifestTypes)
	})
}

// get reads the whole answer.
func get(t *testing.T, target string, change func(*http.Request)) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(req)
	req.Close = true // the next one may be led elsewhere
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

// withStaleToken leads a conversation past a proxy that dates the first token of it back. The client learns nothing of that:
// for it, the token ends before its time.
func withStaleToken[T any](t *testing.T, g guarded, age time.Duration, talk func() T) T {
	t.Helper()
	target, err := url.Parse(g.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var spoiled atomic.Bool
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.URL.Path != "/token" || resp.StatusCode != http.StatusOK || spoiled.Swap(true) {
				return nil
			}
			return spoil(resp, g.key, age)
		},
	})
	defer proxy.Close()
	g.lead(proxy.Listener.Addr().String())
	defer g.lead(g.server.Addr)
	done := talk()
	if !spoiled.Load() {
		t.Error("the client asked for no token")
	}
	return done
}

// spoil changes the token of the answer and nothing else of it.
func spoil(resp *http.Response, key *ecdsa.PrivateKey, age time.Duration) error {
	var answer map[string]any
	err := json.NewDecoder(resp.Body).Decode(&answer)
	resp.Body.Close()
	if err != nil {
		return err
	}
	token, _, err := jwt.NewParser().ParseUnverified(answer["token"].(string), jwt.MapClaims{})
	if err != nil {
		return err
	}
	claims := token.Claims.(jwt.MapClaims)
	for _, date := range []string{"iat", "nbf", "exp"} {
		if at, dated := claims[date].(float64); dated {
			claims[date] = at - age.Seconds()
		}
	}
	text, err := token.SignedString(key)
	if err != nil {
		return err
	}
	answer["token"], answer["access_token"] = text, text
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return nil
}
