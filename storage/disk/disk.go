// Package disk keeps objects as files, one for each key, and owns a server's data directory (Claim). Whatever it
// acknowledges is on stable storage.
//
// A file system that folds case, as macOS has it unless told otherwise, makes one object of keys that differ only in case.
package disk

import (
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"sync"

	"github.com/entrepot/entrepot/storage"
)

// stripes is how many writes of different keys may be under way before two are likely to wait for each other.
const stripes = 256

// bufferSize is how many bytes of a large object are written at a time. With an eighth of it a push took a third longer.
const bufferSize = 256 << 10

// Store is a storage.Store in a directory that it owns alone: PutIf is decided by locks in this process.
//
// Lock order: a stripe, then folders.
type Store struct {
	files   files
	objects string // the file of a key is below it, at the path that the key spells
	temp    string // files that are being written; on the same file system, for rename
	lock    *os.File

	seed    maphash.Seed
	stripes [stripes]sync.RWMutex // the one of a key is held while its file is replaced or removed, and until that is durable

	buffers  sync.Pool // of *[]byte, bufferSize long
	unsynced sync.Map  // folders that could not be synced after a name in them had changed

	// folders is held for writing while folders are made or removed, and for reading while a file is moved into one: so no
	// file lands in a folder that is not durable yet, and none is missed by whoever removes an empty folder.
	folders sync.RWMutex
}

// Open makes dir if it is missing, takes it (ErrInUse) and removes what an earlier process left half-written. Close
// gives the directory back.
func Open(dir string) (*Store, error) { return open(dir, osFiles{}) }

func open(dir string, files files) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		files:   files,
		objects: filepath.Join(dir, "objects"),
		temp:    filepath.Join(dir, "objects.temp"),
		seed:    maphash.MakeSeed(),
	}
	s.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	if err := makeFolder(files, s.objects); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.lock, err = lock(filepath.Join(dir, "objects.lock")); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.sweep(); err != nil {
		_ = s.Close() // the error that matters is the one above
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

// Close gives the directory back. Operations under way must have ended.
func (s *Store) Close() error { return s.lock.Close() }

// sweep empties the folder of files being written: nobody else writes now.
func (s *Store) sweep() error {
	if err := os.RemoveAll(s.temp); err != nil {
		return err
	}
	return makeFolder(s.files, s.temp)
}

// path is where key's object is, if ctx has not ended and the key is one.
func (s *Store) path(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := storage.CheckKey(key); err != nil {
		return "", err
	}
	return filepath.Join(s.objects, filepath.FromSlash(key)), nil
}

// hold locks key's stripe until the function returned is called.
func (s *Store) hold(key string) (release func()) {
	stripe := s.stripe(key)
	stripe.Lock()
	return stripe.Unlock
}

func (s *Store) stripe(key string) *sync.RWMutex {
	return &s.stripes[maphash.String(s.seed, key)%stripes]
}
