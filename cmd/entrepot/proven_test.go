package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

var quiescent = slog.New(slog.DiscardHandler)

// switched is a store that answers while it is on, and fails with what while it is not.
type switched struct {
	storage.Store
	what    error
	mu      sync.Mutex
	answers bool
	asked   int
}

func newSwitched(s storage.Store) *switched {
	w := &switched{answers: true, what: storage.ErrUnavailable}
	w.Store = storagetest.Slow(s, func(context.Context, storagetest.Op, string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked++
		if !w.answers {
			return w.what
		}
		return nil
	})
	return w
}

func (s *switched) turn(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = on
}

func (s *switched) asks(do func()) int {
	s.mu.Lock()
	before := s.asked
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked - before
}

// writes are all that change something.
func writes(t *testing.T, s storage.Store) map[string]error {
	_, putIf := s.PutIf(t.Context(), "records/"+time.Now().Format(time.RFC3339Nano), []byte("x"), storage.Absent)
	return map[string]error{
		"PutIf":  putIf,
		"Put":    s.Put(t.Context(), "content", strings.NewReader("x"), 1),
		"Delete": s.Delete(t.Context(), "nothing"),
	}
}

func TestNothingIsWrittenBeforeTheStoreIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newSwitched(mem.New(time.Now))
		below.turn(false)
		p := newProven(below, quiescent)
		for what, err := range writes(t, p) {
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s to a store that does not answer: %v", what, err)
			}
		}
		if n := below.asks(func() { writes(t, p) }); n > 0 {
			t.Errorf("it was asked %d times, though it has not answered a moment ago", n)
		}
		below.turn(true)
		time.Sleep(proofPause)
		for what, err := range writes(t, p) {
			if err != nil {
				t.Errorf("%s after it came back: %v", what, err)
			}
		}
		time.Sleep(time.Hour)
		if n := below.asks(func() { writes(t, p) }); n != 3 {
			t.Errorf("three writes are %d operations", n)
		}
	})
}

func TestAStoreWithoutConditionsIsNeverWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := mem.New(time.Now)
		p := newProven(unconditional{below}, quiescent)
		for range 10 {
			for what, err := range writes(t, p) {
				if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, storage.ErrUnconditional) {
					t.Errorf("%s: %v", what, err)
				}
			}
			time.Sleep(proofPause)
		}
		for info := range below.List(t.Context(), "", "") {
			t.Errorf("%s was left there", info.Key)
		}
	})
}

func TestReadsNeedNoProof(t *testing.T) {
	below := mem.New(time.Now)
	if err := below.Put(t.Context(), "content", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	p := newProven(unconditional{below}, quiescent)
	if record, _, err := p.Get(t.Context(), "content"); err != nil || string(record) != "x" {
		t.Errorf("%q %v", record, err)
	}
}

func TestOneProofIsForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		p := newProven(storagetest.Slow(mem.New(time.Now), func(_ context.Context, op storagetest.Op, _ string) error {
			if op == storagetest.List {
				lists++ // which is how a probe begins
			}
			time.Sleep(time.Second)
			return nil
		}), quiescent)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := p.prove(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.prove(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who does not wait: %v", err)
		}
		all.Wait()
		if lists != 1 {
			t.Errorf("%d probes", lists)
		}
	})
}

func TestProbesOfOthersAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := mem.New(time.Now)
		if err := below.Put(t.Context(), "hosted/probe/dead", strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(probeLife + time.Second)
		if err := below.Put(t.Context(), "hosted/probe/alive", strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
		if err := newProven(below, quiescent).prove(t.Context()); err != nil {
			t.Fatal(err)
		}
		var left []string
		for info := range below.List(t.Context(), "", "") {
			left = append(left, info.Key)
		}
		if len(left) != 1 || left[0] != "hosted/probe/alive" {
			t.Errorf("left: %v", left)
		}
	})
}

func TestAStoreThatIsGoneIsNotWaitedForAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newSwitched(mem.New(time.Now))
		b := newBreaker(below)
		get := func() error { _, _, err := b.Get(t.Context(), "nothing"); return err }
		below.turn(false)
		for i := range failures {
			if err := get(); !errors.Is(err, storage.ErrUnavailable) {
				t.Fatalf("get %d: %v", i, err)
			}
		}
		asked := below.asks(func() {
			for what, err := range writes(t, b) {
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, err := range b.List(t.Context(), "", "") {
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("list: %v", err)
				}
			}
			if _, err := b.Stat(t.Context(), "nothing"); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("stat: %v", err)
			}
			if _, _, err := b.Open(t.Context(), "nothing", 0, -1); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("open: %v", err)
			}
		})
		if asked > 0 {
			t.Errorf("a store that is gone was asked %d times", asked)
		}
		below.turn(true)
		time.Sleep(goneFor + time.Millisecond)
		for range 3 {
			if err := get(); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("after it came back: %v", err)
			}
		}
	})
}

func TestSilenceIsWaitedForOnce(t *testing.T) {
	below := newSwitched(mem.New(time.Now))
	below.what = fmt.Errorf("%w: %w", storage.ErrUnavailable, os.ErrDeadlineExceeded)
	below.turn(false)
	b := newBreaker(below)
	if _, _, err := b.Get(t.Context(), "nothing"); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatal(err)
	}
	if n := below.asks(func() { _, _, _ = b.Get(t.Context(), "nothing") }); n > 0 {
		t.Error("it was asked again")
	}
}

func TestWhoeverLeavesSaysNothingAboutTheStore(t *testing.T) {
	left, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBreaker(mem.New(time.Now))
	for range 2 * failures {
		if _, _, err := b.Get(left, "nothing"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if b.isGone() {
		t.Error("the store counts as gone")
	}
	below := newSwitched(mem.New(time.Now))
	below.turn(false)
	b = newBreaker(below)
	for i := range failures {
		_, _, _ = b.Get(t.Context(), "nothing")
		if gone := b.isGone(); gone != (i == failures-1) {
			t.Errorf("after %d failures, and as many who left: gone is %v", i+1, gone)
		}
		below.what, below.answers = context.Canceled, false
		_, _, _ = b.Get(left, "nothing")
		below.what = storage.ErrUnavailable
	}
}

// A breaker that waits for a large upload before it lets others try would keep them out for as long.
func TestALongUploadIsNoTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newSwitched(mem.New(time.Now))
		b := newBreaker(below)
		below.turn(false)
		for range failures {
			_, _, _ = b.Get(t.Context(), "nothing")
		}
		below.turn(true)
		time.Sleep(goneFor + time.Millisecond)
		body, client := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- b.Put(t.Context(), "content", body, 1) }()
		synctest.Wait()
		if _, _, err := b.Get(t.Context(), "nothing"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("beside an upload: %v", err)
		}
		_, _ = client.Write([]byte("x"))
		client.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
