package storagetest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

func TestWrappersConform(t *testing.T) {
	for name, wrap := range map[string]func(storage.Store) storage.Store{
		"Counting":                func(s storage.Store) storage.Store { return storagetest.NewCounting(s) },
		"Failing that never does": func(s storage.Store) storage.Store { return storagetest.NewFailing(s, storagetest.Failure{}) },
		"Slow that never is": func(s storage.Store) storage.Store {
			return storagetest.Slow(s, func(context.Context, storagetest.Op, string) error { return nil })
		},
		"Client of a Bucket": func(s storage.Store) storage.Store {
			at := func(_ context.Context, _ storagetest.Op, _ string, do func() error) error { return do() }
			return storagetest.Client(storagetest.Bucket(s, time.Second, 2), at, func() storagetest.Fate { return storagetest.Answered }, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Conformance(t, func(*testing.T) storage.Store { return wrap(mem.New(time.Now)) })
		})
	}
}

// client is that of a bucket that does what the fates say with the first requests of writes. What is late lands after the
// next request, and then again gets the store behind.
func client(s storage.Store, again func(storage.Store), fates ...storagetest.Fate) storage.Store {
	var late []func()
	hook := func(_ context.Context, _ storagetest.Op, _ string, do func() error) error {
		err := do()
		for _, land := range late {
			land()
		}
		if late = nil; again != nil {
			again(s)
		}
		return err
	}
	fate := func() (next storagetest.Fate) {
		if len(fates) > 0 {
			next, fates = fates[0], fates[1:]
		}
		return next
	}
	return storagetest.Client(storagetest.Bucket(s, time.Second, 2), hook, fate, func(_ storagetest.Op, _ string, land func()) { late = append(late, land) })
}

func TestAWriteThatIsSentAgainHappensOnce(t *testing.T) {
	for name, fates := range map[string][]storagetest.Fate{
		"answered":         {storagetest.Answered},
		"lost":             {storagetest.Lost},
		"lost twice":       {storagetest.Lost, storagetest.Lost},
		"late":             {storagetest.Late},
		"lost, then late":  {storagetest.Lost, storagetest.Late},
		"late, then again": {storagetest.Late, storagetest.Lost},
	} {
		behind := mem.New(time.Now)
		v, err := client(behind, nil, fates...).PutIf(t.Context(), "r", []byte("mine"), storage.Absent)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := behind.PutIf(t.Context(), "r", []byte("next"), v); err != nil {
			t.Errorf("%s: the version is not that of the record: %v", name, err)
		}
		if _, err := client(behind, nil, fates...).PutIf(t.Context(), "r", []byte("another"), v); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: a write over a record that was changed: %v", name, err)
		}
		if record, _, err := behind.Get(t.Context(), "r"); string(record) != "next" {
			t.Errorf("%s: the record is %q, %v", name, record, err)
		}
	}
}

func TestAWriteThatWasReplacedBeforeItIsReadBackHasLost(t *testing.T) {
	replace := func(s storage.Store) {
		if record, v, err := s.Get(t.Context(), "r"); err == nil && string(record) == "mine" {
			if _, err := s.PutIf(t.Context(), "r", []byte("theirs"), v); err != nil {
				t.Error(err)
			}
		}
	}
	_, err := client(mem.New(time.Now), replace, storagetest.Lost).PutIf(t.Context(), "r", []byte("mine"), storage.Absent)
	if !errors.Is(err, storage.ErrConflict) {
		t.Error(err)
	}
}

func TestABucketTellsLessThanAStore(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 999, time.UTC)
	behind := mem.New(func() time.Time { return now })
	s := storagetest.Bucket(behind, time.Second, 2)
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := s.Put(t.Context(), key, strings.NewReader("old"), 3); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := s.Stat(t.Context(), "a"); err != nil || !info.Modified.Equal(now.Truncate(time.Second)) {
		t.Errorf("%v, %v", info, err)
	}
	sizes := map[string]int64{}
	for info := range s.List(t.Context(), "", "") {
		for _, key := range []string{"b", "d"} { // b was listed by then, and d was not
			if err := behind.Put(t.Context(), key, strings.NewReader("newer"), 5); err != nil {
				t.Fatal(err)
			}
		}
		sizes[info.Key] = info.Size
	}
	if sizes["b"] != 3 || sizes["d"] != 5 || len(sizes) != 4 {
		t.Errorf("listed %v", sizes)
	}
	if err := storage.DeleteIf(t.Context(), s, "a", "x"); !errors.Is(err, storage.ErrUnable) {
		t.Errorf("DeleteIf: %v", err)
	}
}

