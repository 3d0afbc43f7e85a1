package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// ask writes a request as it is and gives what comes back until the server closes.
func (r *running) ask(t *testing.T, request string) string {
	t.Helper()
	c := r.dial(t)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

func TestBodyOfARefusedPushIsNoRequest(t *testing.T) {
	inner := "GET /v2/library/nginx/manifests/hot HTTP/1.1\r\nHost: x\r\n\r\n"
	body := strings.Repeat("x", 8<<10) + inner
	for fact, request := range map[string]string{
		"with a length":       fmt.Sprintf("POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		"short":               fmt.Sprintf("POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"in chunks":           fmt.Sprintf("PATCH /v2/a/b/blobs/uploads/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
		"both":                fmt.Sprintf("POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", inner),
		"of a pull":           fmt.Sprintf("GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		"two lengths":         "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd" + inner,
		"a blank in a name":   "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner,
		"an unknown coding":   "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner,
		"expecting 100 of it": fmt.Sprintf("PUT /v2/a/b/manifests/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
	} {
		s := start(t, filled(), nil)
		got := s.ask(t, request)
		if n := strings.Count(got, "HTTP/1.1 "); n != 1 {
			t.Errorf("%s: %d answers: %q", fact, n, got)
		}
		if strings.Contains(got, "100 Continue") {
			t.Errorf("%s: was told to go on: %q", fact, got)
		}
		if a := <-s.answered; a.Kind == KindManifest && a.Status == 200 || len(s.answered) > 0 {
			t.Errorf("%s: the body was served: %+v", fact, a)
		}
	}
}

// The HTTP library would parse such a body before the handler runs, whole and past every limit.
func TestAFormIsNotWaitedFor(t *testing.T) {
	s := start(t, filled(), nil)
	got := s.ask(t, "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n"+
		"--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n"+strings.Repeat("x", 10<<10))
	if !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("got %.100q", got)
	}
}

func TestPipelinedRequestsAreAllAnswered(t *testing.T) {
	s := start(t, filled(), nil)
	get := "GET /v2/library/nginx/manifests/hot HTTP/1.1\r\nHost: x\r\n"
	got := s.ask(t, get+"\r\n"+get+"\r\n"+get+"Connection: close\r\n\r\n")
	if n := strings.Count(got, `"exact"`); n != 3 {
		t.Errorf("%d answers: %q", n, got)
	}
}

// A server that closes while a body still arrives resets the connection, and most clients lose the answer.
func TestClientsSeeTheAnswerToARefusedPush(t *testing.T) {
	s := start(t, filled(), nil)
	for fact, body := range map[string]func() io.Reader{
		"10 MB":      func() io.Reader { return bytes.NewReader(make([]byte, 10<<20)) },
		"in chunks":  func() io.Reader { return io.MultiReader(bytes.NewReader(make([]byte, 10<<20))) },
		"a few KB":   func() io.Reader { return bytes.NewReader(make([]byte, 100<<10)) },
		"a few byte": func() io.Reader { return strings.NewReader("{}") },
	} {
		for range 10 {
			req, err := http.NewRequest("PUT", "http://"+s.addr+"/v2/grafana/grafana/manifests/x", body())
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Errorf("%s: %v", fact, err)
				continue
			}
			if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 403 || !strings.Contains(string(b), "DENIED") {
				t.Errorf("%s: %d %q %v", fact, res.StatusCode, b, err)
			}
			res.Body.Close()
		}
	}
}

func TestSlowAndOversizedHeads(t *testing.T) {
	s := start(t, filled(), func(o *Options) { o.ReadTimeout = 200 * time.Millisecond })
	for _, c := range []struct{ fact, request, want string }{
		{"a head that never ends", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ", "HTTP/1.1 408 "},
		{"a head of 40 KiB", "GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("t", 40<<10), "HTTP/1.1 431 "},
		{"not HTTP", "\x16\x03\x01\r\n\r\n", "HTTP/1.1 400 "},
		{"NUL in the path", "GET /v2/a\x00/tags/list HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
	} {
		got := s.ask(t, c.request)
		if !strings.HasPrefix(got, c.want) || !strings.Contains(got, `{"errors":[`) {
			t.Errorf("%s: got %.100q", c.fact, got)
		}
	}
	long := "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + strings.Repeat("t", 20<<10) + "\r\n\r\n"
	if got := s.ask(t, long); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("a long token: %.100q", got)
	}
}

func TestAHalfClosedClientGetsWhatIsThere(t *testing.T) {
	s := start(t, filled(), nil)
	c := s.dial(t)
	if _, err := io.WriteString(c, "GET /v2/library/nginx/manifests/hot HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), `"exact"`) {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestAPanicIsOneFailedRequest(t *testing.T) {
	f := filled()
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) { panic("in a handler") }
	f.blobs["docker.io/a/b@"+sha512] = func(cache.Range) (Content, error) {
		return &content{size: 5, body: []byte("12345"), writeTo: func(io.Writer, []byte) (int64, error) { panic("in a body") }}, nil
	}
	s := start(t, f, nil)
	res, body := s.do(t, "GET", "/v2/a/b/blobs/"+sha256)
	if res.StatusCode != 500 || strings.Contains(body, "in a handler") {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
	got := s.ask(t, "GET /v2/a/b/blobs/"+sha512+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if strings.Contains(got, "12345") {
		t.Errorf("got %q", got)
	}
	<-s.answered
	if a := <-s.answered; !a.Cut {
		t.Errorf("got %+v", a)
	}
	if res, _ := s.do(t, "GET", "/v2/"); res.StatusCode != 200 {
		t.Errorf("afterwards: %d", res.StatusCode)
	}
}

func TestAFailingBodyCutsTheConnection(t *testing.T) {
	half := func(w io.Writer, body []byte) (int64, error) {
		n, err := w.Write(body[:len(body)/2])
		return int64(n), errors.Join(err, cache.ErrCorrupt)
	}
	for fact, size := range map[string]int64{"known size": 1 << 20, "unknown size": -1} {
		f := filled()
		b := &content{size: size, body: make([]byte, 1<<20), tier: cache.TierUpstream, writeTo: half}
		f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) { return b, nil }
		s := start(t, f, nil)
		res, err := http.Get("http://" + s.addr + "/v2/a/b/blobs/" + sha256)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %d bytes ended with %v", fact, len(got), err)
		}
		if a := <-s.answered; !a.Cut || a.Bytes != 1<<19 {
			t.Errorf("%s: told %+v", fact, a)
		}
		if n := b.closings(); n != 1 {
			t.Errorf("%s: closed %d times", fact, n)
		}
	}
}

func TestHeadersComeBeforeBytes(t *testing.T) {
	f := filled()
	begin := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(begin) }) }
	defer release()
	b := &content{size: 3, body: []byte("abc"), tier: cache.TierUpstream, writeTo: func(w io.Writer, body []byte) (int64, error) {
		<-begin
		n, err := w.Write(body)
		return int64(n), err
	}}
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) { return b, nil }
	s := start(t, f, nil)
	res, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + s.addr + "/v2/a/b/blobs/" + sha256)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	release() // only now is there a byte
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "abc" {
		t.Errorf("got %q, %v", got, err)
	}
	if b.onWait == nil {
		t.Error("a waiting body cannot tell that the client has left")
	}
}

