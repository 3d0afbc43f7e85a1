package replicas

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/entrepot/entrepot/e2e/bucket"
)

const (
	bucketName = bucket.Name
	secretKey  = bucket.SecretKey
)

// gateway is a real S3 server over a folder, behind a relay that can answer in its place.
type gateway struct {
	*bucket.Server
	url    string // of the relay
	folder string
	t      *testing.T
	busy   atomic.Bool // the relay answers 503
	wrong  atomic.Pointer[trouble]
	asked  requestLog
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	s := bucket.Start(t)
	g := &gateway{Server: s, folder: s.Folder, t: t}
	g.url = "http://" + newRelay(t, func() *url.URL { return &url.URL{Scheme: "http", Host: s.Addr} }, g.hamper)
	return g
}

// env is what a replica needs to find the bucket.
func (g *gateway) env() (env map[string]string, others []string) { return bucket.Settings(g.url) }

// hamper notes what the server is asked, and is what is wrong with the way to it.
func (g *gateway) hamper(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.note(r)
		if g.busy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if wrong := g.wrong.Load(); wrong != nil {
			(*wrong)(next, w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// trouble answers in the place of the S3 server, which is next.
type trouble func(next http.Handler, w http.ResponseWriter, r *http.Request)

// requestLog is what was asked, as "GET /warehouse/one/cache/...".
type requestLog struct {
	mu  sync.Mutex
	all []string
}

func (l *requestLog) note(r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r.Method+" "+r.URL.Path)
}

// since gives the requests after the first n that have all the words in them.
func (l *requestLog) since(n int, words ...string) (matching []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, request := range l.all[n:] {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(request, word) }) {
			matching = append(matching, request)
		}
	}
	return matching
}

func (l *requestLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// newRelay passes requests to where target says, with the Host that they came with. around may stand before that.
func newRelay(t *testing.T, target func() *url.URL, around func(http.Handler) http.Handler) (addr string) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target())
			r.Out.Host = r.In.Host
		},
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // as if the server itself had gone
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: proxy, ErrorLog: log.New(io.Discard, "", 0)}
	if around != nil {
		s.Handler = around(proxy)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }() // until the cleanup closes it
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
		transport.CloseIdleConnections()
	})
	return l.Addr().String()
}
