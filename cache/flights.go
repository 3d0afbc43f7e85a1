package cache

import (
	"context"
	"sync"

	"golang.org/x/sync/singleflight"
)

// flights shares work between those who ask for the same thing at the same time. The work runs on a context of its own,
// which ends with close: a client that leaves fails nobody else, and what was begun for it is kept.
type flights struct {
	group  singleflight.Group
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool           // guarded by mu
	running sync.WaitGroup // grows only under mu while not closed
}

func newFlights() *flights {
	f := &flights{}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// close ends the work that is under way and waits for it.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	f.running.Wait()
}

func (f *flights) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.running.Add(1)
	return true
}

// detach runs work for which nobody waits; it does nothing after close. The goroutine ends with the work, which must heed
// its context.
func (f *flights) detach(work func(context.Context)) {
	if !f.begin() {
		return
	}
	go func() {
		defer f.running.Done()
		work(f.ctx)
	}()
}

// share gives what work gives, running it only if it is not under way for key. Whoever comes just after it has ended runs
// it again: work looks first whether there is still something to do.
func share[T any](ctx context.Context, f *flights, key string, work func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	shared := f.group.DoChan(key, func() (any, error) {
		if !f.begin() {
			return none, context.Canceled
		}
		defer f.running.Done()
		return work(f.ctx)
	})
	select {
	case r := <-shared:
		return r.Val.(T), r.Err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// flightKey names work on a reference within a repository.
func flightKey(kind string, repo Repo, ref string) string {
	return kind + "\x00" + repo.String() + "\x00" + ref
}
