package cache

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
)

const (
	mostStoring = 4096 // blobs that wait for the bucket
	storers     = 2    // blobs on their way there at once
)

// storing is a blob of the disk tier that is to be in the bucket.
type storing struct {
	digest digest.Digest
	absent bool  // it is known not to be there
	turn   *turn // ends when it is, or cannot be
}

// settle draws the conclusions of a fill for the other servers: what upstream gave goes to the bucket, and who waits for the
// lease learns that it is free.
func (c *Blobs) settle(f *fill) {
	s := f.supply
	s.mu.Lock()
	turn, fetched, absent := s.turn, s.fetched, s.turn.ours()
	s.mu.Unlock()
	turn.rest()
	if f.failed() || !fetched || c.bucket == nil {
		turn.end()
		return
	}
	if _, bad := c.bucket.shunned.get(f.digest); bad {
		absent = true // or not to be believed
	}
	select {
	case c.storing <- storing{f.digest, absent, turn}:
	default:
		c.events.BucketStored(false)
		turn.end()
	}
}

// store puts what is queued into the bucket. While that fails, the queue waits. It ends at Close.
func (c *Blobs) store() {
	for {
		select {
		case s := <-c.storing:
			err := c.storeBlob(c.ctx, s)
			for errors.Is(err, storage.ErrUnavailable) && c.sleep(bucketRest) {
				err = c.storeBlob(c.ctx, s)
			}
			if err != nil {
				c.log.Warn("a blob is not stored in the bucket", "digest", s.digest, "err", err)
			}
			c.events.BucketStored(err == nil)
			s.turn.end()
		case <-c.ctx.Done():
			return
		}
	}
}

// release tells the other servers that nothing is fetched or stored here any more.
func (c *Blobs) release() {
	for len(c.storing) > 0 {
		(<-c.storing).turn.end()
	}
}

func (c *Blobs) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// storeBlob stores a blob that the disk tier still has.
func (c *Blobs) storeBlob(ctx context.Context, s storing) error {
	key := bucketBlob(s.digest)
	if !s.absent {
		if _, err := c.bucket.o.Store.Stat(ctx, key); !errors.Is(err, storage.ErrNotFound) {
			return err // or nil: it is there
		}
	}
	f, err := c.disk.open(s.digest)
	if f == nil && err == nil {
		err = errGone
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return c.bucket.o.Store.Put(ctx, key, f.File, f.size)
}
