package storagetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/entrepot/entrepot/storage"
)

// ErrInjected is the error of operations that a Failing store fails.
var ErrInjected = errors.New("injected failure")

// Failure says which operation of a Failing store fails, and how.
type Failure struct {
	N      int64 // the operation that fails, from 1; never when 0
	Onward bool  // and all after it
	Lost   bool  // the operation takes effect, and its answer is lost
}

// Failing is a store one of whose operations fails with ErrInjected.
type Failing struct {
	*around
	failure Failure
	count   atomic.Int64
}

// NewFailing makes a store around s. Run the same steps with N = 1, 2, 3 ... until Failed says that N was beyond the last.
func NewFailing(s storage.Store, failure Failure) *Failing {
	f := &Failing{failure: failure}
	f.around = &around{s, f.hook}
	return f
}

// Failed reports whether an operation was failed.
func (f *Failing) Failed() bool { return f.failure.N > 0 && f.count.Load() >= f.failure.N }

func (f *Failing) hook(_ context.Context, _ Op, _ string, do func() error) error {
	n := f.count.Add(1)
	fails := f.failure.N > 0 && (n == f.failure.N || f.failure.Onward && n > f.failure.N)
	if fails && !f.failure.Lost {
		return ErrInjected
	}
	if err := do(); err != nil || !fails {
		return err
	}
	return ErrInjected
}

// Counting is a store that counts its operations.
type Counting struct {
	*around

	mu    sync.Mutex
	count map[Op]int
}

// NewCounting makes a store around s that has counted nothing.
func NewCounting(s storage.Store) *Counting {
	c := &Counting{count: make(map[Op]int)}
	c.around = &around{s, c.hook}
	return c
}

// Count is how many operations of a kind began.
func (c *Counting) Count(op Op) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[op]
}

func (c *Counting) hook(_ context.Context, op Op, _ string, do func() error) error {
	c.mu.Lock()
	c.count[op]++
	c.mu.Unlock()
	return do()
}

// Slow is s with wait called before each operation: it may block on a channel, or on the clock, and its error is the
// operation's. It should return when ctx ends.
func Slow(s storage.Store, wait func(ctx context.Context, op Op, key string) error) storage.Store {
	return Around(s, func(ctx context.Context, op Op, key string, do func() error) error {
		if err := wait(ctx, op, key); err != nil {
			return err
		}
		return do()
	})
}
