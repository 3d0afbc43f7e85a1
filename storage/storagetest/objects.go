package storagetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing/iotest"

	"github.com/entrepot/entrepot/storage"
)

// largeObject is more than any buffer on the way, in bytes.
const largeObject = 9<<20 + 7

var objectFacts = []fact{
	{"what was put is read", func(s *suite) {
		s.put("a/b", "content")
		s.wantContent("a/b", "content")
		info, err := s.Stat(s.Context(), "a/b")
		if err != nil || info.Key != "a/b" || info.Size != 7 || info.Modified.IsZero() {
			s.Fatalf("Stat = %+v, %v", info, err)
		}
	}},
	{"an empty object is an object", func(s *suite) {
		s.put("a", "")
		s.wantContent("a", "")
		s.wantRecord("a", "", s.version("a"))
		s.wantKeys("", "", "a")
	}},
	{"a put replaces", func(s *suite) {
		s.put("a", "a longer one")
		s.put("a", "short")
		s.wantContent("a", "short")
	}},
	{"an open reader keeps the object it opened", func(s *suite) {
		s.put("a", "first")
		r, _, err := s.Open(s.Context(), "a", 0, -1)
		if err != nil {
			s.Fatal(err)
		}
		defer r.Close()
		s.put("a", "other")
		s.delete("a")
		if got, err := io.ReadAll(r); err != nil || string(got) != "first" {
			s.Fatalf("read %q, %v", got, err)
		}
	}},
	{"what was never put is not found", func(s *suite) { s.wantAbsent("a/b/c") }},
	{"the folder of an object is not an object", func(s *suite) {
		s.put("a/b/c", "x")
		s.wantAbsent("a")
		s.wantAbsent("a/b")
		s.delete("a/b")
		s.wantContent("a/b/c", "x")
	}},
	{"below an object there is no object", func(s *suite) {
		s.put("a", "x")
		s.wantAbsent("a/b/c")
		s.delete("a/b")
		s.delete("a/b/c")
		s.wantContent("a", "x")
	}},
	{"deleted is absent, and may be deleted again", func(s *suite) {
		s.put("a/b/c", "x")
		s.put("a/d", "x")
		for range 2 {
			s.delete("a/b/c")
			s.wantAbsent("a/b/c")
		}
		s.wantKeys("", "", "a/d")
		s.put("a/b/c", "again")
		s.wantContent("a/b/c", "again")
	}},
	{"once its objects are gone, a folder's name is free", func(s *suite) {
		s.put("a/b/c", "x")
		s.delete("a/b/c")
		s.put("a", "object")
		s.wantContent("a", "object")
	}},
	{"ranges", func(s *suite) {
		s.put("a", "0123456789")
		for _, c := range []struct {
			off, n int64
			want   string
		}{
			{0, -1, "0123456789"}, {0, 10, "0123456789"}, {0, 0, ""}, {3, 4, "3456"}, {3, -1, "3456789"},
			{9, 1, "9"}, {8, 100, "89"}, {10, -1, ""}, {10, 5, ""}, {5, 1<<63 - 1, "56789"},
		} {
			s.wantRange("a", c.off, c.n, c.want, 10)
		}
	}},
	{"an offset outside the object is ErrRange", func(s *suite) {
		s.put("a", "0123456789")
		for _, off := range []int64{-1, 11, 1<<63 - 1} {
			if r, _, err := s.Open(s.Context(), "a", off, 1); !errors.Is(err, storage.ErrRange) || r != nil {
				s.Errorf("Open at %d: %v, want ErrRange", off, err)
			}
		}
	}},
	{"a large object comes back byte for byte", func(s *suite) {
		content := make([]byte, largeObject)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(content) // never fails
		if err := s.Put(s.Context(), "large", bytes.NewReader(content), largeObject); err != nil {
			s.Fatal(err)
		}
		r, info, err := s.Open(s.Context(), "large", 0, -1)
		if err != nil {
			s.Fatal(err)
		}
		defer r.Close()
		hash := sha256.New()
		if n, err := io.Copy(hash, r); err != nil || n != largeObject || info.Size != largeObject {
			s.Fatalf("copied %d bytes, %v; size %d", n, err, info.Size)
		}
		if want := sha256.Sum256(content); !bytes.Equal(hash.Sum(nil), want[:]) {
			s.Fatal("other bytes")
		}
		s.wantRange("large", largeObject-9, -1, string(content[largeObject-9:]), largeObject)
	}},
}

var bodyFacts = []fact{
	{"a body of unknown size", func(s *suite) {
		if err := s.Put(s.Context(), "a", iotest.OneByteReader(strings.NewReader("content")), -1); err != nil {
			s.Fatal(err)
		}
		s.wantContent("a", "content")
	}},
	{"a body shorter than announced stores nothing", func(s *suite) { s.wantRefused("content", 8, storage.ErrSize) }},
	{"a body longer than announced stores nothing", func(s *suite) { s.wantRefused("content", 6, storage.ErrSize) }},
	{"a body announced as empty that is not stores nothing", func(s *suite) { s.wantRefused("x", 0, storage.ErrSize) }},
	{"a body that breaks stores nothing", func(s *suite) {
		body := io.MultiReader(strings.NewReader("cont"), iotest.ErrReader(ErrInjected))
		if err := s.Put(s.Context(), "a", body, 7); !errors.Is(err, ErrInjected) {
			s.Fatalf("Put = %v, want the body's error", err)
		}
		s.wantAbsent("a")
	}},
	{"a put that fails leaves the object that was there", func(s *suite) {
		s.put("a", "before")
		if err := s.Put(s.Context(), "a", strings.NewReader("after"), 9); !errors.Is(err, storage.ErrSize) {
			s.Fatalf("Put = %v, want ErrSize", err)
		}
		s.wantContent("a", "before")
	}},
}

func (s *suite) wantRefused(body string, size int64, want error) {
	s.Helper()
	if err := s.Put(s.Context(), "a/b", strings.NewReader(body), size); !errors.Is(err, want) {
		s.Fatalf("Put of %d bytes as %d: %v, want %v", len(body), size, err, want)
	}
	s.wantAbsent("a/b")
}

func (s *suite) version(key string) storage.Version {
	s.Helper()
	_, v, err := s.Get(s.Context(), key)
	if err != nil || v == storage.Absent {
		s.Fatalf("Get(%q) = version %q, %v", key, v, err)
	}
	return v
}
