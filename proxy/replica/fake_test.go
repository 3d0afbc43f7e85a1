package replica

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

const id = "replica-1"

var (
	text   = strings.Repeat("0123456789", 100)
	d      = digest.FromString(text)
	nginx  = cache.Repo{Registry: "docker.io", Name: "library/nginx"}
	atBlob = "/v2/docker.io/library/nginx/blobs/" + d.String()
)

// server is another server, with what it was asked.
type server struct {
	*httptest.Server
	mu          sync.Mutex
	asked       []*http.Request
	connections int
}

func serve(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			s.connections++
			s.mu.Unlock()
		}
	}
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.asked...)
}

// client has all the time that a busy machine takes.
func client(t *testing.T, o Options) *Client {
	t.Helper()
	o.ID = id
	c := newClient(o, time.Minute)
	t.Cleanup(c.Close)
	return c
}

// at gives a peer of a started server, which is to be asked with a token.
func (s *server) at(t *testing.T) cache.Peer {
	t.Helper()
	s.Start()
	return client(t, Options{Token: tokenOf}).At(s.URL, nginx)
}

const secret = "eyJhbGciOiJFUzI1NiJ9.s3cret.token"

func tokenOf(string, string) (string, error) { return secret, nil }

func trusting(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

func blob(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// partial answers 206 with that header, whatever was asked.
func partial(contentRange, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(http.StatusPartialContent)
		fmt.Fprint(w, body)
	}
}
