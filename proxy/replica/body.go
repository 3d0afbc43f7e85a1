package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/entrepot/entrepot/proxy/upstream"
)

var errSilent = errors.New("it fell silent")

// body is the body of an answer on its way in. It ends with an error rather than io.EOF when it is short, and when no byte
// comes for too long.
type body struct {
	*upstream.Due
	ctx      context.Context         // of the request
	cancel   context.CancelCauseFunc // drops the connection, unless the body was read to its end
	patience time.Duration
}

func newBody(ctx context.Context, cancel context.CancelCauseFunc, rc io.ReadCloser, patience time.Duration) *body {
	due := upstream.NewDue(rc, -1, patience, func() { cancel(errSilent) })
	return &body{Due: due, ctx: ctx, cancel: cancel, patience: patience}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Due.Read(p)
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return n, err
	case errors.Is(context.Cause(b.ctx), errSilent):
		err = fmt.Errorf("%w for %v", errSilent, b.patience)
	}
	return n, fmt.Errorf("reading from another server: %w", err)
}

func (b *body) Close() error {
	err := b.Due.Close()
	b.cancel(nil)
	return err
}
