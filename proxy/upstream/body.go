package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// body is a blob's body on its way in. It ends with an error rather than io.EOF when it is short, when nothing comes for too long, or
// when the connection breaks. It is read by one goroutine; Close may come from another.
type body struct {
	io.ReadCloser
	ctx      context.Context
	call     *call
	registry *Registry
	left     int64 // bytes still due; -1 where nobody knows
	got      atomic.Int64
	closed   sync.Once
	stall    *time.Timer // runs only while a Read waits: a slow reader is not upstream's fault
}

func (r *Registry) newBody(ctx context.Context, c *call, rc io.ReadCloser, length int64) *body {
	b := &body{ReadCloser: rc, ctx: ctx, call: c, registry: r, left: length}
	b.stall = time.AfterFunc(r.stall, func() { c.cancel(errStalled) })
	b.stall.Stop()
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	b.stall.Reset(b.registry.stall)
	n, err := b.ReadCloser.Read(p)
	b.stall.Stop()
	b.got.Add(int64(n))
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case err == nil, errors.Is(err, io.EOF) && b.left <= 0:
		return n, err
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, b.registry.report("reading a blob", judgeError(b.ctx, fmt.Errorf("after %d bytes: %w", b.got.Load(), err)))
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.closed.Do(func() {
		b.stall.Stop()
		b.call.end()
		b.registry.events.Received(b.registry.host, KindBlob, b.got.Load())
	})
	return err
}
