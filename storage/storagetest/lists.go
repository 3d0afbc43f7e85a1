package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/storage"
)

var listFacts = []fact{
	{"an empty store lists nothing", func(s *suite) {
		s.wantKeys("", "")
		s.wantKeys("a", "")
		s.wantKeys("a/b/", "a/b/c")
	}},
	{"the order is that of the whole key", func(s *suite) {
		for _, key := range []string{"a/x", "a0", "a.b", "a/x-/y", "b", "a-b/c", "a/x!/y", "A", "é", "a-b.c", "a!b"} {
			s.put(key, "")
		}
		s.wantKeys("", "", "A", "a!b", "a-b.c", "a-b/c", "a.b", "a/x", "a/x!/y", "a/x-/y", "a0", "b", "é")
	}},
	{"what is listed is what Stat says", func(s *suite) {
		s.put("a/b", "content")
		for info, err := range s.List(s.Context(), "a/", "") {
			if err != nil {
				s.Fatal(err)
			}
			if want, err := s.Stat(s.Context(), "a/b"); err != nil || info != want {
				s.Fatalf("listed %+v, Stat %+v, %v", info, want, err)
			}
		}
	}},
	{"a prefix need not be a folder", func(s *suite) {
		for _, key := range []string{"ab", "abc/d", "abd", "ac", "b/ab"} {
			s.put(key, "")
		}
		s.wantKeys("ab", "", "ab", "abc/d", "abd")
		s.wantKeys("abc", "", "abc/d")
		s.wantKeys("abc/", "", "abc/d")
		s.wantKeys("abc/d", "", "abc/d")
		s.wantKeys("abc/d/", "")
		s.wantKeys("ab/", "")
		s.wantKeys("c", "")
	}},
	{"a listing resumes after any key, be it there or not", func(s *suite) {
		all := []string{"a-b", "a.b", "a/x", "a/y/z", "a0", "b/c"}
		for _, key := range all {
			s.put(key, "")
		}
		for _, prefix := range []string{"", "a", "a/", "a/y", "b/"} {
			for _, after := range append([]string{"", "a", "a/", "a/w", "a/y", "a/y/", "a/y/zz", "a/z", "b", "b/", "c", "../x"}, all...) {
				s.wantKeys(prefix, after, selected(all, prefix, after)...)
			}
		}
	}},
	{"many objects in many folders, each once", func(s *suite) {
		var all []string
		for i := range 300 {
			all = append(all, fmt.Sprintf("many/%d/%d", i%9, i), fmt.Sprintf("many/%d", i+10))
		}
		for _, key := range all {
			s.put(key, "")
		}
		slices.Sort(all)
		s.wantKeys("", "", all...)
		s.wantKeys("many/", all[311], all[312:]...)
	}},
	{"a listing ends when its caller has enough", func(s *suite) {
		for _, key := range []string{"a/1", "a/2", "b"} {
			s.put(key, "")
		}
		seen := 0
		for range s.List(s.Context(), "", "") {
			seen++
			break
		}
		if seen != 1 {
			s.Fatalf("saw %d objects", seen)
		}
	}},
	{"objects may be deleted and put while they are listed", func(s *suite) {
		for i := range 20 {
			s.put(fmt.Sprintf("a/%02d", i), "")
		}
		seen := 0
		for info, err := range s.List(s.Context(), "", "") {
			if err != nil {
				s.Fatal(err)
			}
			seen++
			s.delete(info.Key)
			s.put("Z", "before all that is listed")
		}
		if seen != 20 {
			s.Fatalf("saw %d objects of 20", seen)
		}
		s.wantKeys("", "", "Z")
	}},
	{"a prefix that no key can have is an error", func(s *suite) {
		s.put("a/b", "")
		for _, prefix := range []string{"/", "../", "a/../b", "a//", "./a", "a\x00", strings.Repeat("x", storage.MaxElement+1)} {
			s.wantListError(s.Context(), prefix, storage.ErrInvalidKey)
		}
	}},
}

func selected(keys []string, prefix, after string) (some []string) {
	for _, key := range keys {
		if strings.HasPrefix(key, prefix) && key > after {
			some = append(some, key)
		}
	}
	return some
}

func (s *suite) wantListError(ctx context.Context, prefix string, want error) {
	s.Helper()
	var got []error
	for info, err := range s.List(ctx, prefix, "") {
		if err == nil {
			s.Errorf("List(%q) gives %q", prefix, info.Key)
		}
		got = append(got, err)
	}
	if len(got) != 1 || !errors.Is(got[0], want) {
		s.Errorf("List(%q) gives errors %v, want one: %v", prefix, got, want)
	}
}

var (
	longest = strings.Repeat("x", storage.MaxElement)
	deepest = strings.Repeat("d/", 300) + "x"
)

var keyFacts = []fact{
	{"keys that look odd are keys", func(s *suite) {
		for _, key := range []string{
			"library!nginx/latest", longest, "a/" + longest + "/b", deepest, "...", ".a", "a..b", " ", "a b", `a\b`, "a%2fb",
			"sha256-00ff", "-", "~", "é/ü", "a:b", "_manifest",
		} {
			v := s.create(key, "record")
			s.wantRecord(key, "record", v)
			s.wantKeys(key, "", key)
			s.delete(key)
			s.wantAbsent(key)
		}
	}},
	{"what is no key is refused by every operation", func(s *suite) {
		for _, key := range []string{
			"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "a\x00b", longest + "x", "a/" + longest + "x",
			strings.Repeat("d/", storage.MaxKey/2) + "x",
		} {
			for _, ops := range []map[Op]error{s.reads(s.Context(), key), s.writes(s.Context(), key)} {
				for op, err := range ops {
					if !errors.Is(err, storage.ErrInvalidKey) {
						s.Errorf("%s %.40q: %v, want ErrInvalidKey", op, key, err)
					}
				}
			}
		}
		s.wantKeys("", "")
	}},
}

var contextFacts = []fact{
	{"nothing happens once the context has ended", func(s *suite) {
		s.put("a", "before")
		ended, cancel := context.WithCancel(s.Context())
		cancel()
		for _, ops := range []map[Op]error{s.reads(ended, "a"), s.writes(ended, "a"), s.writes(ended, "b")} {
			for op, err := range ops {
				if !errors.Is(err, context.Canceled) {
					s.Errorf("%s: %v, want context.Canceled", op, err)
				}
			}
		}
		s.wantListError(ended, "", context.Canceled)
		s.wantListError(ended, "none/", context.Canceled)
		s.wantContent("a", "before")
		s.wantKeys("", "", "a")
	}},
	{"a put whose context ends in the middle stores nothing", func(s *suite) {
		ctx, cancel := context.WithCancel(s.Context())
		err := s.Put(ctx, "a", readFunc(func(p []byte) (int, error) {
			cancel()
			return copy(p, "more and more"), nil
		}), -1)
		if !errors.Is(err, context.Canceled) {
			s.Fatalf("Put = %v, want context.Canceled", err)
		}
		s.wantAbsent("a")
	}},
	{"a listing whose context ends in the middle says so", func(s *suite) {
		s.put("a/1", "")
		s.put("b/1", "")
		ctx, cancel := context.WithCancel(s.Context())
		defer cancel()
		var got []error
		for _, err := range s.List(ctx, "", "") {
			cancel()
			got = append(got, err)
		}
		if len(got) != 2 || got[0] != nil || !errors.Is(got[1], context.Canceled) {
			s.Fatalf("List gives %v", got)
		}
	}},
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
