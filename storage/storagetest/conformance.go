package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage"
)

// Conformance checks every promise of storage.Store, and those of storage.DeleteIf, storage.Link and storage.Presign for a
// store that is able. open makes an empty store for one test, which may clean up by t.Cleanup.
func Conformance(t *testing.T, open func(t *testing.T) storage.Store) {
	for _, group := range []struct {
		name  string
		facts []fact
	}{
		{"objects", objectFacts},
		{"bodies", bodyFacts},
		{"records", recordFacts},
		{"listings", listFacts},
		{"keys", keyFacts},
		{"contexts", contextFacts},
		{"conditional deletes", conditionalDeleteFacts},
		{"links", linkFacts},
		{"presigned URLs", presignFacts},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, f := range group.facts {
				t.Run(f.name, func(t *testing.T) { f.check(&suite{t, open(t)}) })
			}
		})
	}
}

// Reopening checks that a store finds what another one left at the same place. open is called for one after the other;
// close ends the one before.
func Reopening(t *testing.T, open func(t *testing.T) (s storage.Store, close func())) {
	s, end := open(t)
	before := &suite{t, s}
	before.put("blobs/one", "content")
	version := before.create("records/one", "first")
	before.create("records/gone", "x")
	before.delete("records/gone")
	end()

	s, end = open(t)
	defer end()
	after := &suite{t, s}
	after.wantContent("blobs/one", "content")
	after.wantRecord("records/one", "first", version)
	after.wantKeys("", "", "blobs/one", "records/one")
	after.replace("records/one", "second", version)
}

type fact struct {
	name  string
	check func(s *suite)
}

// suite is one test with its store, and the steps tests are made of. Each step ends the test when it fails.
type suite struct {
	*testing.T
	storage.Store
}

func (s *suite) put(key, content string) {
	s.Helper()
	if err := s.Put(s.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		s.Fatalf("Put(%q): %v", key, err)
	}
}

func (s *suite) create(key, record string) storage.Version {
	s.Helper()
	return s.replace(key, record, storage.Absent)
}

func (s *suite) replace(key, record string, was storage.Version) storage.Version {
	s.Helper()
	v, err := s.PutIf(s.Context(), key, []byte(record), was)
	if err != nil {
		s.Fatalf("PutIf(%q, was %q): %v", key, was, err)
	}
	if v == storage.Absent {
		s.Fatalf("PutIf(%q) gave the version that means absent", key)
	}
	return v
}

func (s *suite) delete(key string) {
	s.Helper()
	if err := s.Delete(s.Context(), key); err != nil {
		s.Fatalf("Delete(%q): %v", key, err)
	}
}

func (s *suite) wantConflict(key, record string, was storage.Version) {
	s.Helper()
	if _, err := s.PutIf(s.Context(), key, []byte(record), was); !errors.Is(err, storage.ErrConflict) {
		s.Fatalf("PutIf(%q, was %q): %v, want ErrConflict", key, was, err)
	}
}

func (s *suite) wantContent(key, want string) {
	s.Helper()
	s.wantRange(key, 0, -1, want, int64(len(want)))
}

func (s *suite) wantRange(key string, off, n int64, want string, size int64) {
	s.Helper()
	r, info, err := s.Open(s.Context(), key, off, n)
	if err != nil {
		s.Fatalf("Open(%q, %d, %d): %v", key, off, n, err)
	}
	got, err := io.ReadAll(r)
	if closed := r.Close(); err != nil || closed != nil {
		s.Fatalf("reading %q: %v, closing: %v", key, err, closed)
	}
	if !bytes.Equal(got, []byte(want)) {
		s.Fatalf("Open(%q, %d, %d) gives %d bytes %.60q, want %d bytes %.60q", key, off, n, len(got), got, len(want), want)
	}
	if info.Key != key || info.Size != size {
		s.Fatalf("Open(%q) says key %q, size %d; want size %d", key, info.Key, info.Size, size)
	}
}

func (s *suite) wantRecord(key, want string, v storage.Version) {
	s.Helper()
	got, version, err := s.Get(s.Context(), key)
	if err != nil || string(got) != want || version != v {
		s.Fatalf("Get(%q) = %.60q, %q, %v; want %.60q, %q", key, got, version, err, want, v)
	}
}

// wantAbsent asks in every way there is.
func (s *suite) wantAbsent(key string) {
	s.Helper()
	for op, err := range s.reads(s.Context(), key) {
		if !errors.Is(err, storage.ErrNotFound) {
			s.Errorf("%s %q: %v, want ErrNotFound", op, key, err)
		}
	}
	for _, listed := range s.keys("", "") {
		if listed == key {
			s.Errorf("%q is listed", key)
		}
	}
	if s.Failed() {
		s.FailNow()
	}
}

func (s *suite) wantKeys(prefix, after string, want ...string) {
	s.Helper()
	got := s.keys(prefix, after)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.Fatalf("List(%q, after %q) = %q, want %q", prefix, after, got, want)
	}
}

func (s *suite) keys(prefix, after string) (keys []string) {
	s.Helper()
	for info, err := range s.List(s.Context(), prefix, after) {
		if err != nil {
			s.Fatalf("List(%q, after %q): %v", prefix, after, err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// reads gives the error of each operation that reads key.
func (s *suite) reads(ctx context.Context, key string) map[Op]error {
	_, stat := s.Stat(ctx, key)
	r, _, open := s.Open(ctx, key, 0, -1)
	if open == nil {
		_ = r.Close() // nothing was read
	}
	_, _, get := s.Get(ctx, key)
	return map[Op]error{Stat: stat, Open: open, Get: get}
}

// writes gives the error of each operation that writes key.
func (s *suite) writes(ctx context.Context, key string) map[Op]error {
	_, putif := s.PutIf(ctx, key, []byte("x"), storage.Absent)
	return map[Op]error{
		PutIf:  putif,
		Put:    s.Put(ctx, key, strings.NewReader("x"), 1),
		Delete: s.Delete(ctx, key),
	}
}
