package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entrepot/entrepot/storage"
)

// Put holds no lock while it reads body.
func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	buffer := s.buffers.Get().(*[]byte)
	temp, err := spool(s.files, s.temp, filled{storage.Body(ctx, body, size)}, *buffer)
	s.buffers.Put(buffer)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer s.hold(key)()
	if err := s.publish(temp, path); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// PutIf compares by content. An error other than ErrConflict leaves either the old record or the new one.
func (s *Store) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (storage.Version, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return storage.Absent, fmt.Errorf("put %s: %w", key, err)
	}
	defer s.hold(key)()
	current, err := version(path)
	if err == nil && current != was {
		err = storage.ErrConflict
	}
	if err != nil {
		return storage.Absent, fmt.Errorf("put %s: %w", key, err)
	}
	temp, err := spool(s.files, s.temp, bytes.NewReader(record), nil)
	if err != nil {
		return storage.Absent, fmt.Errorf("put %s: %w", key, err)
	}
	if err := s.publish(temp, path); err != nil {
		return storage.Absent, fmt.Errorf("put %s: %w", key, err)
	}
	return storage.ContentVersion(record), nil
}

// Delete makes the absence durable also where it finds nothing: an earlier Delete may have failed after it removed.
func (s *Store) Delete(ctx context.Context, key string) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	defer s.hold(key)()
	if err := s.remove(path); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// DeleteIf is storage.DeleteIf.
func (s *Store) DeleteIf(ctx context.Context, key string, was storage.Version) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	defer s.hold(key)()
	current, err := version(path)
	if err == nil && (current != was || was == storage.Absent) {
		err = storage.ErrConflict
	}
	if err == nil {
		err = s.remove(path)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

func version(path string) (storage.Version, error) {
	record, err := os.ReadFile(path)
	if isAbsent(err) {
		return storage.Absent, nil
	}
	if err != nil {
		return storage.Absent, err
	}
	return storage.ContentVersion(record), nil
}

// publish gives the spooled file its name, durably. The caller holds the key's stripe.
func (s *Store) publish(temp, path string) error {
	if err := s.move(temp, path); err != nil {
		return errors.Join(full(err), s.files.Remove(temp))
	}
	return full(s.syncAbove(path))
}

// move makes the folder only where the first try finds none: most records have neighbours.
func (s *Store) move(temp, path string) error {
	s.folders.RLock()
	err := s.files.Rename(temp, path)
	s.folders.RUnlock()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	s.folders.Lock()
	defer s.folders.Unlock()
	err = makeFolder(s.files, filepath.Dir(path))
	if err == nil {
		err = s.files.Rename(temp, path)
	}
	if err != nil {
		s.prune(filepath.Dir(path))
	}
	return err
}

// remove removes the file and the folders that it leaves empty. The caller holds the key's stripe.
func (s *Store) remove(path string) error {
	if found, err := os.Stat(path); err == nil && found.IsDir() {
		return nil // other keys' folder: there is no such object
	}
	if err := s.files.Remove(path); err != nil && !isAbsent(err) {
		return err
	}
	s.folders.Lock()
	s.prune(filepath.Dir(path))
	s.folders.Unlock()
	return s.syncAbove(path)
}

// prune removes folder and those above it while they are empty. An empty folder that stays does no harm: List gives
// nothing for it. The caller holds folders.
func (s *Store) prune(folder string) {
	for ; folder != s.objects; folder = filepath.Dir(folder) {
		if err := s.files.Rmdir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}

// syncAbove makes durable what happened to path's name. Where its folder was removed, now or by somebody else meanwhile,
// the removal of that is what has to be durable.
func (s *Store) syncAbove(path string) error {
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		err := s.files.Sync(folder)
		if folder != s.objects && isAbsent(err) {
			continue
		}
		if err != nil {
			s.unsynced.Store(folder, true)
		}
		return err
	}
}

// syncAgain syncs a folder whose last sync failed: what its names say is not durable before.
func (s *Store) syncAgain(folder string) error {
	if _, failed := s.unsynced.Load(folder); !failed {
		return nil
	}
	if err := s.files.Sync(folder); err != nil && !isAbsent(err) {
		return err
	}
	s.unsynced.Delete(folder)
	return nil
}
