package cache

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

func (o *office) sweep(limit int64) (int64, error) {
	return NewSweeper(SweepOptions{Records: o.records, Now: o.clock.now, Limit: limit}).Sweep(o.t.Context())
}

func (o *office) wantRecord(key string, want bool) {
	o.t.Helper()
	_, err := o.store.Stat(o.t.Context(), key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		o.t.Fatal(err)
	}
	if (err == nil) != want {
		o.t.Errorf("%s is there: %v", key, err == nil)
	}
}

func TestSweepDeletesWhatNobodyUses(t *testing.T) {
	o := newOffice(t, 1<<20)
	up, other := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "old"})
	used, unused := up.push("used", "1"), up.push("unused", "2")
	o.wantGet(up, "used", used)
	o.wantGet(up, "unused", unused)
	o.wantGet(other, "x", other.push("x", "3"))
	for range 31 {
		o.clock.advance(24 * time.Hour)
		o.wantGet(up, "used", used)
	}
	left, err := o.sweep(0)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(4 * recordBlock); left != want { // bytes, tag, seen, name
		t.Errorf("%d bytes left, want %d", left, want)
	}
	o.wantRecord(manifestKey(used.Digest), true)
	o.wantRecord(seenKey(nginx, used.Digest), true)
	o.wantRecord(tagKey(nginx, "used"), true)
	o.wantRecord(nameKey(nginx), true)
	o.wantRecord(manifestKey(unused.Digest), false)
	o.wantRecord(seenKey(nginx, unused.Digest), false)
	o.wantRecord(tagKey(nginx, "unused"), false)
	o.wantRecord(nameKey(other.repo), false)
	o.wantGet(up, "unused", unused) // and it comes back
}

func TestSweepKeepsAStaleImageThatIsUsedDuringALongOutage(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	o.wantGet(up, "latest", man)
	up.fail(outage(CauseFailed), outage(CauseFailed))
	for range 40 {
		o.clock.advance(24 * time.Hour)
		wantWarning(t, o.wantGet(up, "latest", man).Warning)
	}
	if _, err := o.sweep(0); err != nil {
		t.Fatal(err)
	}
	o.wantRecord(seenKey(nginx, man.Digest), true)
	o.wantGet(up, "latest", man)
}

func TestSweepKeepsATagWhoseLifetimeIsLongerThanTheSweeps(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory, func(o *office) { o.options.TTLs = TTLs{usual: 365 * 24 * time.Hour} })
			up := newFakeManifests(nginx)
			man := up.push("v1", "1")
			for range 40 {
				o.wantGet(up, "v1", man)
				o.clock.advance(24 * time.Hour)
			}
			up.wantAsked(t, 1, 1)
			if _, err := o.sweep(0); err != nil {
				t.Fatal(err)
			}
			o.wantRecord(tagKey(nginx, "v1"), true)
		})
	}
}

func TestSweepKeepsTheLimit(t *testing.T) {
	const n = 10
	for limit := int64(1); limit <= n+1; limit++ {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			o := newOffice(t, 0)
			for i := range n {
				o.seen.Add(t.Context(), nginx, digest.FromString(fmt.Sprint(i)), "", 1)
				o.settle()
				o.clock.advance(30 * time.Minute) // two in an hour
			}
			if _, err := o.sweep(limit * recordBlock); err != nil {
				t.Fatal(err)
			}
			left := 0
			for i := range n {
				if _, err := o.store.Stat(t.Context(), seenKey(nginx, digest.FromString(fmt.Sprint(i)))); err == nil {
					left++
				} else if int64(i) > n-limit {
					t.Errorf("record %d went before older ones", i)
				}
			}
			if want := min(limit, n); int64(left) != want {
				t.Errorf("%d records left, want %d", left, want)
			}
		})
	}
}

func TestSweepStopsAtWhatItCannotRead(t *testing.T) {
	for n := int64(1); ; n++ {
		var store *storagetest.Failing
		o := newOffice(t, 0, func(o *office) { store = storagetest.NewFailing(o.store, storagetest.Failure{}) })
		up := newFakeManifests(nginx)
		man := up.push("latest", "1")
		o.wantGet(up, "latest", man)
		o.clock.advance(31 * 24 * time.Hour)
		store = storagetest.NewFailing(o.store, storagetest.Failure{N: n})
		records := NewRecords(store, RecordOptions{Now: o.clock.now})
		_, err := NewSweeper(SweepOptions{Records: records, Now: o.clock.now}).Sweep(t.Context())
		records.Close()
		if !store.Failed() {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("operation %d failed: %v", n, err)
		}
		o.wantGet(up, "latest", man)
		o.close()
	}
}

func TestSweepRuns(t *testing.T) {
	o := newOffice(t, 0)
	o.seen.Add(t.Context(), nginx, digest.FromString("x"), "", 1)
	ctx, cancel := context.WithCancel(t.Context())
	reported, ended := make(chan int64), make(chan struct{})
	s := NewSweeper(SweepOptions{Records: o.records, Now: o.clock.now, Report: func(n int64) { reported <- n }})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	if n := <-reported; n != 2*recordBlock {
		t.Errorf("reported %d bytes", n)
	}
	cancel()
	<-ended
}
