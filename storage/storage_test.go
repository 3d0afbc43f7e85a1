package storage_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

func keys(t *testing.T, s storage.Store) string {
	t.Helper()
	var all []string
	for info, err := range s.List(context.WithoutCancel(t.Context()), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return strings.Join(all, " ")
}

func TestUnderIsAViewOfItsPrefixOnly(t *testing.T) {
	whole := mem.New(time.Now)
	for _, key := range []string{"cache-2/a", "cache/a", "cache/b/c", "cachex", "hosted/a"} {
		if err := whole.Put(t.Context(), key, strings.NewReader(key), -1); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []string{"cache", "cache/"} {
		if got := keys(t, storage.Under(whole, prefix)); got != "a b/c" {
			t.Errorf("under %q: %q", prefix, got)
		}
	}
	if got := keys(t, storage.Under(storage.Under(whole, "cache"), "b")); got != "c" {
		t.Errorf("under b under cache: %q", got)
	}
	view := storage.Under(whole, "cache")
	if err := view.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, whole); got != "cache-2/a cache/b/c cachex hosted/a" {
		t.Errorf("after deleting a under cache: %q", got)
	}
}

func TestUnderLetsNoBadKeyThrough(t *testing.T) {
	below := storagetest.NewCounting(mem.New(time.Now))
	view := storage.Under(below, "cache")
	for _, key := range []string{"../hosted/a", "/hosted/a", "", "a/../../hosted"} {
		if err := view.Delete(t.Context(), key); !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("Delete(%q) = %v", key, err)
		}
		if _, err := view.PutIf(t.Context(), key, nil, storage.Absent); !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("PutIf(%q) = %v", key, err)
		}
	}
	for _, err := range view.List(t.Context(), "../hosted/", "") {
		if !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("List = %v", err)
		}
	}
	if n := below.Count(storagetest.Delete) + below.Count(storagetest.PutIf) + below.Count(storagetest.List); n != 0 {
		t.Errorf("%d operations reached the store below", n)
	}
}

func TestAStoreWithoutAnAbilitySaysSo(t *testing.T) {
	below := storagetest.NewCounting(mem.New(time.Now))
	plain := struct{ storage.Store }{below}
	for name, s := range map[string]storage.Store{"store": plain, "view": storage.Under(plain, "cache")} {
		if err := storage.DeleteIf(t.Context(), s, "a", "x"); !errors.Is(err, storage.ErrUnable) {
			t.Errorf("%s: DeleteIf = %v, want ErrUnable", name, err)
		}
		if err := storage.Link(t.Context(), s, "a", "path"); !errors.Is(err, storage.ErrUnable) {
			t.Errorf("%s: Link = %v, want ErrUnable", name, err)
		}
	}
	if n := below.Count(storagetest.DeleteIf) + below.Count(storagetest.Link) + below.Count(storagetest.Delete); n != 0 {
		t.Errorf("%d operations reached the store", n)
	}
}

// careless is a store with a fault in its conditional writes.
type careless struct {
	storage.Store
	putIf func(s storage.Store, key string, record []byte, was storage.Version) (storage.Version, error)
}

func (c *careless) PutIf(_ context.Context, key string, record []byte, was storage.Version) (storage.Version, error) {
	return c.putIf(c.Store, key, record, was)
}

