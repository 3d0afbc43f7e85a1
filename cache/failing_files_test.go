package cache

import (
	"errors"
	"os"
	"sync/atomic"
)

// failingFiles fails its at-th operation.
type failingFiles struct {
	osFiles
	at   int64
	err  error
	done atomic.Int64
}

func (f *failingFiles) step() error {
	if f.done.Add(1) == f.at {
		return f.err
	}
	return nil
}

func (f *failingFiles) Create(path string, size int64) (partialFile, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	file, err := f.osFiles.Create(path, size)
	return &failingFile{file, f}, err
}

func (f *failingFiles) Open(path string) (*os.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.osFiles.Open(path)
}

func (f *failingFiles) Rename(from, to string) error {
	return errors.Join(f.step(), f.osFiles.Rename(from, to))
}

func (f *failingFiles) SyncFolder(path string) error { return f.step() }

func (f *failingFiles) Remove(path string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.osFiles.Remove(path)
}

func (f *failingFiles) WriteFile(path string, b []byte) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.osFiles.WriteFile(path, b)
}

type failingFile struct {
	partialFile
	files *failingFiles
}

func (f *failingFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.files.step(); err != nil {
		return 0, err
	}
	return f.partialFile.ReadAt(b, off)
}

func (f *failingFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.files.step(); err != nil {
		return 0, err
	}
	return f.partialFile.WriteAt(b, off)
}

func (f *failingFile) Sync() error {
	if err := f.files.step(); err != nil {
		return err
	}
	return f.partialFile.Sync()
}
