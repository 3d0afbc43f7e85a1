package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/entrepot/entrepot/storage"
)

// When a store counts as gone: so many failures one after the other, or one whose time ran out, since that is long enough to
// wait.
const (
	failures = 3
	goneFor  = 5 * time.Second // then one request may try
)

// breaker spares callers the time-outs of a store that is known to be gone: it fails at once with storage.ErrUnavailable.
type breaker struct {
	store  storage.Store
	two    *gobreaker.TwoStepCircuitBreaker[struct{}]
	silent atomic.Bool // the last operation that told something ran out of time
}

func newBreaker(s storage.Store) *breaker {
	b := &breaker{store: s}
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:      goneFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures || b.silent.Load() },
		IsSuccessful: func(err error) bool { return !errors.Is(err, storage.ErrUnavailable) },
		IsExcluded: func(err error) bool { // callers who left
			return !errors.Is(err, storage.ErrUnavailable) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
		},
	})
	return b
}

func gone(doing string) error {
	return fmt.Errorf("%s: %w; it is asked again in a moment", doing, storage.ErrUnavailable)
}

// do is for what is small: whether it succeeds says that the store is there.
func (b *breaker) do(doing, key string, do func() error) (err error) {
	done, err := b.two.Allow()
	if err != nil {
		return gone(doing + " " + key)
	}
	defer func() {
		b.silent.Store(errors.Is(err, storage.ErrUnavailable) && errors.Is(err, os.ErrDeadlineExceeded))
		done(err)
	}()
	return do()
}

func (b *breaker) isGone() bool { return b.two.State() == gobreaker.StateOpen }

func (b *breaker) Stat(ctx context.Context, key string) (info storage.Info, err error) {
	err = b.do("stat", key, func() (err error) { info, err = b.store.Stat(ctx, key); return err })
	return info, err
}

func (b *breaker) Open(ctx context.Context, key string, off, n int64) (r io.ReadCloser, info storage.Info, err error) {
	err = b.do("open", key, func() (err error) { r, info, err = b.store.Open(ctx, key, off, n); return err })
	return r, info, err
}

// Put may take as long as whoever sends the body likes, so others do not wait for what comes of it.
func (b *breaker) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	if b.isGone() {
		return gone("put " + key)
	}
	return b.store.Put(ctx, key, body, size)
}

func (b *breaker) Get(ctx context.Context, key string) (record []byte, v storage.Version, err error) {
	err = b.do("get", key, func() (err error) { record, v, err = b.store.Get(ctx, key); return err })
	return record, v, err
}

func (b *breaker) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (v storage.Version, err error) {
	err = b.do("put", key, func() (err error) { v, err = b.store.PutIf(ctx, key, record, was); return err })
	return v, err
}

func (b *breaker) Delete(ctx context.Context, key string) error {
	return b.do("delete", key, func() error { return b.store.Delete(ctx, key) })
}

// Presign asks the store nothing, but whoever follows the URL does.
func (b *breaker) Presign(ctx context.Context, key string, life time.Duration) (string, error) {
	if b.isGone() {
		return "", gone("presign " + key)
	}
	return storage.Presign(ctx, b.store, key, life)
}

// List goes on for as long as whoever reads it likes, as Put does.
func (b *breaker) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	if b.isGone() {
		return func(yield func(storage.Info, error) bool) { yield(storage.Info{}, gone("list "+prefix)) }
	}
	return b.store.List(ctx, prefix, after)
}
