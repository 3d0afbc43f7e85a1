package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type fakeAnonymous struct {
	readable atomic.Bool
	err      error
	asked    atomic.Int32
	wait     chan struct{}
}

func (f *fakeAnonymous) ReadableAnonymously(context.Context, string) (bool, error) {
	f.asked.Add(1)
	if f.wait != nil {
		<-f.wait
	}
	return f.readable.Load(), f.err
}

func newPublicOffice(t *testing.T) (o *office, p *Public) {
	t.Helper()
	o = newOffice(t, 0)
	p, err := NewPublic(o.records, o.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return o, p
}

func TestPublic(t *testing.T) {
	o, p := newPublicOffice(t)
	f := &fakeAnonymous{}
	f.readable.Store(true)
	want := func(want bool, asked int32) {
		t.Helper()
		got, err := p.Readable(t.Context(), nginx, f, "latest")
		if err != nil || got != want || f.asked.Load() != asked {
			t.Errorf("%v, %v after %d requests, want %v after %d", got, err, f.asked.Load(), want, asked)
		}
	}
	want(true, 1)
	want(true, 1)
	o.clock.advance(publicFor)
	f.readable.Store(false)
	want(false, 2)
	want(false, 2)
	o.clock.advance(privateFor)
	f.readable.Store(true)
	want(true, 3)

	restarted, err := NewPublic(o.records, o.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	defer restarted.Close()
	p = restarted
	o.clock.advance(publicFor - time.Second)
	want(true, 3) // the record is remembered, and its age
	o.clock.advance(time.Second)
	f.err = outage(CauseFailed)
	want(true, 4) // the last answer during an outage
	want(true, 4)
	o.clock.advance(outageFor)
	f.err = nil
	want(true, 5)

	o.clock.advance(publicFor)
	f.err = ErrDenied
	want(false, 6)
	f.err = outage(CauseFailed)
	o.clock.advance(privateFor)
	if got, err := p.Readable(t.Context(), nginx, f, "latest"); got || !IsOutage(err) {
		t.Errorf("what was private is %v in an outage, %v", got, err)
	}
}

func TestPublicPassesOnWhatIsNoAnswer(t *testing.T) {
	_, p := newPublicOffice(t)
	f := &fakeAnonymous{err: ErrNotFound}
	for range 2 {
		if got, err := p.Readable(t.Context(), nginx, f, "typo"); got || !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, %v", got, err)
		}
	}
	if f.asked.Load() != 2 {
		t.Error("a missing tag was taken for an answer about the repository")
	}
}

func TestPublicIsAskedOnce(t *testing.T) {
	_, p := newPublicOffice(t)
	f := &fakeAnonymous{wait: make(chan struct{})}
	f.readable.Store(true)
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			if ok, err := p.Readable(t.Context(), nginx, f, "latest"); !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
		})
	}
	close(f.wait)
	callers.Wait()
	if n := f.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
