package replicas

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

const (
	bucketName = "warehouse"
	accessKey  = "somebody"
	secretKey  = "not-in-any-log-9d1c"
)

// gateway is a real S3 server over a folder, behind a relay that can answer in its place.
type gateway struct {
	url    string // of the relay
	folder string

	t       *testing.T
	program string
	addr    string
	busy    atomic.Bool  // the relay answers 503
	slow    atomic.Int64 // time.Duration that the relay waits before each answer and each piece of its body
	asked   requestLog
	log     lockedBuffer
	cmd     *exec.Cmd
	ended   chan struct{}
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir, err := tools.Dir(t.Context(), tools.Versitygw())
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, program: filepath.Join(dir, "versitygw"), folder: t.TempDir(), addr: server.FreeAddr(t)}
	if err := os.Mkdir(filepath.Join(g.folder, bucketName), 0o755); err != nil {
		t.Fatal(err)
	}
	g.url = "http://" + newRelay(t, func() *url.URL { return &url.URL{Scheme: "http", Host: g.addr} }, g.hamper)
	g.start()
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("the S3 server's log ends with:\n%s", g.log.tail(4<<10))
		}
	})
	return g
}

// start waits until the server takes requests.
func (g *gateway) start() {
	g.t.Helper()
	g.cmd = exec.Command(g.program, "--port", g.addr, "--keep-alive", "posix", g.folder)
	g.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.folder, "ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey}
	g.cmd.Stdout, g.cmd.Stderr = &g.log, &g.log
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { // ends with the process
		_ = cmd.Wait()
		close(ended)
	}(g.cmd, g.ended)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + g.addr + "/"); err == nil {
			resp.Body.Close()
			return
		}
	}
	g.t.Fatalf("the S3 server does not start:\n%s", g.log.tail(4<<10))
}

func (g *gateway) stop() {
	g.signal(syscall.SIGCONT)
	g.signal(syscall.SIGKILL)
	<-g.ended
}

func (g *gateway) signal(s syscall.Signal) {
	if err := g.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.t.Errorf("signal the S3 server: %v", err)
	}
}

// env is what a replica needs to find the bucket.
func (g *gateway) env() (env map[string]string, others []string) {
	return map[string]string{"S3_BUCKET": bucketName, "S3_PREFIX": "one", "S3_ENDPOINT": g.url, "S3_PATH_STYLE": "true"},
		[]string{"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_EC2_METADATA_DISABLED=true"}
}

// hamper notes what the server is asked, and is what is wrong with the way to it.
func (g *gateway) hamper(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.note(r)
		if g.busy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if pause := time.Duration(g.slow.Load()); pause > 0 {
			time.Sleep(pause)
			w = slowWriter{w, pause}
		}
		next.ServeHTTP(w, r)
	})
}

type slowWriter struct {
	http.ResponseWriter
	pause time.Duration
}

func (w slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.pause)
	return w.ResponseWriter.Write(p)
}

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

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.buf.String()
	return s[max(len(s)-n, 0):]
}
