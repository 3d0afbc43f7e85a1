package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/semaphore"
)

// placePatience is how long a body waits until it may be read.
const placePatience = 5 * time.Second

// requestBody reads a request's body, and ends in io.EOF only where all of it has come: to the HTTP library a body that
// was cut off looks like a whole one.
type requestBody struct {
	ctx      *fasthttp.RequestCtx
	conn     *conn         // nil where the connection is not ours
	patience time.Duration // the client must send something within it
	deadline time.Time     // of the whole body; zero: it may take as long as it goes on arriving
	length   int64         // Content-Length; -1: sent in chunks
	size     int64         // what there has to be; -1: whatever comes
	n        int64         // bytes that came
	err      error         // what every further Read returns
	release  func()        // gives the body's place to another one; nil: it has none
}

// openBody gives the request's body, which has to have size bytes unless that is negative. The call's end looks whether it
// was read to its end.
func (c *call) openBody(size int64) (*requestBody, error) {
	b := &requestBody{ctx: c.ctx, conn: c.conn, patience: c.server.o.BodyTimeout, size: size}
	if c.ctx.Request.IsBodyStream() {
		b.length = int64(c.ctx.Request.Header.ContentLength())
	}
	if size >= 0 && b.length >= 0 && b.length != size {
		return nil, newError(CodeSizeInvalid, fmt.Sprintf("Content-Range says %d bytes, and Content-Length %d", size, b.length))
	}
	if b.length >= 0 {
		b.size = b.length
	}
	c.body = b
	return b, nil
}

// openWhole is openBody for what is kept in memory until it is whole. All of it has to come within BodyTimeout: a client
// that sends a byte now and then would hold the memory for hours.
func (c *call) openWhole() (*requestBody, error) {
	b, err := c.openBody(-1)
	if err != nil {
		return nil, err
	}
	b.deadline = time.Now().Add(b.patience)
	return b, nil
}

// openUpload is openBody for the bytes of a blob. While they are read they hold one of MaxUploads places, each of which
// costs a store's buffer.
func (c *call) openUpload(size int64) (*requestBody, error) {
	b, err := c.openBody(size)
	if err != nil || b.length == 0 {
		return b, err
	}
	if b.release, err = c.reserve(c.server.uploads, "too many uploads are under way"); err != nil {
		return nil, err
	}
	return b, nil
}

// reserve waits a while for one of the places, and refuses with what there is too much of.
func (c *call) reserve(places *semaphore.Weighted, what string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(c.server.ctx, min(placePatience, c.server.o.BodyTimeout))
	defer cancel()
	if err := places.Acquire(ctx, 1); err != nil {
		return nil, &Error{Code: CodeUnavailable, Message: what, RetryAfter: leastRetry, Err: err}
	}
	return func() { places.Release(1) }, nil
}

func (b *requestBody) Read(p []byte) (n int, err error) {
	if b.err == nil {
		if n, b.err = b.read(p); b.err != nil {
			b.leave()
		}
	}
	return n, b.err
}

func (b *requestBody) read(p []byte) (int, error) {
	if b.length == 0 {
		return 0, io.EOF
	}
	deadline := b.deadline
	if deadline.IsZero() {
		deadline = time.Now().Add(b.patience)
	}
	if err := b.ctx.SetReadDeadline(deadline); err != nil { // which the server takes off before the next request
		return 0, err
	}
	n, err := b.ctx.RequestBodyStream().Read(p)
	b.n += int64(n)
	switch {
	case err == io.EOF:
		err = b.end()
	case err != nil:
		err = broken(err)
	}
	return n, err
}

// leave gives up the body's place. The call's end does it where the body was not read to its end.
func (b *requestBody) leave() {
	if b.release != nil {
		b.release()
		b.release = nil
	}
}

// end is what the end of the HTTP library's stream means.
func (b *requestBody) end() error {
	switch {
	case b.size >= 0 && b.n != b.size:
		return newError(CodeSizeInvalid, fmt.Sprintf("the body ended after %d bytes, and %d were announced", b.n, b.size))
	case b.length < 0 && b.conn != nil && b.conn.sawEOF.Load():
		return newError(CodeSizeInvalid, fmt.Sprintf("the body was cut off after %d bytes", b.n))
	}
	return io.EOF
}

func broken(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &Error{Code: CodeUnknown, Status: http.StatusRequestTimeout, Message: "the body did not go on arriving in time", Err: err}
	}
	return &Error{Code: CodeSizeInvalid, Message: "the body broke off", Err: err}
}

// closeUnread closes the connection after the answer unless the request's body was read to its end: what is left of it
// would be taken for the next request.
func (c *call) closeUnread() {
	if !c.ctx.Request.IsBodyStream() || c.ctx.Request.Header.ContentLength() == 0 {
		return
	}
	if c.body == nil || c.body.err != io.EOF {
		c.letRead()
	}
}
