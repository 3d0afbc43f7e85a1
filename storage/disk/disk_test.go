package disk_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/storagetest"
)

func open(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return s
}

func TestConformance(t *testing.T) {
	storagetest.Conformance(t, func(t *testing.T) storage.Store { return open(t, t.TempDir()) })
}

func TestConformanceUnder(t *testing.T) {
	storagetest.Conformance(t, func(t *testing.T) storage.Store { return storage.Under(open(t, t.TempDir()), "cache") })
}

func TestAbilities(t *testing.T) {
	whole := open(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]storage.Store{"store": whole, "view": storage.Under(whole, "cache")} {
		if err := storage.DeleteIf(t.Context(), s, "none", storage.Absent); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: DeleteIf of nothing = %v, want ErrConflict", name, err)
		}
		if err := storage.Link(t.Context(), s, "a", path); err != nil {
			t.Errorf("%s: Link = %v", name, err)
		}
	}
}

func TestReopening(t *testing.T) {
	dir := t.TempDir()
	storagetest.Reopening(t, func(t *testing.T) (storage.Store, func()) {
		s := open(t, dir)
		return s, func() {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestProbe(t *testing.T) {
	if err := storage.Probe(t.Context(), open(t, t.TempDir())); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesTheDirectory(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a", "b"))
	if err := s.Put(t.Context(), "x/y", strings.NewReader("z"), 1); err != nil {
		t.Fatal(err)
	}
}

func TestASecondOwnerIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	if _, err := disk.Open(dir); !errors.Is(err, disk.ErrInUse) {
		t.Fatalf("second Open = %v, want ErrInUse", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestOpenRemovesWhatWasHalfWritten(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "objects.temp", "123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the temporary file of an earlier process: %v", err)
	}
}

func TestDeleteLeavesNoEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, key := range []string{"a/b/c/d", "a/b/e"} {
		if err := s.Put(t.Context(), key, strings.NewReader(""), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ key, gone, left string }{
		{"a/b/c/d", "a/b/c", "a/b"},
		{"a/b/e", "a", "."},
	} {
		if err := s.Delete(t.Context(), c.key); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "objects", c.gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Delete(%s), folder %s: %v", c.key, c.gone, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "objects", c.left)); err != nil {
			t.Errorf("after Delete(%s): %v", c.key, err)
		}
	}
}

func TestAFileCutShortIsNotReadAsComplete(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(io.Reader) error{
		"Read":    func(r io.Reader) error { _, err := io.ReadAll(r); return err },
		"WriteTo": func(r io.Reader) error { _, err := r.(io.WriterTo).WriteTo(io.Discard); return err },
	} {
		r, _, err := s.Open(t.Context(), "a", 2, 5)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, "objects", "a"), 4); err != nil {
			t.Fatal(err)
		}
		if err := read(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s of a file cut short: %v, want ErrUnexpectedEOF", name, err)
		}
		if err := errors.Join(r.Close(), os.Truncate(filepath.Join(dir, "objects", "a"), 10)); err != nil {
			t.Fatal(err)
		}
	}
}

// fileSeer is a connection that tells what its ReadFrom is given.
type fileSeer struct {
	net.Conn
	seen io.Reader
}

func (f *fileSeer) ReadFrom(r io.Reader) (int64, error) {
	f.seen = r
	return io.Copy(io.Discard, r)
}

func TestAConnectionIsGivenTheFileItself(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Open(t.Context(), "a", 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	conn := &fileSeer{}
	if n, err := r.(io.WriterTo).WriteTo(conn); n != 5 || err != nil {
		t.Fatalf("WriteTo = %d, %v", n, err)
	}
	limited, ok := conn.seen.(*io.LimitedReader)
	if !ok {
		t.Fatalf("ReadFrom is given a %T", conn.seen)
	}
	if _, ok := limited.R.(*os.File); !ok {
		t.Fatalf("ReadFrom is given a limited %T", limited.R)
	}
}
