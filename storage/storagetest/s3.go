package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// Bucket is s with no more than an S3 server has: times are in whole seconds (or what stands for a second), listings come
// in pages, each of which is what was there when it was asked for, and nothing deletes on condition or takes over files.
func Bucket(s storage.Store, second time.Duration, page int) storage.Store {
	return &bucket{s, second, page}
}

type bucket struct {
	storage.Store
	second time.Duration
	page   int
}

func (b *bucket) whole(info storage.Info) storage.Info {
	info.Modified = info.Modified.Truncate(b.second)
	return info
}

func (b *bucket) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := b.Store.Stat(ctx, key)
	return b.whole(info), err
}

func (b *bucket) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, storage.Info, error) {
	r, info, err := b.Store.Open(ctx, key, off, n)
	return r, b.whole(info), err
}

func (b *bucket) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for {
			page, err := b.listPage(ctx, prefix, after)
			for _, info := range page {
				if err := ctx.Err(); err != nil {
					yield(storage.Info{}, err)
					return
				}
				if after = info.Key; !yield(b.whole(info), nil) {
					return
				}
			}
			if err != nil {
				yield(storage.Info{}, err)
				return
			}
			if len(page) < b.page {
				return
			}
		}
	}
}

func (b *bucket) listPage(ctx context.Context, prefix, after string) (page []storage.Info, err error) {
	for info, err := range b.Store.List(ctx, prefix, after) {
		if err != nil {
			return page, err
		}
		if page = append(page, info); len(page) == b.page {
			return page, nil
		}
	}
	return page, nil
}

// Fate is what becomes of the request of a write.
type Fate int

const (
	Answered Fate = iota
	Lost          // it takes effect, and its answer is lost: the client sends it again
	Late          // the client sends it again, and it takes effect after that
)

// attempts is how often a client sends a request.
const attempts = 3

// Client is a bucket as storage/s3 asks it, with a hook around each request: what is absent is asked for twice, and a write
// whose answer does not come is sent again, and read back where it is then refused. fate decides about each request of a
// write but the last. late gets those that are still on their way, and lets them land when it likes.
func Client(bucket storage.Store, hook Hook, fate func() Fate, late func(op Op, key string, land func())) storage.Store {
	return &s3Client{Around(bucket, hook), bucket, fate, late}
}

type s3Client struct {
	storage.Store
	server storage.Store // where no hook waits
	fate   func() Fate
	late   func(op Op, key string, land func())
}

// send sends a write until an answer comes, and reports whether that was the first.
func (c *s3Client) send(ctx context.Context, op Op, key string, do func(context.Context, storage.Store) error) (first bool, err error) {
	for n := 1; n < attempts; n++ {
		fate := Answered
		if ctx.Err() == nil {
			fate = c.fate()
		}
		switch fate {
		case Answered:
			return n == 1, do(ctx, c.Store)
		case Lost:
			_ = do(ctx, c.Store)
		case Late:
			c.late(op, key, func() { _ = do(context.WithoutCancel(ctx), c.server) })
		}
	}
	return false, do(ctx, c.Store)
}

func (c *s3Client) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	content, err := io.ReadAll(storage.Body(ctx, body, size))
	if err != nil {
		return err
	}
	_, err = c.send(ctx, Put, key, func(ctx context.Context, s storage.Store) error {
		return s.Put(ctx, key, bytes.NewReader(content), int64(len(content)))
	})
	return err
}

func (c *s3Client) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (now storage.Version, err error) {
	record = bytes.Clone(record)
	first, err := c.send(ctx, PutIf, key, func(ctx context.Context, s storage.Store) error {
		v, err := s.PutIf(ctx, key, record, was)
		if err == nil {
			now = v
		}
		return err
	})
	if err == nil {
		return now, nil
	}
	if !first && ctx.Err() == nil {
		if current, version, got := c.Store.Get(ctx, key); got == nil && bytes.Equal(current, record) {
			return version, nil
		}
	}
	return storage.Absent, err
}

func (c *s3Client) Delete(ctx context.Context, key string) error {
	_, err := c.send(ctx, Delete, key, func(ctx context.Context, s storage.Store) error { return s.Delete(ctx, key) })
	return err
}

func (c *s3Client) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := c.Store.Stat(ctx, key)
	if !errors.Is(err, storage.ErrNotFound) {
		return info, err
	}
	r, info, err := c.Store.Open(ctx, key, 0, -1)
	if err != nil {
		return storage.Info{}, err
	}
	return info, r.Close()
}
