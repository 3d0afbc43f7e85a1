package cache

import (
	"fmt"
	"os"
	"path/filepath"
)

// osFiles is the operating system's file system.
type osFiles struct{}

func (osFiles) Open(path string) (*os.File, error) { return os.Open(path) }
func (osFiles) Remove(path string) error           { return os.Remove(path) }

func (osFiles) Create(path string, size int64) (partialFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if size > 0 {
		if err := allocate(f, size); err != nil {
			f.Close()
			os.Remove(path)
			return nil, fmt.Errorf("claim %d bytes of disk: %w", size, err)
		}
	}
	return f, nil
}

func (osFiles) Rename(from, to string) error {
	folder := filepath.Dir(to)
	err := os.Rename(from, to)
	if os.IsNotExist(err) {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		err = os.Rename(from, to)
	}
	return err
}

func (osFiles) WriteFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func (osFiles) SyncFolder(path string) error { return syncFolder(path) }

func (osFiles) FreeBytes(dir string) (int64, error) { return FreeBytes(dir) }

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}
