package s3

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

// lossy is a way to a server on which the first answer to a request of a kind is lost.
func lossy(t *testing.T, endpoint string, of func(r *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Bool
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if of(r) && lost.CompareAndSwap(false, true) {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestWritesWhoseAnswersAreLost(t *testing.T) {
	for name, of := range map[string]func(r *http.Request) bool{
		"a record's": func(r *http.Request) bool { return r.Method == http.MethodPut && !r.URL.Query().Has("partNumber") },
		"a piece's":  func(r *http.Request) bool { return r.URL.Query().Has("partNumber") },
		"the end's":  func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, lossy(t, versitygw(t), of), "")
			version, err := s.PutIf(t.Context(), "r", []byte("nonce"), storage.Absent)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.PutIf(t.Context(), "r", []byte("another"), version); err != nil {
				t.Error(err)
			}
			content := strings.Repeat("0123456789abcdef", 1<<20)
			if err := s.Put(t.Context(), "a", strings.NewReader(content), int64(len(content))); err != nil {
				t.Fatal(err)
			}
			r, _, err := s.Open(t.Context(), "a", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); string(got) != content || err != nil {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestUploadsOfProcessesThatDied lets a process die by hiding from the server that its upload failed.
func TestUploadsOfProcessesThatDied(t *testing.T) {
	if yours.hosts || strings.HasPrefix(yours.endpoint, "https:") {
		t.Skip("what stands before the server here is another host, and has no certificate")
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			endpoint := start(t)
			dying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || !r.URL.Query().Has("uploads") {
					http.Error(w, "", http.StatusForbidden)
					return
				}
				to, _ := url.Parse(endpoint) // it was one
				(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to); p.Out.Host = p.In.Host }}).ServeHTTP(w, r)
			}))
			t.Cleanup(dying.Close)
			if err := open(t, dying.URL, "mine").Put(t.Context(), "a", strings.NewReader(strings.Repeat("x", 6<<20)), 6<<20); err == nil {
				t.Fatal("stored")
			}
			for _, c := range []struct {
				prefix string
				age    time.Duration
				want   int
			}{{"mine", 2 * time.Hour, 0}, {"theirs", time.Minute, 0}, {"mine", time.Minute, 1}, {"mine", time.Minute, 0}} {
				s := open(t, endpoint, c.prefix, func(o *s3.Options) { o.Now = func() time.Time { return time.Now().Add(time.Hour) } })
				if n, err := s.AbortUploads(t.Context(), "", c.age); n != c.want || err != nil {
					t.Errorf("of %s, older than %s: aborted %d, %v; want %d", c.prefix, c.age, n, err, c.want)
				}
			}
		})
	}
}
