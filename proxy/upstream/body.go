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

// Due is the body of an answer on its way in. It ends with io.ErrUnexpectedEOF rather than io.EOF when it is short. It is read by
// one goroutine; Close may come from another.
type Due struct {
	io.ReadCloser
	Left     int64 // bytes still due; -1 where nobody knows
	patience time.Duration
	silence  *time.Timer // runs only while a Read waits: a slow reader is not the sender's fault
}

// NewDue makes a body that calls silent, which is to end the request, when no byte comes for the time of patience.
func NewDue(rc io.ReadCloser, left int64, patience time.Duration, silent func()) *Due {
	d := &Due{ReadCloser: rc, Left: left, patience: patience, silence: time.AfterFunc(patience, silent)}
	d.silence.Stop()
	return d
}

func (d *Due) Read(p []byte) (int, error) {
	if d.Left == 0 {
		return 0, io.EOF
	}
	if d.Left > 0 {
		p = p[:min(int64(len(p)), d.Left)]
	}
	d.silence.Reset(d.patience)
	n, err := d.ReadCloser.Read(p)
	d.silence.Stop()
	if d.Left > 0 {
		d.Left -= int64(n)
	}
	if errors.Is(err, io.EOF) && d.Left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close may be called more than once if that of what it reads may.
func (d *Due) Close() error {
	d.silence.Stop()
	return d.ReadCloser.Close()
}

// body is a blob's body on its way in. It ends with an error rather than io.EOF when it is short, when nothing comes for too long, or
// when the connection breaks.
type body struct {
	*Due
	ctx      context.Context
	call     *call
	registry *Registry
	got      atomic.Int64
	closed   sync.Once
}

func (r *Registry) newBody(ctx context.Context, c *call, rc io.ReadCloser, length int64) *body {
	return &body{Due: NewDue(rc, length, r.stall, func() { c.cancel(errStalled) }), ctx: ctx, call: c, registry: r}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Due.Read(p)
	b.got.Add(int64(n))
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, b.registry.report("reading a blob", judgeError(b.ctx, fmt.Errorf("after %d bytes: %w", b.got.Load(), err)))
}

func (b *body) Close() error {
	err := b.Due.Close()
	b.closed.Do(func() {
		b.call.end()
		b.registry.events.Received(b.registry.host, KindBlob, b.got.Load())
	})
	return err
}
