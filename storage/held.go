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
	at    Version // of its last record; after done
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
	return l.hold(context.WithoutCancel(ctx), at), nil
}

// hold renews the lease whose record is at that version, until Rest, or the end of ctx.
func (l *Lease) hold(ctx context.Context, at Version) *Held {
	h := &Held{lease: l, done: make(chan struct{})}
	h.ctx, h.end = context.WithCancelCause(ctx)
	go func() { // ends with h.ctx
		defer close(h.done)
		h.at = l.renew(h.ctx, at, h.end)
	}()
	return h
}

// lost reports whether somebody else may have the lease.
func (h *Held) lost() bool { return errors.Is(context.Cause(h.ctx), ErrLost) }

// Holder is who was found to have the lease when it could not be taken; empty where nobody can tell.
func (l *Lease) Holder() string { return l.found }

// Rest ends the renewing and leaves the record: whoever looks at the lease for the first time still finds the holder's name.
func (h *Held) Rest() {
	h.end(nil)
	<-h.done
}

// Release removes the record, unless somebody else may have taken the lease. Where that fails, it is as after Rest, and can be
// tried again.
func (h *Held) Release(ctx context.Context) error {
	h.Rest()
	if h.lost() {
		return nil
	}
	return h.lease.Remove(ctx)
}

// Remove removes the record, whoever holds the lease: what it is for has been done.
func (l *Lease) Remove(ctx context.Context) error {
	if err := l.store.Delete(ctx, l.key); err != nil {
		return fmt.Errorf("release lease %s: %w", l.key, err)
	}
	return nil
}
