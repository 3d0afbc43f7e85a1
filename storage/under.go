package storage

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Under is the part of s whose keys begin with prefix and a slash, under keys without them. Nothing outside can be named
// through it, so whoever holds only the view cannot harm the rest.
func Under(s Store, prefix string) Store {
	return &under{store: s, prefix: strings.TrimSuffix(prefix, "/") + "/"}
}

type under struct {
	store  Store
	prefix string
}

// outer is checked before the prefix is put on, so that the promise does not rest on the store below.
func (u *under) outer(key string) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", err
	}
	return u.prefix + key, nil
}

func (u *under) inner(info Info) Info {
	info.Key = strings.TrimPrefix(info.Key, u.prefix)
	return info
}

func (u *under) Stat(ctx context.Context, key string) (Info, error) {
	outer, err := u.outer(key)
	if err != nil {
		return Info{}, err
	}
	info, err := u.store.Stat(ctx, outer)
	return u.inner(info), err
}

func (u *under) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, Info, error) {
	outer, err := u.outer(key)
	if err != nil {
		return nil, Info{}, err
	}
	r, info, err := u.store.Open(ctx, outer, off, n)
	return r, u.inner(info), err
}

func (u *under) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	outer, err := u.outer(key)
	if err != nil {
		return err
	}
	return u.store.Put(ctx, outer, body, size)
}

func (u *under) Get(ctx context.Context, key string) ([]byte, Version, error) {
	outer, err := u.outer(key)
	if err != nil {
		return nil, Absent, err
	}
	return u.store.Get(ctx, outer)
}

func (u *under) PutIf(ctx context.Context, key string, record []byte, was Version) (Version, error) {
	outer, err := u.outer(key)
	if err != nil {
		return Absent, err
	}
	return u.store.PutIf(ctx, outer, record, was)
}

func (u *under) Delete(ctx context.Context, key string) error {
	outer, err := u.outer(key)
	if err != nil {
		return err
	}
	return u.store.Delete(ctx, outer)
}

func (u *under) DeleteIf(ctx context.Context, key string, was Version) error {
	outer, err := u.outer(key)
	if err != nil {
		return err
	}
	return DeleteIf(ctx, u.store, outer, was)
}

func (u *under) Link(ctx context.Context, key, path string) error {
	outer, err := u.outer(key)
	if err != nil {
		return err
	}
	return Link(ctx, u.store, outer, path)
}

func (u *under) Presign(ctx context.Context, key string, life time.Duration) (string, error) {
	outer, err := u.outer(key)
	if err != nil {
		return "", err
	}
	return Presign(ctx, u.store, outer, life)
}

func (u *under) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := CheckPrefix(prefix); err != nil {
			yield(Info{}, fmt.Errorf("list under %s: %w", u.prefix, err))
			return
		}
		for info, err := range u.store.List(ctx, u.prefix+prefix, u.prefix+after) {
			if !yield(u.inner(info), err) {
				return
			}
		}
	}
}