// steps does one operation of each kind, in the order of ops, and gives the first error.
func steps(ctx context.Context, s storage.Store) error {
	if err := s.Put(ctx, "a", strings.NewReader("x"), 1); err != nil {
		return err
	}
	if _, err := s.Stat(ctx, "a"); err != nil {
		return err
	}
	r, _, err := s.Open(ctx, "a", 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		return err
	}
	_, v, err := s.Get(ctx, "a")
	if err != nil {
		return err
	}
	v, err = s.PutIf(ctx, "a", []byte("y"), v)
	if err != nil {
		return err
	}
	for _, err := range s.List(ctx, "", "") {
		if err != nil {
			return err
		}
	}
	if err := storage.DeleteIf(ctx, s, "a", v); err != nil {
		return err
	}
	if err := storage.Link(ctx, s, "a", "path"); err != nil {
		return err
	}
	if _, err := storage.Presign(ctx, s, "a", time.Minute); err != nil {
		return err
	}
	return s.Delete(ctx, "a")
}

// newStore is able to do everything.
func newStore() storage.Store { return &able{mem.New(time.Now)} }

// able stores the path itself for a file, and gives URLs that lead nowhere.
type able struct{ *mem.Store }

func (a *able) Link(ctx context.Context, key, path string) error {
	return a.Put(ctx, key, strings.NewReader(path), -1)
}

func (*able) Presign(_ context.Context, key string, _ time.Duration) (string, error) {
	return "http://nowhere.example/" + key, nil
}

var ops = []storagetest.Op{
	storagetest.Put, storagetest.Stat, storagetest.Open, storagetest.Read, storagetest.Get, storagetest.PutIf,
	storagetest.List, storagetest.Next, storagetest.DeleteIf, storagetest.Link, storagetest.Presign, storagetest.Delete,
}

func TestFailingFailsEachOperationInTurn(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for n := range int64(len(ops)) {
			s := storagetest.NewFailing(newStore(), storagetest.Failure{N: n + 1, Lost: lost})
			if err := steps(t.Context(), s); !errors.Is(err, storagetest.ErrInjected) || !s.Failed() {
				t.Errorf("lost %t, operation %d (%s): %v, failed %t", lost, n+1, ops[n], err, s.Failed())
			}
		}
		s := storagetest.NewFailing(newStore(), storagetest.Failure{N: int64(len(ops)) + 1, Lost: lost})
		if err := steps(t.Context(), s); err != nil || s.Failed() {
			t.Errorf("lost %t, an operation that is not reached: %v, failed %t", lost, err, s.Failed())
		}
	}
}

func TestFailingOnceOnwardAndWithALostAnswer(t *testing.T) {
	for _, c := range []struct {
		name                string
		failure             storagetest.Failure
		stored, secondFails bool
	}{
		{"once", storagetest.Failure{N: 1}, false, false},
		{"onward", storagetest.Failure{N: 1, Onward: true}, false, true},
		{"lost", storagetest.Failure{N: 1, Lost: true}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			below := mem.New(time.Now)
			s := storagetest.NewFailing(below, c.failure)
			if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1); !errors.Is(err, storagetest.ErrInjected) {
				t.Fatalf("Put = %v", err)
			}
			if _, err := below.Stat(t.Context(), "a"); (err == nil) != c.stored {
				t.Errorf("stored: %v, want %t", err, c.stored)
			}
			if err := s.Delete(t.Context(), "b"); (err != nil) != c.secondFails {
				t.Errorf("the second operation: %v, fails %t", err, c.secondFails)
			}
		})
	}
}

func TestCountingCountsEachKind(t *testing.T) {
	s := storagetest.NewCounting(newStore())
	if err := steps(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if got := s.Count(op); got != 1 {
			t.Errorf("%s: counted %d, want 1", op, got)
		}
	}
}

func TestSlowWaitsUntilItIsLet(t *testing.T) {
	asked, gate := make(chan storagetest.Op), make(chan struct{})
	below := mem.New(time.Now)
	s := storagetest.Slow(below, func(ctx context.Context, op storagetest.Op, _ string) error {
		asked <- op
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	done := make(chan error)
	go func() { done <- s.Put(t.Context(), "a", strings.NewReader("x"), 1) }() // ends when the gate opens
	if op := <-asked; op != storagetest.Put {
		t.Errorf("waits before %s", op)
	}
	if _, err := below.Stat(t.Context(), "a"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("stored before it was let: %v", err)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := below.Stat(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}
