// Package mem keeps objects in memory: for tests, and for a server that is given no disk. It bounds nothing; whoever
// fills it does.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// Store is a storage.Store in memory. Its versions are derived from content, so it hides no missing nonce from tests.
type Store struct {
	now func() time.Time

	mu      sync.RWMutex
	objects map[string]object // the contents are never written to after they are put here
}

type object struct {
	content  []byte
	modified time.Time
}

// New makes an empty store whose times come from now.
func New(now func() time.Time) *Store {
	return &Store{now: now, objects: make(map[string]object)}
}

func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	o, err := s.object(ctx, key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return o.info(key), nil
}

func (s *Store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, storage.Info, error) {
	o, err := s.object(ctx, key)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("open %s: %w", key, err)
	}
	size := int64(len(o.content))
	if off < 0 || off > size {
		return nil, storage.Info{}, fmt.Errorf("open %s at %d of %d: %w", key, off, size, storage.ErrRange)
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	return io.NopCloser(bytes.NewReader(o.content[off : off+n])), o.info(key), nil
}

func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	content, err := io.ReadAll(storage.Body(ctx, body, size))
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = object{content, s.now()}
	return nil
}

func (s *Store) Get(ctx context.Context, key string) ([]byte, storage.Version, error) {
	o, err := s.object(ctx, key)
	if err != nil {
		return nil, storage.Absent, fmt.Errorf("get %s: %w", key, err)
	}
	return bytes.Clone(o.content), o.version(), nil
}

func (s *Store) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (storage.Version, error) {
	if err := check(ctx, key); err != nil {
		return storage.Absent, fmt.Errorf("put %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	current := storage.Absent
	if o, found := s.objects[key]; found {
		current = o.version()
	}
	if current != was {
		return storage.Absent, fmt.Errorf("put %s: %w", key, storage.ErrConflict)
	}
	o := object{bytes.Clone(record), s.now()}
	s.objects[key] = o
	return o.version(), nil
}

func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

// DeleteIf is storage.DeleteIf.
func (s *Store) DeleteIf(ctx context.Context, key string, was storage.Version) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, found := s.objects[key]; !found || o.version() != was {
		return fmt.Errorf("delete %s: %w", key, storage.ErrConflict)
	}
	delete(s.objects, key)
	return nil
}

func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		fail := func(err error) { yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err)) }
		if err := storage.CheckPrefix(prefix); err != nil {
			fail(err)
			return
		}
		keys := s.keys(prefix, after)
		for {
			if err := ctx.Err(); err != nil {
				fail(err)
				return
			}
			if len(keys) == 0 {
				return
			}
			o, found := s.lookup(keys[0])
			if found && !yield(o.info(keys[0]), nil) {
				return
			}
			keys = keys[1:]
		}
	}
}

func (s *Store) keys(prefix, after string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (s *Store) object(ctx context.Context, key string) (object, error) {
	if err := check(ctx, key); err != nil {
		return object{}, err
	}
	o, found := s.lookup(key)
	if !found {
		return object{}, storage.ErrNotFound
	}
	return o, nil
}

func (s *Store) lookup(key string) (object, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, found := s.objects[key]
	return o, found
}

func (o object) info(key string) storage.Info {
	return storage.Info{Key: key, Size: int64(len(o.content)), Modified: o.modified}
}

func (o object) version() storage.Version { return storage.ContentVersion(o.content) }

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return storage.CheckKey(key)
}
