package upstream

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
	"golang.org/x/net/http/httpproxy"
)

// fake is a server that counts what it is asked and keeps what was sent to it.
type fake struct {
	*httptest.Server
	mux *http.ServeMux

	mu   sync.Mutex
	seen []*http.Request
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{mux: http.NewServeMux()}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Server.Close)
	return f
}

func (f *fake) serve(w http.ResponseWriter, req *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, req.Clone(req.Context()))
	f.mu.Unlock()
	f.mux.ServeHTTP(w, req)
}

// requests gives what was asked under a path prefix.
func (f *fake) requests(prefix string) []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*http.Request
	for _, r := range f.seen {
		if strings.HasPrefix(r.URL.Path, prefix) {
			out = append(out, r)
		}
	}
	return out
}

func (f *fake) count(prefix string) int { return len(f.requests(prefix)) }

func (f *fake) host() string { return strings.TrimPrefix(f.URL, "http://") }

// sawSecret reports whether any request carried something that only a credential of ours explains.
func (f *fake) sawSecret() bool {
	for _, r := range f.requests("/") {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			return true
		}
	}
	return false
}

// guarded lets requests with the token through and sends the others to the realm.
func guarded(realm, token string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test",scope="repository:a/b:pull"`, realm))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, req)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// scripted gives its handlers' answers one after the other, the last one for ever.
func scripted(steps ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		step := steps[min(n, len(steps)-1)]
		n++
		mu.Unlock()
		step(w, req)
	}
}

const manifestBody = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`

var manifestDigest = digest.FromString(manifestBody)

func serveManifest(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	w.Header().Set("Docker-Content-Digest", manifestDigest.String())
	fmt.Fprint(w, manifestBody)
}

// newRegistry makes a registry for the fake. No proxy, no jitter, and patience enough for several retries.
func newRegistry(t *testing.T, f *fake, change func(*Options)) *Registry {
	t.Helper()
	o := Options{
		Host: "test.example", URL: f.URL, Proxy: &httpproxy.Config{},
		Patience: 5 * time.Second, Random: func() float64 { return 0 },
	}
	if change != nil {
		change(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func password(o *Options) { o.Username, o.Password = "bob", "s3cret" }

// causeOf gives the cause of an outage, or "" for another error.
func causeOf(err error) cache.Cause {
	if !cache.IsOutage(err) {
		return ""
	}
	var u *cache.UnavailableError
	for e := err; e != nil; {
		if u, _ = e.(*cache.UnavailableError); u != nil {
			return u.Cause
		}
		w, ok := e.(interface{ Unwrap() error })
		if !ok {
			return ""
		}
		e = w.Unwrap()
	}
	return ""
}
