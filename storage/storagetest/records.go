package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/entrepot/entrepot/storage"
)

// incrementers is how many goroutines each add one to the same record.
const incrementers = 100

var recordFacts = []fact{
	{"a record is created, read and replaced", func(s *suite) {
		first := s.create("r/a", "first")
		s.wantRecord("r/a", "first", first)
		second := s.replace("r/a", "second", first)
		s.wantRecord("r/a", "second", second)
		if first == second {
			s.Fatal("two states with one version")
		}
	}},
	{"a record is an object, and an object a record", func(s *suite) {
		s.create("r", "record")
		s.wantContent("r", "record")
		s.put("o", "object")
		s.replace("o", "replaced", s.version("o"))
		s.wantContent("o", "replaced")
	}},
	{"an empty record is not absent", func(s *suite) {
		v := s.create("r", "")
		s.wantRecord("r", "", v)
		s.wantConflict("r", "x", storage.Absent)
	}},
	{"a record is created once, with the same bytes too", func(s *suite) {
		v := s.create("r", "first")
		s.wantConflict("r", "second", storage.Absent)
		s.wantConflict("r", "first", storage.Absent)
		s.wantRecord("r", "first", v)
	}},
	{"an old version loses", func(s *suite) {
		old := s.create("r", "first")
		current := s.replace("r", "second", old)
		s.wantConflict("r", "third", old)
		s.wantRecord("r", "second", current)
	}},
	{"a version loses after a put", func(s *suite) {
		old := s.create("r", "first")
		s.put("r", "second")
		s.wantConflict("r", "third", old)
	}},
	{"a version loses after a delete", func(s *suite) {
		old := s.create("r", "first")
		s.delete("r")
		s.wantConflict("r", "second", old)
		s.wantAbsent("r")
		s.create("r", "third")
	}},
	{"another record's version loses", func(s *suite) {
		other := s.create("r/other", "other")
		v := s.create("r/a", "first")
		s.wantConflict("r/a", "second", other)
		s.wantRecord("r/a", "first", v)
	}},
	{"a record with a nonce never looks like an older state", func(s *suite) {
		first := s.create("r", "content, nonce 1")
		second := s.replace("r", "other, nonce 2", first)
		s.replace("r", "content, nonce 3", second)
		s.wantConflict("r", "x", first)
	}},
	{"without a nonce an older state may return, and nothing else happens", func(s *suite) {
		first := s.create("r", "content")
		again := s.replace("r", "content", s.replace("r", "other", first))
		_, err := s.PutIf(s.Context(), "r", []byte("x"), first)
		if (err == nil) != (first == again) || err != nil && !errors.Is(err, storage.ErrConflict) {
			s.Fatalf("PutIf at a version of equal content: %v; versions %q and %q", err, first, again)
		}
	}},
	{"the record given to the caller and by the caller is nobody else's", func(s *suite) {
		record := []byte("first")
		v, err := s.PutIf(s.Context(), "r", record, storage.Absent)
		if err != nil {
			s.Fatal(err)
		}
		record[0] = 'X'
		got, _, err := s.Get(s.Context(), "r")
		if err != nil {
			s.Fatal(err)
		}
		got[1] = 'X'
		s.wantRecord("r", "first", v)
	}},
	{"of many creators one wins, and its record is kept", func(s *suite) {
		var mu sync.Mutex
		var won []string
		s.together(func(i int) error {
			record := fmt.Sprintf("record %d", i)
			_, err := s.PutIf(s.Context(), "r", []byte(record), storage.Absent)
			if errors.Is(err, storage.ErrConflict) {
				return nil
			}
			mu.Lock()
			won = append(won, record)
			mu.Unlock()
			return err
		})
		if len(won) != 1 {
			s.Fatalf("%d winners", len(won))
		}
		s.wantContent("r", won[0])
	}},
	{"of many who add one, nobody's is lost", func(s *suite) {
		s.create("r", "0")
		s.together(func(int) error { return increment(s.Context(), s, "r") })
		s.wantContent("r", strconv.Itoa(incrementers))
	}},
	{"neighbours are written and deleted at once", func(s *suite) {
		s.together(func(i int) error {
			key := fmt.Sprintf("r/%d/a", i%7)
			if err := errors.Join(s.Delete(s.Context(), key), s.Delete(s.Context(), key)); err != nil {
				return err
			}
			_, err := s.PutIf(s.Context(), fmt.Sprintf("r/%d/b%d", i%7, i), []byte("x"), storage.Absent)
			if err != nil {
				return err
			}
			return s.Delete(s.Context(), fmt.Sprintf("r/%d/b%d", i%7, i))
		})
		s.wantKeys("", "")
	}},
}

// together runs f in many goroutines and waits for all.
func (s *suite) together(f func(i int) error) {
	s.Helper()
	var all sync.WaitGroup
	for i := range incrementers {
		all.Go(func() {
			if err := f(i); err != nil {
				s.Errorf("goroutine %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if s.Failed() {
		s.FailNow()
	}
}

// increment adds one to the number in a record, again and again until nobody else came between.
func increment(ctx context.Context, s storage.Store, key string) error {
	for {
		record, v, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(record))
		if err != nil {
			return err
		}
		_, err = s.PutIf(ctx, key, []byte(strconv.Itoa(n+1)), v)
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
}
