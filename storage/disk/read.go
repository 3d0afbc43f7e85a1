package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entrepot/entrepot/storage"
)

func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	found, err := os.Stat(path)
	if err == nil && found.IsDir() {
		err = storage.ErrNotFound
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", key, missing(err))
	}
	return info(key, found), nil
}

// Open gives a reader that also writes itself to a connection by sendfile.
func (s *Store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, storage.Info, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("open %s: %w", key, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("open %s: %w", key, missing(err))
	}
	r, found, err := section(f, off, n)
	if err != nil {
		return nil, storage.Info{}, errors.Join(fmt.Errorf("open %s: %w", key, err), f.Close())
	}
	return r, info(key, found), nil
}

// Get gives what is durable: whoever reads a record may acknowledge something that rests on it, and write nothing himself. So
// it waits for a write of the record that is under way.
func (s *Store) Get(ctx context.Context, key string) ([]byte, storage.Version, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return nil, storage.Absent, fmt.Errorf("get %s: %w", key, err)
	}
	stripe := s.stripe(key)
	stripe.RLock()
	defer stripe.RUnlock()
	if err := s.syncAgain(filepath.Dir(path)); err != nil {
		return nil, storage.Absent, fmt.Errorf("get %s: %w", key, err)
	}
	record, err := os.ReadFile(path)
	if err != nil {
		return nil, storage.Absent, fmt.Errorf("get %s: %w", key, missing(err))
	}
	return record, storage.ContentVersion(record), nil
}

// section is the part of f that storage.Store.Open promises. It takes f over unless it fails.
func section(f *os.File, off, n int64) (*reader, fs.FileInfo, error) {
	found, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if found.IsDir() {
		return nil, nil, storage.ErrNotFound
	}
	size := found.Size()
	if off < 0 || off > size {
		return nil, nil, fmt.Errorf("%w: at %d of %d", storage.ErrRange, off, size)
	}
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return nil, nil, err
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	return &reader{file: f, rest: io.LimitedReader{R: f, N: n}}, found, nil
}

// reader reads a part of a file. The file is never written again: a Put puts another one in its place.
type reader struct {
	file *os.File
	rest io.LimitedReader
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.rest.Read(p)
	if err == io.EOF {
		err = r.end()
	}
	return n, err
}

// WriteTo hands a connection's ReadFrom a limited *os.File, which is the form it knows how to send without copying.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, &r.rest)
	if end := r.end(); err == nil && end != io.EOF {
		err = end
	}
	return n, err
}

func (r *reader) Close() error { return r.file.Close() }

// end is what the end of the file means: a file cut short from outside must not look like a complete one.
func (r *reader) end() error {
	if r.rest.N > 0 {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func info(key string, found fs.FileInfo) storage.Info {
	return storage.Info{Key: key, Size: found.Size(), Modified: found.ModTime()}
}

// missing says that an object is not there in the contract's words.
func missing(err error) error {
	if isAbsent(err) {
		return storage.ErrNotFound
	}
	return err
}
