package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/entrepot/entrepot/storage"
)

// files is the part of a file system that changes things. Reads go to package os directly: a read that fails harms nothing.
type files interface {
	Create(folder string) (file, error)                // a new file under a unique name
	Link(path, folder string) (name string, err error) // another name of the file at path: a unique one in folder
	Rename(from, to string) error
	Remove(path string) error
	Mkdir(path string) error
	Rmdir(path string) error  // fails for a folder that is not empty, and for a file
	Sync(folder string) error // makes what was created, renamed and removed in the folder durable
}

type file interface {
	io.WriteCloser
	Name() string
	Sync() error
}

type osFiles struct{}

func (osFiles) Create(folder string) (file, error) {
	f, err := os.CreateTemp(folder, "")
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func (osFiles) Link(path, folder string) (string, error) {
	name := filepath.Join(folder, rand.Text())
	return name, os.Link(path, name)
}

func (osFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (osFiles) Remove(path string) error     { return os.Remove(path) }
func (osFiles) Mkdir(path string) error      { return os.Mkdir(path, 0o700) }

// writebackStep is how many bytes are written before the disk is told to begin with them.
const writebackStep = 32 << 20

type osFile struct {
	*os.File
	written, begun int64
}

func (f *osFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += int64(n)
	if f.written-f.begun >= writebackStep {
		startWriteback(f.File, f.begun, f.written-f.begun)
		f.begun = f.written
	}
	return n, err
}

// Rmdir is not os.Remove, which would take a file too.
func (osFiles) Rmdir(path string) error {
	if err := syscall.Rmdir(path); err != nil {
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

func (osFiles) Sync(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// spool writes body to a new file in folder and returns its path. The content is durable, its name is not. On an error
// nothing is left. A body that does not write itself goes through buffer, if there is one.
func spool(to files, folder string, body io.Reader, buffer []byte) (path string, err error) {
	f, err := to.Create(folder)
	if err != nil {
		return "", full(err)
	}
	_, err = io.CopyBuffer(filler{f}, body, buffer)
	if err == nil {
		err = full(f.Sync())
	}
	if closed := f.Close(); err == nil {
		err = full(closed)
	}
	if err != nil {
		return "", errors.Join(err, to.Remove(f.Name()))
	}
	return f.Name(), nil
}

// filled reads as much as there is room for. A body that comes in small pieces would be written in small pieces.
type filled struct{ body io.Reader }

func (f filled) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = f.body.Read(p[n:])
		n += more
	}
	return n, err
}

// filler tells a disk that is full from a body that breaks because another one is.
type filler struct{ file file }

func (f filler) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	return n, full(err)
}

// makeFolder makes folder and the parents it lacks, durably: none is left whose name is not.
func makeFolder(in files, folder string) error {
	err := in.Mkdir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolder(in, filepath.Dir(folder)); err != nil {
			return err
		}
		err = in.Mkdir(folder)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := in.Sync(filepath.Dir(folder)); err != nil {
		return errors.Join(err, in.Rmdir(folder))
	}
	return nil
}

// isAbsent reports whether err says that there is no file: also where a folder has the name, or a file has that of a
// folder on the way.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}

// full says in the contract's words that the disk has no room, or its owner's share of it.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	}
	return err
}
