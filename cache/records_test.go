package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

func putRecord(key, content string) recordWrite {
	return recordWrite{verb: verbPut, key: key, record: []byte(content)}
}

func TestRecordsAreVisibleBeforeTheyAreWritten(t *testing.T) {
	ctx, clock := t.Context(), newManualClock()
	gate := make(chan struct{})
	base := mem.New(clock.now)
	r := NewRecords(storagetest.Slow(base, func(ctx context.Context, op storagetest.Op, _ string) error {
		if op == storagetest.Put || op == storagetest.Delete {
			<-gate
		}
		return nil
	}), RecordOptions{Now: clock.now})

	r.write(ctx, putRecord("a/1", "x"))
	r.write(ctx, putRecord("a/2", "old"), putRecord("a/2", "new"))
	r.write(ctx, putRecord("a/3", "y"))
	r.write(ctx, recordWrite{verb: verbRemove, key: "a/3"})
	check := func(key, want string) {
		t.Helper()
		got, err := r.get(ctx, key)
		size, statErr := r.stat(ctx, key)
		if want == "" {
			if !errors.Is(err, storage.ErrNotFound) || !errors.Is(statErr, storage.ErrNotFound) {
				t.Errorf("%s: %q, %v, %v", key, got, err, statErr)
			}
			return
		}
		if string(got) != want || err != nil || size != int64(len(want)) || statErr != nil {
			t.Errorf("%s: %q, %v, %d, %v, want %q", key, got, err, size, statErr, want)
		}
	}
	all := func() {
		t.Helper()
		check("a/1", "x")
		check("a/2", "new")
		check("a/3", "")
	}
	all()
	close(gate)
	r.Close()
	all()
	if len(r.waiting) != 0 {
		t.Errorf("%d records still wait", len(r.waiting))
	}
}

func TestRecordsShowTheNewestWhileAnOlderOneIsWritten(t *testing.T) {
	tokens, written := make(chan struct{}), make(chan struct{})
	r := NewRecords(storagetest.Around(mem.New(time.Now), func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if op != storagetest.Put {
			return do()
		}
		<-tokens
		defer func() { written <- struct{}{} }()
		return do()
	}), RecordOptions{})
	r.write(t.Context(), putRecord("k", "old"))
	r.write(t.Context(), putRecord("other", "x"))
	r.write(t.Context(), putRecord("k", "new"))
	for range 3 {
		tokens <- struct{}{}
		<-written
		if b, err := r.get(t.Context(), "k"); string(b) != "new" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	r.Close()
}

func TestRecordsThatBelongTogether(t *testing.T) {
	for n := int64(1); ; n++ {
		clock := newManualClock()
		base := mem.New(clock.now)
		store := storagetest.NewFailing(base, storagetest.Failure{N: n})
		lost := 0
		r := NewRecords(store, RecordOptions{Now: clock.now, Failed: func() { lost++ }})
		r.write(t.Context(), putRecord("a", "1"), recordWrite{verb: verbCreate, key: "b", record: []byte("2")}, putRecord("c", "3"))
		r.Close()
		var there string
		for _, key := range []string{"a", "b", "c"} {
			if _, err := base.Stat(t.Context(), key); err == nil {
				there += key
			}
		}
		if !strings.HasPrefix("abc", there) {
			t.Errorf("operation %d failed: %q are there", n, there)
		}
		if !store.Failed() {
			if there != "abc" || lost != 0 {
				t.Errorf("nothing failed, but %q are there and %d lost", there, lost)
			}
			return
		}
		if there == "abc" || lost != 1 {
			t.Errorf("operation %d failed: %q are there, %d counted as lost", n, there, lost)
		}
	}
}

