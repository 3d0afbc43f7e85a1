// Package storagetest has the suite that every store passes, and stores around others that fail, count and wait.
package storagetest

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// Op is one kind of operation.
type Op string

const (
	Stat     Op = "stat"
	Open     Op = "open"
	Read     Op = "read" // one Read of what Open gave
	Put      Op = "put"
	Get      Op = "get"
	PutIf    Op = "putif"
	Delete   Op = "delete"
	DeleteIf Op = "deleteif"
	Link     Op = "link"
	Presign  Op = "presign"
	List     Op = "list" // the beginning of a listing, with the prefix as its key
	Next     Op = "next" // one object of a listing
)

// Hook is called in place of an operation, from whatever goroutine that runs in, and calls do to run it. The
// operation's error is the one that the hook returns.
type Hook func(ctx context.Context, op Op, key string, do func() error) error

// Around is s with a hook around each operation, and able to do what s is. Its readers have only Read and Close.
func Around(s storage.Store, hook Hook) storage.Store { return &around{s, hook} }

type around struct {
	store storage.Store
	hook  Hook
}

func (a *around) Stat(ctx context.Context, key string) (info storage.Info, err error) {
	err = a.hook(ctx, Stat, key, func() (err error) {
		info, err = a.store.Stat(ctx, key)
		return err
	})
	if err != nil {
		return storage.Info{}, err
	}
	return info, nil
}

func (a *around) Open(ctx context.Context, key string, off, n int64) (r io.ReadCloser, info storage.Info, err error) {
	err = a.hook(ctx, Open, key, func() (err error) {
		r, info, err = a.store.Open(ctx, key, off, n)
		return err
	})
	if err != nil {
		if r != nil {
			_ = r.Close() // opened, and its answer lost
		}
		return nil, storage.Info{}, err
	}
	return &reader{ctx, r, key, a.hook}, info, nil
}

func (a *around) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	return a.hook(ctx, Put, key, func() error { return a.store.Put(ctx, key, body, size) })
}

func (a *around) Get(ctx context.Context, key string) (record []byte, v storage.Version, err error) {
	err = a.hook(ctx, Get, key, func() (err error) {
		record, v, err = a.store.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, storage.Absent, err
	}
	return record, v, nil
}

func (a *around) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (v storage.Version, err error) {
	err = a.hook(ctx, PutIf, key, func() (err error) {
		v, err = a.store.PutIf(ctx, key, record, was)
		return err
	})
	if err != nil {
		return storage.Absent, err
	}
	return v, nil
}

func (a *around) Delete(ctx context.Context, key string) error {
	return a.hook(ctx, Delete, key, func() error { return a.store.Delete(ctx, key) })
}

func (a *around) DeleteIf(ctx context.Context, key string, was storage.Version) error {
	return a.hook(ctx, DeleteIf, key, func() error { return storage.DeleteIf(ctx, a.store, key, was) })
}

func (a *around) Link(ctx context.Context, key, path string) error {
	return a.hook(ctx, Link, key, func() error { return storage.Link(ctx, a.store, key, path) })
}

func (a *around) Presign(ctx context.Context, key string, life time.Duration) (url string, err error) {
	err = a.hook(ctx, Presign, key, func() (err error) {
		url, err = storage.Presign(ctx, a.store, key, life)
		return err
	})
	if err != nil {
		return "", err
	}
	return url, nil
}

func (a *around) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := a.hook(ctx, List, prefix, func() error { return nil }); err != nil {
			yield(storage.Info{}, err)
			return
		}
		for info, err := range a.store.List(ctx, prefix, after) {
			err = a.hook(ctx, Next, info.Key, func() error { return err })
			if err != nil {
				info = storage.Info{}
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

type reader struct {
	ctx  context.Context
	body io.ReadCloser
	key  string
	hook Hook
}

func (r *reader) Read(p []byte) (n int, err error) {
	err = r.hook(r.ctx, Read, r.key, func() (err error) {
		n, err = r.body.Read(p)
		return err
	})
	if err != nil && err != io.EOF {
		return 0, err
	}
	return n, err
}

func (r *reader) Close() error { return r.body.Close() }
