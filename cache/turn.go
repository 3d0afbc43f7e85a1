package cache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
)

// turnLife is how long the lease of a fetch is left alone that nobody renews.
const turnLife = 10 * time.Second

// turn is this server's part in fetching a digest which several servers may want at once: it fetches, and holds the lease,
// or reads from the server that does. A lease saves work and decides nothing.
type turn struct {
	lease  *storage.Lease // nil: each server fetches for itself
	holder string         // address of the server that fetches; empty: this one
	stop   context.CancelFunc
	wg     sync.WaitGroup // the watcher

	mu     sync.Mutex
	held   *storage.Held // guarded by mu; nil: not held here
	failed bool          // the holder failed this server
}

// turn finds out whose turn it is. Whoever calls it calls end.
func (b *Bucket) turn(ctx context.Context, d digest.Digest) *turn {
	t := &turn{}
	if b == nil || b.o.Address == "" {
		return t
	}
	lease := storage.NewLease(b.o.Leases, digestKey(d), b.o.Address, turnLife)
	for range 2 { // whoever held it may have released it between two looks
		var err error
		t.held, err = b.takeLease(ctx, lease)
		switch {
		case err == nil:
			t.lease = lease
			return t
		case !errors.Is(err, storage.ErrHeld):
			return t
		case lease.Holder() != "":
			t.lease, t.holder = lease, lease.Holder()
			return t
		}
	}
	return t
}

// takeLease asks for nothing while the bucket rests. That leases fail says nothing of what else is there, so they rest by themselves.
func (b *Bucket) takeLease(ctx context.Context, lease *storage.Lease) (*storage.Held, error) {
	b.mu.Lock()
	resting := b.o.Now().Before(b.leases)
	b.mu.Unlock()
	if resting || b.resting() {
		return nil, errResting
	}
	brief, cancel := context.WithTimeout(ctx, bucketPatience)
	defer cancel()
	began := time.Now()
	held, err := lease.Take(brief)
	if time.Since(began) > bucketSlow && ctx.Err() == nil {
		b.mu.Lock()
		b.leases = b.o.Now().Add(bucketRest)
		b.mu.Unlock()
	}
	return held, err
}

// passedOver counts a server that did not give what it fetches, and names one a minute.
func (b *Bucket) passedOver(server string, err error) {
	b.o.Events.Borrowed(false)
	if b.quiet(&b.passed) {
		return
	}
	b.o.Log.Warn("another server does not give what it fetches; upstream is asked", "server", server, "err", err,
		"remedy", "if it is well, see that this address leads to it, and to it alone, from here")
}

// ours reports whether the lease is held here.
func (t *turn) ours() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held != nil
}

// watch takes the lease over as soon as that may be, since its holder failed this server, so that others come here.
func (t *turn) watch(ctx context.Context) {
	t.failed = true
	ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	t.wg.Go(func() { // until end
		tick := time.NewTicker(turnLife / 4)
		defer tick.Stop()
		for {
			brief, cancel := context.WithTimeout(ctx, bucketPatience)
			held, err := t.lease.Take(brief)
			cancel()
			if err == nil {
				t.mu.Lock()
				t.held = held
				t.mu.Unlock()
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// rest ends the renewing. Until end, other servers are still sent here, by the record.
func (t *turn) rest() {
	if t.stop != nil {
		t.stop()
	}
	t.wg.Wait()
	if t.held != nil {
		t.held.Rest()
	}
}

// end gives the lease back. One whose holder failed is of no use any more once the bucket has what it was for. An error can be
// tried again; whatever becomes of that, the record is taken over in the end.
func (t *turn) end(ctx context.Context, stored bool) error {
	t.rest()
	ctx, cancel := context.WithTimeout(ctx, bucketPatience)
	defer cancel()
	switch {
	case t.held != nil:
		return t.held.Release(ctx)
	case t.failed && stored:
		return t.lease.Remove(ctx)
	}
	return nil
}