func TestRecordsPushBack(t *testing.T) {
	gate := make(chan struct{})
	r := NewRecords(storagetest.Slow(mem.New(time.Now), func(context.Context, storagetest.Op, string) error {
		<-gate
		return nil
	}), RecordOptions{})
	n := recordRoom/recordBlock + 10
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := range n {
			r.write(t.Context(), putRecord(fmt.Sprintf("k/%d", i), "x"))
		}
	})
	for r.room.TryAcquire(recordBlock) { // until the writer has filled it
		r.room.Release(recordBlock)
		runtime.Gosched()
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if r.write(gone, putRecord("late", "x")) {
		t.Error("a write was taken though there is no room")
	}
	r.use("k/1") // never waits
	close(gate)
	writers.Wait()
	r.Close()
	for i := range n {
		if _, err := r.get(t.Context(), fmt.Sprintf("k/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsTouch(t *testing.T) {
	for _, c := range []struct {
		name    string
		age     time.Duration
		renewed bool
	}{
		{"a record used within a day is left alone", usedAgain - time.Second, false},
		{"a record used after a day is written again", usedAgain, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := newManualClock()
			store := mem.New(clock.now)
			r := NewRecords(store, RecordOptions{Now: clock.now})
			r.write(t.Context(), putRecord("k", "x"))
			if err := r.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			written := clock.now()
			clock.advance(c.age)
			r.use("k")
			r.use("missing")
			r.Close()
			info, err := store.Stat(t.Context(), "k")
			if err != nil || info.Modified.Equal(written) == c.renewed {
				t.Errorf("modified %v, %v", info.Modified, err)
			}
			if _, err := store.Stat(t.Context(), "missing"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("a use made a record: %v", err)
			}
		})
	}
}

func TestRecordsComplainOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	clock := newManualClock()
	lost := 0
	store := storagetest.NewFailing(mem.New(clock.now), storagetest.Failure{N: 1, Onward: true})
	r := NewRecords(store, RecordOptions{Now: clock.now, Log: textLog(&log), Failed: func() { lost++ }})
	fail := func() {
		r.write(t.Context(), putRecord("k", "x"))
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fail()
	fail()
	clock.advance(complainEvery)
	fail()
	r.Close()
	if n := strings.Count(log.String(), "\n"); n != 2 || lost != 3 {
		t.Errorf("%d lines and %d counted, want 2 and 3:\n%s", n, lost, log.String())
	}
}

func TestRecordsAfterClose(t *testing.T) {
	r := NewRecords(mem.New(time.Now), RecordOptions{})
	r.Close()
	r.Close()
	r.use("k")
	if r.write(t.Context(), putRecord("k", "x")) {
		t.Error("a record was taken after Close")
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Errorf("everything is written, but: %v", err)
	}
}

// TestFailingStoreGivesNoWrongAnswer fails one operation of the store after the other, alone and with all after it,
// before it takes effect and after, in a life of pulls, moved tags, outages and a restart. Every answer has to be what
// upstream has or had; while upstream answers, every pull succeeds.
func TestFailingStoreGivesNoWrongAnswer(t *testing.T) {
	for name, memory := range memorySizes {
		for _, f := range []storagetest.Failure{{}, {Onward: true}, {Lost: true}} {
			t.Run(fmt.Sprintf("%s: onward %v, lost %v", name, f.Onward, f.Lost), func(t *testing.T) {
				for f.N = 1; lifeWithFailure(t, memory, f); f.N++ {
				}
				if f.N < 30 {
					t.Errorf("only %d operations", f.N)
				}
			})
		}
	}
}

func lifeWithFailure(t *testing.T, memory int64, f storagetest.Failure) (failed bool) {
	t.Helper()
	var store *storagetest.Failing
	o := newOffice(t, memory, func(o *office) {
		store = storagetest.NewFailing(o.store, f)
		o.store = store
	})
	defer o.close()
	up := newFakeManifests(nginx)
	first := up.push("latest", "1")
	o.wantGet(up, "latest", first)
	o.wantGet(up, string(first.Digest), first)
	o.clock.advance(time.Minute)
	o.wantGet(up, "latest", first)
	next := up.push("latest", "2")
	o.clock.advance(time.Minute)
	o.wantHead(up, "latest", next)
	o.wantGet(up, string(next.Digest), next)
	o.wantGet(up, "latest", next)

	o.restart(memory)
	o.wantGet(up, "latest", next)
	up.fail(outage(CauseFailed), outage(CauseFailed))
	o.clock.advance(time.Hour)
	a, err := o.get(up, "latest")
	if err == nil && (a.Warning == "" || a.Manifest.Digest != next.Digest && a.Manifest.Digest != first.Digest) {
		t.Errorf("%+v: stale answer %s, warning %q", f, a.Manifest.Digest, a.Warning)
	}
	if err != nil && !IsOutage(err) {
		t.Errorf("%+v: %v", f, err)
	}
	up.fail(ErrNotFound, ErrNotFound)
	o.clock.advance(time.Hour)
	o.wantGetError(up, "latest", ErrNotFound)
	return store.Failed()
}
