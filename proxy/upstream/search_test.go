package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
)

const foundBody = `{"num_results":2,"query":"x","results":[
	{"name":"nginx","description":"a server","star_count":20000,"is_official":true,"is_automated":false},
	{"name":"bitnami/nginx","description":"","star_count":1,"is_official":false,"is_automated":true}]}`

func TestSearch(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/v1/search", text(foundBody))
	want := []SearchResult{{"nginx", "a server", 20000, true, false}, {"bitnami/nginx", "", 1, false, true}}
	for _, c := range []struct {
		host, term, sent string
		n                int
	}{
		{"test.example", "nginx", "n=25&q=nginx", 25},
		{"test.example", "library/nginx", "n=100&q=library%2Fnginx", 100},
		{"docker.io", "library/nginx", "n=1&q=nginx", 1},
		{"test.example", "a&n=9 ü", "n=2&q=a%26n%3D9+%C3%BC", 2},
	} {
		r := newRegistry(t, f, func(o *Options) { password(o); o.Host = c.host })
		got, err := r.Search(t.Context(), c.term, c.n)
		if err != nil || !slices.Equal(got, want[:min(c.n, 2)]) {
			t.Errorf("%s %q: %+v, %v", c.host, c.term, got, err)
		}
		all := f.requests("/v1/search")
		if sent := all[len(all)-1].URL.RawQuery; sent != c.sent {
			t.Errorf("%s %q: sent %s, want %s", c.host, c.term, sent, c.sent)
		}
	}
	if f.sawSecret() {
		t.Error("a search carried a credential")
	}
}

func TestWhereTheSearchIs(t *testing.T) {
	for _, c := range []struct{ host, url, want string }{
		{"docker.io", "", "https://index.docker.io"},
		{"docker.io", "https://registry-1.docker.io/", "https://index.docker.io"},
		{"docker.io", "http://127.0.0.1:7301", "http://127.0.0.1:7301"},
		{"quay.io", "", "https://quay.io"},
		{"corp.example", "https://corp.example/registry", "https://corp.example/registry"},
	} {
		r, err := New(Options{Host: c.host, URL: c.url})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.searchBase.String(); got != c.want {
			t.Errorf("%s at %q: %s, want %s", c.host, c.url, got, c.want)
		}
	}
}

func TestSearchFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		server http.HandlerFunc
		want   func(error) bool
	}{
		{"there is none", status(404), func(err error) bool { return errors.Is(err, cache.ErrNotFound) }},
		{"it wants a password", status(401), isDenied},
		{"down", status(503), cache.IsOutage},
		{"limited", status(429), cache.IsOutage},
		{"a page for people", text("<html>"), cache.IsOutage},
		{"too long", text(`{"results":[]}` + strings.Repeat(" ", maxSearch)), cache.IsOutage},
		{"too long, unannounced", func(w http.ResponseWriter, _ *http.Request) {
			for range maxSearch/1024 + 1 {
				fmt.Fprint(w, strings.Repeat(" ", 1024))
			}
		}, cache.IsOutage},
		{"redirected to a cloud's metadata", func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://169.254.169.254/v1/search", http.StatusFound)
		}, cache.IsOutage},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.mux.HandleFunc("/v1/search", c.server)
			r := newRegistry(t, f, nil)
			if got, err := r.Search(t.Context(), "x", 25); got != nil || !c.want(err) {
				t.Errorf("%+v, %v", got, err)
			}
			if n := f.count("/v1/search"); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
		})
	}
}

func TestSearchesNeverStopPulls(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/v1/search", status(500))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", serveManifest)
	r := newRegistry(t, f, nil)
	for range 2 * maxFailures {
		if _, err := r.Search(t.Context(), "x", 25); !cache.IsOutage(err) {
			t.Fatal(err)
		}
	}
	if _, err := r.Repository("a/b").FetchManifest(t.Context(), "v1"); err != nil {
		t.Errorf("after failed searches: %v", err)
	}
}

func TestSearchesLeaveSlotsToPulls(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/v1/search", text(foundBody))
	for max, want := range map[int]int{1: 1, 8: 1, 16: 2, 64: 4, 1000: 4} {
		r := newRegistry(t, f, func(o *Options) { o.MaxRequests = max })
		if got := cap(r.searches); got != want {
			t.Errorf("of %d requests %d may be searches, want %d", max, got, want)
		}
	}
	r := newRegistry(t, f, func(o *Options) { o.MaxRequests = 8 })
	r.searches <- struct{}{} // one that runs
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Search(ctx, "x", 25); err == nil || f.count("/v1/search") != 0 {
		t.Errorf("a search too many was sent: %v", err)
	}
	<-r.searches
	if _, err := r.Search(t.Context(), "x", 25); err != nil || len(r.searches) != 0 || len(r.slots) != 0 {
		t.Errorf("when it has ended: %v; %d searches, %d slots taken", err, len(r.searches), len(r.slots))
	}
}

func TestSearchWaitsTwoSecondsAtMost(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/v1/search", func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	r := newRegistry(t, f, func(o *Options) { o.Patience = time.Hour })
	if _, err := r.Search(t.Context(), "x", 25); causeOf(err) != cache.CauseTimeout {
		t.Errorf("%v, want a timeout", err)
	}
}