// The server's write deadline is one for the whole answer and is set before the first byte.
func TestAnAnswerMayTakeLongerThanTheWriteTimeout(t *testing.T) {
	const patience = 50 * time.Millisecond
	f := filled()
	body := bytes.Repeat([]byte("x"), 10_000)
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
		return &content{size: 10_000, body: body, tier: cache.TierUpstream, writeTo: func(w io.Writer, b []byte) (sent int64, err error) {
			for len(b) > 0 && err == nil {
				<-time.After(2 * patience) // upstream stalls
				var n int
				n, err = w.Write(b[:5000])
				sent += int64(n)
				b = b[5000:]
			}
			return sent, err
		}}, nil
	}
	s := start(t, f, func(o *Options) { o.WriteTimeout = patience })
	if _, got := s.do(t, "GET", "/v2/a/b/blobs/"+sha256); got != string(body) {
		t.Errorf("got %d bytes", len(got))
	}
}

// probe tells how many bytes it is asked for at a time.
type probe struct {
	io.Reader
	largest int
}

func (p *probe) Read(b []byte) (int, error) {
	p.largest = max(p.largest, len(b))
	return p.Reader.Read(b)
}

// Through a wrapper that lost ReadFrom, content would be read by the write buffer instead of by the connection.
func TestContentReachesTheConnection(t *testing.T) {
	f := filled()
	body := bytes.Repeat([]byte("y"), 1<<20)
	p := &probe{Reader: bytes.NewReader(body)}
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
		return &content{size: 1 << 20, body: body, tier: cache.TierDisk, writeTo: func(w io.Writer, b []byte) (int64, error) {
			return w.(io.ReaderFrom).ReadFrom(&io.LimitedReader{R: p, N: int64(len(b))})
		}}, nil
	}
	s := start(t, f, nil)
	if _, got := s.do(t, "GET", "/v2/a/b/blobs/"+sha256); got != string(body) {
		t.Errorf("got %d bytes", len(got))
	}
	if p.largest <= writeBuffer {
		t.Errorf("read by %d bytes at most: not by the connection", p.largest)
	}
}

func TestShutdownLetsAnswersFinish(t *testing.T) {
	f := filled()
	begun, finish := make(chan struct{}), make(chan struct{})
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
		return &content{size: 3, body: []byte("abc"), tier: cache.TierUpstream, writeTo: func(w io.Writer, b []byte) (int64, error) {
			close(begun)
			<-finish
			n, err := w.Write(b)
			return int64(n), err
		}}, nil
	}
	s := start(t, f, nil)
	idle := s.dial(t)
	if _, err := io.WriteString(idle, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get("http://" + s.addr + "/v2/a/b/blobs/" + sha256)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-begun
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }() // ends when the answer has
	if err := <-s.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("a new connection was accepted")
	}
	close(finish)
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "abc" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownCutsAnswersAtItsDeadline(t *testing.T) {
	f := filled()
	begun := make(chan struct{})
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
		return &content{size: 64 << 20, body: make([]byte, 64<<20), tier: cache.TierDisk, writeTo: func(w io.Writer, b []byte) (int64, error) {
			close(begun)
			n, err := w.Write(b) // more than any socket buffer holds, and nobody reads
			return int64(n), err
		}}, nil
	}
	s := start(t, f, nil)
	c := s.dial(t)
	if _, err := io.WriteString(c, "GET /v2/a/b/blobs/"+sha256+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if a := <-s.answered; !a.Cut {
		t.Errorf("got %+v", a)
	}
	if s.ctx.Err() == nil {
		t.Error("calls into the cache go on")
	}
}
