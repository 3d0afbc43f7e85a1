package storage

import (
	"context"
	"errors"
	"fmt"
)

// Held is a lease that is held until Release, beyond any one piece of work.
type Held struct {
	lease *Lease
	ctx   context.Context // ends with the renewing; ErrLost is its cause where somebody else may have the lease
	end   context.CancelCauseFunc
	done  chan struct{}
}

// Take holds the lease if nobody else does (ErrHeld; Holder says who). A record in this holder's name was left by an earlier
// process, so its life is not waited for. The lease is renewed until Rest or Release, one of which has to be called.
func (l *Lease) Take(ctx context.Context) (*Held, error) {
	at, err := l.claim(ctx, Absent) // most often nobody has it, and that is one request
	if errors.Is(err, ErrHeld) {
		at, err = l.take(ctx, true)
	}
	if err != nil {
		return nil, fmt.Errorf("lease %s: %w", l.key, err)
	}
	h := &Held{lease: l, done: make(chan struct{})}
	h.ctx, h.end = context.WithCancelCause(context.WithoutCancel(ctx))
	go func() { // ends with h.ctx
		defer close(h.done)
		l.renew(h.ctx, at, h.end)
	}()
	return h, nil
}

// Holder is who was found to have the lease when it could not be taken; empty where nobody can tell.
func (l *Lease) Holder() string { return l.found }

// Rest ends the renewing and leaves the record: whoever looks at the lease for the first time still finds the holder's name.
func (h *Held) Rest() {
	h.end(nil)
	<-h.done
}

// Release removes the record, unless somebody else may have taken the lease. Where that fails, it is as after Rest.
func (h *Held) Release() {
	h.Rest()
	if errors.Is(context.Cause(h.ctx), ErrLost) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), returning)
	defer cancel()
	_ = h.lease.store.Delete(ctx, h.lease.key) // others take it over after its life
}
