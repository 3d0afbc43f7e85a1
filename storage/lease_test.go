package storage_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

const leaseLife = time.Minute

func newLease(s storage.Store, holder string) *storage.Lease {
	return storage.NewLease(s, "leases/collect", holder, leaseLife)
}

// takes is work that takes so long, and ends early with its context.
func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unwelcome is work that nobody may begin.
func unwelcome(t *testing.T) func(context.Context) error {
	return func(context.Context) error { t.Error("the work has begun"); return nil }
}

func wantLease(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestOneAtATimeHoldsALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		a, b := newLease(s, "a"), newLease(s, "b")
		var running sync.WaitGroup
		running.Go(func() { wantLease(t, "a", a.Do(t.Context(), takes(time.Hour)), nil) })
		for range 59 { // a renews it all the time
			time.Sleep(time.Minute)
			wantLease(t, "while a holds it", b.Do(t.Context(), unwelcome(t)), storage.ErrHeld)
		}
		running.Wait()
		wantLease(t, "what a has done since b looked", b.Do(t.Context(), unwelcome(t)), storage.ErrDone)
		wantLease(t, "what nobody has done since b looked", b.Do(t.Context(), takes(0)), nil)
		wantLease(t, "what b has done since a had it", a.Do(t.Context(), unwelcome(t)), storage.ErrDone)
		wantLease(t, "whoever begins does not know since when it is done", newLease(s, "c").Do(t.Context(), takes(0)), nil)
	})
}

func TestWhatFailedIsNotDone(t *testing.T) {
	s := mem.New(time.Now)
	a, b := newLease(s, "a"), newLease(s, "b")
	wantLease(t, "b", b.Do(t.Context(), takes(0)), nil)
	failed := errors.New("failed")
	wantLease(t, "a", a.Do(t.Context(), func(context.Context) error { return failed }), failed)
	wantLease(t, "b after a failed", b.Do(t.Context(), takes(0)), nil)
}

func TestALeaseIsTakenOverFromTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		broken := storagetest.NewFailing(s, storagetest.Failure{N: 3, Onward: true}) // after it was read and taken
		died := newLease(broken, "a").Do(t.Context(), takes(time.Hour))
		wantLease(t, "whoever cannot renew", died, storage.ErrLost)

		b := newLease(s, "b")
		wantLease(t, "b sees it for the first time", b.Do(t.Context(), unwelcome(t)), storage.ErrHeld)
		time.Sleep(leaseLife - time.Second)
		wantLease(t, "it may still be renewed", b.Do(t.Context(), unwelcome(t)), storage.ErrHeld)
		time.Sleep(2 * time.Second)
		wantLease(t, "nobody has renewed it", b.Do(t.Context(), takes(0)), nil)
	})
}

func TestWhoeverCannotRenewEndsBeforeOthersMayBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		broken := storagetest.NewFailing(mem.New(time.Now), storagetest.Failure{N: 3, Onward: true})
		err := newLease(broken, "a").Do(t.Context(), func(ctx context.Context) error {
			err := takes(time.Hour)(ctx)
			wantLease(t, "the cause", context.Cause(ctx), storage.ErrLost)
			return err
		})
		wantLease(t, "a", err, storage.ErrLost)
		if took := time.Since(began); took >= leaseLife {
			t.Errorf("it went on for %v", took)
		}
	})
}

func TestALeaseThatWasTakenOverEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		err := newLease(s, "a").Do(t.Context(), func(ctx context.Context) error {
			_, at, err := s.Get(ctx, "leases/collect")
			if err != nil {
				return err
			}
			if _, err := s.PutIf(ctx, "leases/collect", []byte(`{"holder":"b","nonce":"x"}`), at); err != nil {
				return err
			}
			began := time.Now()
			defer func() {
				if took := time.Since(began); took > leaseLife/2 {
					t.Errorf("it went on for %v", took)
				}
			}()
			return takes(time.Hour)(ctx)
		})
		wantLease(t, "a", err, storage.ErrLost)
		wantLease(t, "b's lease stands", newLease(s, "c").Do(t.Context(), unwelcome(t)), storage.ErrHeld)
	})
}

func TestAFewRenewalsMayFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		flaky := storagetest.NewFailing(s, storagetest.Failure{N: 4})
		wantLease(t, "a", newLease(flaky, "a").Do(t.Context(), takes(time.Hour)), nil)
		if !flaky.Failed() {
			t.Error("nothing failed")
		}
	})
}

func TestAnEndThatWasAskedForGivesTheLeaseBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		wantLease(t, "a", newLease(s, "a").Do(ctx, takes(time.Hour)), context.Canceled)
		wantLease(t, "b", newLease(s, "b").Do(t.Context(), takes(0)), nil)
	})
}

func TestOfManyOneGetsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		var mu sync.Mutex
		var won, held int
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				err := newLease(s, "one of them").Do(t.Context(), takes(time.Minute))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case errors.Is(err, storage.ErrHeld):
					held++
				}
			})
		}
		all.Wait()
		if won != 1 || held != 49 {
			t.Errorf("%d won, %d saw it held; want 1 and 49", won, held)
		}
	})
}

func TestADamagedLeaseIsTakenOverToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		if _, err := s.PutIf(t.Context(), "leases/collect", []byte("{"), storage.Absent); err != nil {
			t.Fatal(err)
		}
		a := newLease(s, "a")
		wantLease(t, "at first", a.Do(t.Context(), unwelcome(t)), storage.ErrHeld)
		time.Sleep(leaseLife)
		wantLease(t, "after its life", a.Do(t.Context(), takes(0)), nil)
	})
}

func take(t *testing.T, l *storage.Lease) *storage.Held {
	t.Helper()
	h, err := l.Take(t.Context())
	if err != nil {
		t.Fatalf("take: %v", err)
	}
	return h
}

func release(t *testing.T, h *storage.Held) {
	t.Helper()
	if err := h.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
}

func wantTaken(t *testing.T, what string, l *storage.Lease, holder string) {
	t.Helper()
	h, err := l.Take(t.Context())
	if h != nil {
		h.Rest()
	}
	wantLease(t, what, err, storage.ErrHeld)
	if l.Holder() != holder {
		t.Errorf("%s: held by %q, want %q", what, l.Holder(), holder)
	}
}

func TestALeaseIsHeldUntilItIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		a, b := newLease(s, "a"), newLease(s, "b")
		held := take(t, a)
		for range 10 { // it is renewed
			wantTaken(t, "while a holds it", b, "a")
			time.Sleep(leaseLife)
		}
		release(t, held)
		if _, err := s.Stat(t.Context(), "leases/collect"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the record of a released lease: %v", err)
		}
		release(t, take(t, b))
	})
}

func TestARestingLeaseNamesItsHolderUntilItIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		held := take(t, newLease(s, "a"))
		held.Rest()
		time.Sleep(time.Hour)
		b := newLease(s, "b")
		wantTaken(t, "at the first look", b, "a")
		time.Sleep(leaseLife / 2)
		wantTaken(t, "before its life has passed", b, "a")
		time.Sleep(leaseLife / 2)
		taken := take(t, b)
		release(t, held) // a does not know; who has it next may be disturbed, which costs work only
		release(t, taken)
	})
}

func TestALeaseIsTakenOverByTheNextProcessOfItsHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(time.Now)
		take(t, newLease(s, "a")).Rest()
		wantTaken(t, "by another", newLease(s, "b"), "a")
		release(t, take(t, newLease(s, "a")))
	})
}
