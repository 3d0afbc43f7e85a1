package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// pair is a served connection and the client's end of it.
func pair(t *testing.T, patience time.Duration) (*conn, *net.TCPConn) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(raw, 10, patience, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { l.Close(); l.abort() })
	client, err := net.Dial("tcp", raw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*conn), client.(*net.TCPConn)
}

func TestConnSendsFilesBySegments(t *testing.T) {
	server, client := pair(t, 10*time.Second)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	name := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const skip = 4097
	done := make(chan struct{})
	if _, err := f.Seek(skip, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when the file is sent
		defer close(done)
		limited := &io.LimitedReader{R: f, N: int64(len(want)) - skip - 1}
		if n, err := server.ReadFrom(limited); err != nil || n != int64(len(want))-skip-1 || limited.N != 0 {
			t.Errorf("sent %d, %d left, %v", n, limited.N, err)
		}
		server.Close()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, want[skip:len(want)-1]) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	<-done
	if server.segment == leastSegment {
		t.Error("not sent by segments that grow, so under one deadline")
	}
}

func TestConnSaysThatAFileIsShort(t *testing.T) {
	server, client := pair(t, 10*time.Second)
	go io.Copy(io.Discard, client) // ends when the pair is closed
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := server.ReadFrom(&io.LimitedReader{R: f, N: 100}); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestConnWritesLongBodies(t *testing.T) {
	server, client := pair(t, 10*time.Second)
	want := bytes.Repeat([]byte("0123456789"), 100_003)
	go func() { // ends when all is written
		if n, err := server.Write(want); n != len(want) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		server.Close()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestConnSegmentsFollowTheClient(t *testing.T) {
	c := &conn{segment: leastSegment}
	for range 10 {
		c.adapt(time.Millisecond)
	}
	if c.segment != mostSegment {
		t.Errorf("fast client: %d", c.segment)
	}
	c.adapt(500 * time.Millisecond)
	if c.segment != mostSegment {
		t.Errorf("steady client: %d", c.segment)
	}
	c.adapt(2 * time.Second)
	if c.segment != leastSegment {
		t.Errorf("slow client: %d", c.segment)
	}
}

func TestConnNoticesThatTheClientHasGone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can tell")
	}
	server, client := pair(t, time.Second)
	if _, err := client.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	if err := server.check(); err != nil {
		t.Errorf("while the client is there: %v", err)
	}
	client.Close()
	// The unread bytes stay before the FIN; reading past them is how we know that it has come.
	if _, err := io.ReadAll(server); err != nil {
		t.Fatal(err)
	}
	if err := server.check(); !errors.Is(err, errClientGone) {
		t.Errorf("after it left: %v", err)
	}
	if !server.sawEOF.Load() {
		t.Error("the end of its side was not noted")
	}
}

// flaky fails the first accepts as a process without file descriptors does.
type flaky struct {
	net.Listener
	mu   sync.Mutex
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	f.mu.Lock()
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		f.mu.Unlock()
		return nil, err
	}
	f.mu.Unlock()
	return f.Listener.Accept()
}

func TestServeOutlivesLackOfDescriptors(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept := func(e error) error { return &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", e)} }
	s, err := New(options(filled()))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	l := &flaky{Listener: raw, errs: []error{accept(syscall.EMFILE), accept(syscall.ENFILE), accept(syscall.ECONNABORTED)}}
	go func() { served <- s.Serve(l) }() // ends with Shutdown
	res, err := http.Get("http://" + raw.Addr().String() + "/v2/")
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("got %v, %v", res, err)
	}
	res.Body.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

func TestServeEndingByItselfIsAnError(t *testing.T) {
	for fact, end := range map[string]func(net.Listener) net.Listener{
		"closed listener": func(l net.Listener) net.Listener { l.Close(); return l },
		"lasting error":   func(l net.Listener) net.Listener { return &flaky{Listener: l, errs: []error{syscall.EINVAL}} },
	} {
		raw, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(options(filled()))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(end(raw)); err == nil {
			t.Errorf("%s: Serve returned nil", fact)
		}
		raw.Close()
	}
}

func TestConnectionsOverTheLimitWait(t *testing.T) {
	f := filled()
	s := start(t, f, func(o *Options) { o.MaxConnections = 1 })
	first, second := s.dial(t), s.dial(t)
	for _, c := range []net.Conn{first, second} {
		if _, err := io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	one := make([]byte, 1)
	if _, err := io.ReadFull(first, one); err != nil {
		t.Fatalf("first: %v", err)
	}
	<-s.answered
	select {
	case a := <-s.answered:
		t.Fatalf("the second was answered while the first was open: %+v", a)
	default:
	}
	first.Close()
	if _, err := io.ReadFull(second, one); err != nil {
		t.Errorf("second: %v", err)
	}
}

func TestAStalledClientIsCut(t *testing.T) {
	f := filled()
	big := make([]byte, 64<<20)
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
		return &content{size: int64(len(big)), body: big, tier: cache.TierDisk}, nil
	}
	s := start(t, f, func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
	c := s.dial(t)
	if _, err := io.WriteString(c, "GET /v2/a/b/blobs/"+sha256+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if a := <-s.answered; !a.Cut || a.Bytes >= int64(len(big)) {
		t.Errorf("got %+v", a)
	}
}
