package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage"
)

var errDisk = errors.New("injected disk failure")

// faulty fails the n-th change of the file system, and with onward all after it. A failed write has written half.
type faulty struct {
	files
	n, count int
	onward   bool
	err      error
}

func (f *faulty) fails() bool {
	f.count++
	return f.n > 0 && (f.count == f.n || f.onward && f.count > f.n)
}

func (f *faulty) do(op func() error) error {
	if f.fails() {
		return f.err
	}
	return op()
}

func (f *faulty) Create(folder string) (file, error) {
	if f.fails() {
		return nil, f.err
	}
	created, err := f.files.Create(folder)
	return &faultyFile{created, f}, err
}

func (f *faulty) Link(path, folder string) (string, error) {
	if f.fails() {
		return "", f.err
	}
	return f.files.Link(path, folder)
}
func (f *faulty) Rename(from, to string) error {
	return f.do(func() error { return f.files.Rename(from, to) })
}
func (f *faulty) Remove(path string) error { return f.do(func() error { return f.files.Remove(path) }) }
func (f *faulty) Mkdir(path string) error  { return f.do(func() error { return f.files.Mkdir(path) }) }
func (f *faulty) Rmdir(path string) error  { return f.do(func() error { return f.files.Rmdir(path) }) }
func (f *faulty) Sync(path string) error   { return f.do(func() error { return f.files.Sync(path) }) }

type faultyFile struct {
	file
	disk *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.disk.fails() {
		n, _ := f.file.Write(p[:len(p)/2]) // what the caller is told is the injected failure
		return n, f.disk.err
	}
	return f.file.Write(p)
}

func (f *faultyFile) Sync() error { return f.disk.do(f.file.Sync) }

func (f *faultyFile) Close() error {
	closed := f.file.Close() // a failed close has closed the file all the same
	if f.disk.fails() {
		return f.disk.err
	}
	return closed
}

// eachFault runs f with the first operation of the disk failing, then the second, and so on, alone and with all that
// follow, until one run reaches no failure.
func eachFault(t *testing.T, f func(t *testing.T, disk *faulty)) {
	for _, onward := range []bool{false, true} {
		for n, reached := 1, true; reached; n++ {
			name := fmt.Sprintf("operation %d", n)
			if onward {
				name += " and all after it"
			}
			t.Run(name, func(t *testing.T) {
				disk := &faulty{files: osFiles{}, n: n, onward: onward, err: errDisk}
				f(t, disk)
				reached = disk.count >= n
			})
		}
	}
}

func mustOpen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := open(dir, osFiles{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return s
}

// write is one way to bring key to content, whatever it is now.
type write func(s *Store, t *testing.T, key, content string) error

func byPut(s *Store, t *testing.T, key, content string) error {
	return s.Put(t.Context(), key, strings.NewReader(content), int64(len(content)))
}

func byPutIf(s *Store, t *testing.T, key, content string) error {
	_, was, err := s.Get(t.Context(), key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	_, err = s.PutIf(t.Context(), key, []byte(content), was)
	return err
}

func byDelete(s *Store, t *testing.T, key, _ string) error { return s.Delete(t.Context(), key) }

// byDeleteIf takes a record that is gone for one that it deleted.
func byDeleteIf(s *Store, t *testing.T, key, _ string) error {
	_, was, err := s.Get(t.Context(), key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return errors.Join(err, s.DeleteIf(t.Context(), key, was))
}

// byLink links the same file each time it is called for the same content.
func byLink(s *Store, t *testing.T, key, content string) error {
	path := filepath.Join(filepath.Dir(s.objects), content)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.Link(t.Context(), key, path)
}

func TestAFailingDiskLeavesTheOldObjectOrTheNew(t *testing.T) {
	for _, c := range []struct {
		name          string
		key           string
		before, after string // "" for absent
		write         write
	}{
		{"put new in a new folder", "a/b/c", "", "after", byPut},
		{"put new in a folder that exists", "kept/b", "", "after", byPut},
		{"put over", "a/b", "before", "after", byPut},
		{"create a record in a new folder", "a/b/c", "", "after", byPutIf},
		{"create a record in a folder that exists", "kept/b", "", "after", byPutIf},
		{"replace a record", "a/b", "before", "after", byPutIf},
		{"delete the last of a folder", "a/b/c", "before", "", byDelete},
		{"delete one of several", "kept/b", "before", "", byDelete},
		{"delete a record, the last of a folder", "a/b/c", "before", "", byDeleteIf},
		{"delete a record, one of several", "kept/b", "before", "", byDeleteIf},
		{"link new in a new folder", "a/b/c", "", "after", byLink},
		{"link new in a folder that exists", "kept/b", "", "after", byLink},
		{"link over", "a/b", "before", "after", byLink},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachFault(t, func(t *testing.T, disk *faulty) {
				s := mustOpen(t, t.TempDir())
				mustWrite(t, s, "kept/a", "kept")
				if c.before != "" {
					mustWrite(t, s, c.key, c.before)
				}

				s.files = disk
				err := c.write(s, t, c.key, c.after)
				s.files = osFiles{}
				wantOutcome(t, s, c.key, err, c.before, c.after)
				if c.before == "" && !disk.onward {
					wantNoEmptyFolder(t, s)
				}
				s = wantNothingHalfWritten(t, s, !disk.onward)

				if err := c.write(s, t, c.key, c.after); err != nil {
					t.Fatalf("the retry fails: %v", err)
				}
				wantOutcome(t, s, c.key, nil, c.before, c.after)
				wantOutcome(t, s, "kept/a", nil, "", "kept")
			})
		})
	}
}

func mustWrite(t *testing.T, s *Store, key, content string) {
	t.Helper()
	if err := byPut(s, t, key, content); err != nil {
		t.Fatal(err)
	}
}

// wantOutcome checks that a write that succeeded is there, and one that failed is there or not, by every read.
func wantOutcome(t *testing.T, s *Store, key string, failed error, before, after string) {
	t.Helper()
	if failed != nil && !errors.Is(failed, errDisk) {
		t.Errorf("the error does not name the failure: %v", failed)
	}
	got := ""
	record, _, err := s.Get(t.Context(), key)
	if err == nil {
		got = string(record)
	} else if !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	if got != after && (failed == nil || got != before) {
		t.Errorf("%s is %q after a write that gave %v; before %q, wanted %q", key, got, failed, before, after)
	}
	listed := false
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = listed || info.Key == key
	}
	if listed != (got != "") {
		t.Errorf("listed %t, content %q", listed, got)
	}
}

