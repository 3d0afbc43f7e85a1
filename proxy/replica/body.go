package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

var errSilent = errors.New("it fell silent")

// body is the body of an answer on its way in. It ends with an error rather than io.EOF when it is short, and when no byte
// comes for too long. It is read by one goroutine; Close may come from another.
type body struct {
	io.ReadCloser
	ctx      context.Context         // of the request
	cancel   context.CancelCauseFunc // drops the connection, unless the body was read to its end
	patience time.Duration
	silence  *time.Timer // runs only while a Read waits: a slow reader is not the server's fault
	left     int64       // bytes still due; -1 where nobody knows
}

func newBody(ctx context.Context, cancel context.CancelCauseFunc, rc io.ReadCloser, patience time.Duration) *body {
	b := &body{ReadCloser: rc, ctx: ctx, cancel: cancel, patience: patience, left: -1}
	b.silence = time.AfterFunc(patience, func() { cancel(errSilent) })
	b.silence.Stop()
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	b.silence.Reset(b.patience)
	n, err := b.ReadCloser.Read(p)
	b.silence.Stop()
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case err == nil, errors.Is(err, io.EOF) && b.left <= 0:
		return n, err
	case errors.Is(context.Cause(b.ctx), errSilent):
		err = fmt.Errorf("%w for %v", errSilent, b.patience)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("reading from another server: %w", err)
}

func (b *body) Close() error {
	b.silence.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
