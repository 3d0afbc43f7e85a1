package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// requestBody reads a request's body, and ends in io.EOF only where all of it has come: to the HTTP library a body that
// was cut off looks like a whole one.
type requestBody struct {
	ctx      *fasthttp.RequestCtx
	conn     *conn         // nil where the connection is not ours
	patience time.Duration // the client must send something within it
	length   int64         // Content-Length; -1: sent in chunks
	size     int64         // what there has to be; -1: whatever comes
	n        int64         // bytes that came
	err      error         // what every further Read returns
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

func (b *requestBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.length == 0 {
		b.err = io.EOF
		return 0, io.EOF
	}
	if b.err = b.ctx.SetReadDeadline(time.Now().Add(b.patience)); b.err != nil {
		return 0, b.err
	}
	n, err := b.ctx.RequestBodyStream().Read(p)
	b.n += int64(n)
	if err == io.EOF {
		b.err = b.end()
	} else if err != nil {
		b.err = broken(err)
	}
	return n, b.err
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
