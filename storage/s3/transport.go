package s3

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	dialTimeout     = 5 * time.Second
	idleTimeout     = 90 * time.Second
	continueTimeout = time.Second

	// idleConns is how many connections stay open between requests. With the SDK's ten, 64 readers at once dialled three
	// times as often and read a fifth less.
	idleConns = 128
)

// errStalled says that the server has not answered, or has stopped sending or taking bytes. It is a timeout by its method.
var errStalled = fmt.Errorf("the S3 server does not answer: %w", os.ErrDeadlineExceeded)

// patient sends requests for the SDK and gives up those whose bytes have stopped moving: a server that accepts and says
// nothing would hold them for ever. It follows no redirects.
type patient struct {
	next  *http.Transport
	limit time.Duration
}

func newPatient(limit time.Duration) *patient {
	var plain http.Protocols
	plain.SetHTTP1(true) // ranges in parallel over one HTTP/2 connection share its speed
	return &patient{limit: limit, next: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ExpectContinueTimeout: continueTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConns:          idleConns,
		MaxIdleConnsPerHost:   idleConns,
		DisableCompression:    true, // it would take the length away
		Protocols:             &plain,
	}}
}

// trust verifies servers as another transport does.
func (p *patient) trust(theirs *tls.Config) {
	if theirs != nil {
		p.next.TLSClientConfig = theirs.Clone()
		p.next.TLSClientConfig.NextProtos = nil // it offers HTTP/2
	}
}

type patience struct{}

// withPatience lets the requests of ctx wait longer than others.
func withPatience(ctx context.Context, limit time.Duration) context.Context {
	return context.WithValue(ctx, patience{}, limit)
}

// Do is one attempt. Where it gives up, the SDK sees a broken connection and tries again.
func (p *patient) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{ctx: ctx, cancel: cancel, limit: p.limit}
	if limit, ok := ctx.Value(patience{}).(time.Duration); ok {
		w.limit = limit
	}
	w.timer = time.AfterFunc(w.limit, func() { cancel(errStalled) }) // stopped by answered, reading and end
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &sending{req.Body, w}
	}
	resp, err := p.next.RoundTrip(req)
	w.answered()
	if err != nil {
		err = w.reason(err)
		w.end()
		return nil, err
	}
	resp.Body = &receiving{resp.Body, w}
	return resp, nil
}

// watch cancels a request after limit. Until the answer begins, time is counted from the last bytes that were sent; then
// only while somebody waits for bytes of it, because a reader may be slow himself.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer

	mu      sync.Mutex // the timer's, where the request's body and the answer meet
	replied bool
}

func (w *watch) sent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.replied {
		w.timer.Reset(w.limit)
	}
}

func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replied = true
	w.timer.Stop()
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// reason is err, or why the request was given up.
func (w *watch) reason(err error) error {
	if context.Cause(w.ctx) == errStalled {
		return errStalled
	}
	return err
}

// sending is a request's body.
type sending struct {
	io.ReadCloser
	watch *watch
}

func (s *sending) Read(p []byte) (int, error) {
	s.watch.sent()
	return s.ReadCloser.Read(p)
}

// receiving is an answer's body.
type receiving struct {
	io.ReadCloser
	watch *watch
}

func (r *receiving) Read(p []byte) (int, error) {
	r.watch.timer.Reset(r.watch.limit)
	n, err := r.ReadCloser.Read(p)
	r.watch.timer.Stop()
	if err != nil && err != io.EOF {
		err = r.watch.reason(err)
	}
	return n, err
}

func (r *receiving) Close() error {
	r.watch.end()
	return r.ReadCloser.Close()
}
