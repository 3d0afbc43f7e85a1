package storagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/entrepot/entrepot/storage"
)

// conditionalDeleteFacts are skipped for a store that is unable: its own test says whether it should be.
var conditionalDeleteFacts = able(canDeleteIf, []fact{
	{"a record at the version named is removed", func(s *suite) {
		s.create("r/b", "kept")
		v := s.create("r/a", "first")
		s.deleteIf("r/a", v, nil)
		s.wantAbsent("r/a")
		s.wantKeys("", "", "r/b")
		s.create("r/a", "again")
	}},
	{"a record at another version stays", func(s *suite) {
		old := s.create("r", "first")
		current := s.replace("r", "second", old)
		for _, was := range []storage.Version{old, storage.Absent, "x"} {
			s.deleteIf("r", was, storage.ErrConflict)
		}
		s.wantRecord("r", "second", current)
		s.deleteIf("r", current, nil)
	}},
	{"what is absent is at no version", func(s *suite) {
		v := s.create("r", "first")
		s.deleteIf("r", v, nil)
		s.deleteIf("r", v, storage.ErrConflict)
		s.deleteIf("none", storage.Absent, storage.ErrConflict)
		s.wantKeys("", "")
	}},
	{"of many who delete or replace one version, one wins", func(s *suite) {
		v := s.create("r", "first")
		var won atomic.Int64
		s.together(func(i int) error {
			var err error
			if i%2 == 0 {
				err = storage.DeleteIf(s.Context(), s.Store, "r", v)
			} else {
				_, err = s.PutIf(s.Context(), "r", fmt.Appendf(nil, "record %d", i), v)
			}
			if errors.Is(err, storage.ErrConflict) {
				return nil
			}
			won.Add(1)
			return err
		})
		if won.Load() != 1 {
			s.Fatalf("%d winners", won.Load())
		}
	}},
	{"no bad key and no ended context deletes a record", func(s *suite) {
		v := s.create("a", "first")
		ended, cancel := context.WithCancel(s.Context())
		cancel()
		if err := storage.DeleteIf(ended, s.Store, "a", v); !errors.Is(err, context.Canceled) {
			s.Errorf("DeleteIf = %v, want context.Canceled", err)
		}
		for _, key := range []string{"", "../a", "a/", "/a"} {
			s.deleteIf(key, v, storage.ErrInvalidKey)
		}
		s.wantRecord("a", "first", v)
	}},
})

// linkFacts are skipped as conditionalDeleteFacts are.
var linkFacts = able(canLink, []fact{
	{"a file becomes an object, and stays one when its path is gone", func(s *suite) {
		path := s.file("content")
		s.link("a/b", path, nil)
		s.wantContent("a/b", "content")
		s.wantKeys("", "", "a/b")
		if err := os.Remove(path); err != nil {
			s.Fatal(err)
		}
		s.wantContent("a/b", "content")
	}},
	{"a link replaces, and is replaced without harm to the file", func(s *suite) {
		path := s.file("file")
		s.put("a", "a longer one")
		s.link("a", path, nil)
		s.wantContent("a", "file")
		s.put("a", "other")
		s.wantContent("a", "other")
		s.wantFile(path, "file")
	}},
	{"a deleted link leaves the file", func(s *suite) {
		path := s.file("file")
		s.link("a", path, nil)
		s.delete("a")
		s.wantAbsent("a")
		s.wantFile(path, "file")
	}},
	{"a file is linked again and under other keys", func(s *suite) {
		path := s.file("file")
		for _, key := range []string{"a", "a", "b/c", "a"} {
			s.link(key, path, nil)
		}
		s.delete("a")
		s.wantContent("b/c", "file")
		s.wantKeys("", "", "b/c")
	}},
	{"what is not there or no file is not linked", func(s *suite) {
		s.put("a", "before")
		s.link("a", filepath.Join(s.TempDir(), "none"), os.ErrNotExist)
		s.link("a", s.TempDir(), storage.ErrUnable)
		symbolic := filepath.Join(s.TempDir(), "symbolic")
		if err := os.Symlink(s.file("other"), symbolic); err != nil {
			s.Fatal(err)
		}
		s.link("a", symbolic, storage.ErrUnable)
		s.wantContent("a", "before")
		s.wantKeys("", "", "a")
	}},
	{"no bad key and no ended context links a file", func(s *suite) {
		path := s.file("file")
		ended, cancel := context.WithCancel(s.Context())
		cancel()
		if err := storage.Link(ended, s.Store, "a", path); !errors.Is(err, context.Canceled) {
			s.Errorf("Link = %v, want context.Canceled", err)
		}
		for _, key := range []string{"", "../a", "a/", "/a"} {
			s.link(key, path, storage.ErrInvalidKey)
		}
		s.wantKeys("", "")
	}},
})

func canDeleteIf(s *suite) error {
	return storage.DeleteIf(s.Context(), s.Store, "none", storage.Absent)
}
func canLink(s *suite) error {
	return storage.Link(s.Context(), s.Store, "none", filepath.Join(s.TempDir(), "none"))
}

// able is facts for stores to which try does not give ErrUnable.
func able(try func(s *suite) error, facts []fact) []fact {
	some := make([]fact, len(facts))
	for i, f := range facts {
		some[i] = fact{f.name, func(s *suite) {
			if err := try(s); errors.Is(err, storage.ErrUnable) {
				s.Skip(err)
			}
			f.check(s)
		}}
	}
	return some
}

func (s *suite) deleteIf(key string, was storage.Version, want error) {
	s.Helper()
	if err := storage.DeleteIf(s.Context(), s.Store, key, was); !errors.Is(err, want) {
		s.Fatalf("DeleteIf(%q, was %q) = %v, want %v", key, was, err, want)
	}
}

func (s *suite) link(key, path string, want error) {
	s.Helper()
	if err := storage.Link(s.Context(), s.Store, key, path); !errors.Is(err, want) {
		s.Fatalf("Link(%q, %s) = %v, want %v", key, path, err, want)
	}
}

// file gives the path of a file outside the store.
func (s *suite) file(content string) (path string) {
	s.Helper()
	path = filepath.Join(s.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

func (s *suite) wantFile(path, want string) {
	s.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		s.Fatalf("the file has %q, %v; want %q", got, err, want)
	}
}