func TestProbeFindsStoresThatIgnoreConditions(t *testing.T) {
	overwrite := func(s storage.Store, key string, record []byte) (storage.Version, error) {
		err := s.Put(t.Context(), key, strings.NewReader(string(record)), -1)
		return storage.ContentVersion(record), err
	}
	for name, putIf := range map[string]func(s storage.Store, key string, record []byte, was storage.Version) (storage.Version, error){
		"every condition": func(s storage.Store, key string, record []byte, _ storage.Version) (storage.Version, error) {
			return overwrite(s, key, record)
		},
		"that the record must be absent": func(s storage.Store, key string, record []byte, was storage.Version) (storage.Version, error) {
			if was == storage.Absent {
				return overwrite(s, key, record)
			}
			return s.PutIf(t.Context(), key, record, was)
		},
		"the version named": func(s storage.Store, key string, record []byte, was storage.Version) (storage.Version, error) {
			if was != storage.Absent {
				return overwrite(s, key, record)
			}
			return s.PutIf(t.Context(), key, record, was)
		},
		"whom it tells that he won": func(s storage.Store, key string, record []byte, was storage.Version) (storage.Version, error) {
			if v, err := s.PutIf(t.Context(), key, record, was); !errors.Is(err, storage.ErrConflict) {
				return v, err
			}
			return storage.ContentVersion(record), nil
		},
		"what it stores": func(s storage.Store, key string, record []byte, was storage.Version) (storage.Version, error) {
			if _, err := s.PutIf(t.Context(), key, append(record, '!'), was); err != nil {
				return storage.Absent, err
			}
			return storage.ContentVersion(record), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &careless{mem.New(time.Now), putIf}
			if err := storage.Probe(t.Context(), s); !errors.Is(err, storage.ErrUnconditional) {
				t.Errorf("Probe = %v, want ErrUnconditional", err)
			}
			if left := keys(t, s); left != "" {
				t.Errorf("Probe left %q", left)
			}
		})
	}
}

func TestProbeOfAGoodStore(t *testing.T) {
	s := mem.New(time.Now)
	if err := storage.Probe(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if left := keys(t, s); left != "" {
		t.Errorf("Probe left %q", left)
	}
}

func TestProbeCleansUpAndBlamesNoStoreThatFails(t *testing.T) {
	for n := int64(1); ; n++ {
		below := mem.New(time.Now)
		s := storagetest.NewFailing(below, storagetest.Failure{N: n})
		err := storage.Probe(t.Context(), s)
		if !s.Failed() {
			break
		}
		left := keys(t, below)
		switch {
		case err == nil && left == "":
			t.Errorf("operation %d fails, and nobody hears of it", n) // only the Delete at the end may be that quiet
		case err != nil && (!errors.Is(err, storagetest.ErrInjected) || left != ""):
			t.Errorf("operation %d fails: Probe = %v, left %q", n, err, left)
		}
	}
}

func TestProbeCleansUpAfterItsContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	below := mem.New(time.Now)
	s := storagetest.Slow(below, func(ctx context.Context, op storagetest.Op, _ string) error {
		if op == storagetest.Get {
			cancel()
		}
		return nil
	})
	if err := storage.Probe(ctx, s); !errors.Is(err, context.Canceled) {
		t.Fatalf("Probe = %v", err)
	}
	if left := keys(t, below); left != "" {
		t.Errorf("Probe left %q", left)
	}
}

func TestBodyOfTheSizeAnnouncedIsGivenWhole(t *testing.T) {
	for _, r := range []io.Reader{strings.NewReader("content"), iotest.DataErrReader(strings.NewReader("content"))} {
		got, err := io.ReadAll(storage.Body(t.Context(), r, 7))
		if err != nil || string(got) != "content" {
			t.Errorf("read %q, %v", got, err)
		}
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, seed := range []string{"a/b", "../a", "a//b", "a\x00", strings.Repeat("x", 256), "", ".", "...", "a/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if storage.CheckKey(key) != nil {
			return
		}
		if len(key) > storage.MaxKey || strings.ContainsRune(key, 0) {
			t.Fatalf("%q is let through", key)
		}
		for element := range strings.SplitSeq("/"+key+"/", "/") {
			if element == "." || element == ".." || len(element) > storage.MaxElement {
				t.Fatalf("%q is let through", key)
			}
		}
		if strings.Contains("/"+key+"/", "//") {
			t.Fatalf("%q is let through", key)
		}
		for i := range key { // every beginning of a key is a prefix that a key can have
			if err := storage.CheckPrefix(key[:i]); err != nil {
				t.Fatalf("CheckPrefix(%q) = %v", key[:i], err)
			}
		}
	})
}