// wantNothingHalfWritten checks that no temporary file is left: at once where the disk could remove it, and in any case
// in the store that is opened next, which it gives.
func wantNothingHalfWritten(t *testing.T, s *Store, atOnce bool) *Store {
	t.Helper()
	if left, err := os.ReadDir(s.temp); err != nil || atOnce && len(left) > 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, filepath.Dir(s.objects))
	if left, err := os.ReadDir(s.temp); err != nil || len(left) > 0 {
		t.Errorf("temporary files left after reopening: %v, %v", left, err)
	}
	return s
}

func wantNoEmptyFolder(t *testing.T, s *Store) {
	t.Helper()
	err := filepath.WalkDir(s.objects, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		inside, err := os.ReadDir(path)
		if len(inside) == 0 {
			t.Errorf("folder %s is left empty", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFolderWhoseNameIsNotDurableIsNotLeft(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a")
	err := makeFolder(&faulty{files: osFiles{}, n: 2, err: errDisk}, folder) // the first makes it, the second syncs its parent
	if !errors.Is(err, errDisk) {
		t.Fatalf("makeFolder = %v, want the failure", err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

func TestAFailingDiskFailsOpenAndTheNextOneSucceeds(t *testing.T) {
	eachFault(t, func(t *testing.T, disk *faulty) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		s, err := open(dir, disk)
		if err == nil {
			err = s.Close()
		} else if !errors.Is(err, errDisk) {
			t.Errorf("the error does not name the failure: %v", err)
		}
		if disk.count >= disk.n && err == nil {
			t.Error("Open succeeds on a disk that fails")
		}
		mustWrite(t, mustOpen(t, dir), "a", "content")
	})
}

func TestAFailingDiskNeverMakesAClaimClean(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprintf("after an end that was clean: %t", clean), func(t *testing.T) {
			eachFault(t, func(t *testing.T, disk *faulty) {
				dir := filepath.Join(t.TempDir(), "data")
				endClaim(t, dir, clean)

				d, err := claim(dir, disk)
				if err == nil {
					if d.Clean != clean {
						t.Errorf("Clean = %t, want %t", d.Clean, clean)
					}
					err = d.Release(false)
				} else if !errors.Is(err, errDisk) {
					t.Errorf("the error does not name the failure: %v", err)
				}
				began := err == nil

				d, err = Claim(dir)
				if err != nil {
					t.Fatalf("the next Claim: %v", err)
				}
				if d.Clean && (began || !clean) {
					t.Error("clean after an end that was not")
				}
				if err := d.Release(true); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func endClaim(t *testing.T, dir string, clean bool) {
	t.Helper()
	d, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Release(clean); err != nil {
		t.Fatal(err)
	}
}

func TestAFreshClaimOnAFailingDiskCanBeRepeated(t *testing.T) {
	eachFault(t, func(t *testing.T, disk *faulty) {
		dir := filepath.Join(t.TempDir(), "data")
		d, err := claim(dir, disk)
		if err == nil {
			if !d.Clean {
				t.Error("a fresh directory is not clean")
			}
			err = d.Release(true)
		} else if !errors.Is(err, errDisk) {
			t.Errorf("the error does not name the failure: %v", err)
		}
		if disk.count >= disk.n && err == nil {
			t.Error("Claim succeeds on a disk that fails")
		}
		if d, err = claim(dir, osFiles{}); err != nil {
			t.Fatalf("the next Claim: %v", err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "format")); err != nil || string(text) != "1\n" {
			t.Errorf("format is %q, %v", text, err)
		}
		if err := d.Release(true); err != nil {
			t.Fatal(err)
		}
	})
}
