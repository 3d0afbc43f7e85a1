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
	persistence = 10 * time.Minute
)

// storing is what is left to be done in the bucket after a fill.
type storing struct {
	turn   *turn // ends then
	digest digest.Digest
	whole  bool // the blob is to be there
	absent bool // it is known not to be
}

// settle draws the conclusions of a fill for the other servers: what upstream gave goes to the bucket, and who waits for the
// lease learns that it is free.
func (c *Blobs) settle(f *fill) {
	s := f.supply
	s.mu.Lock()
	todo := storing{turn: s.turn, digest: f.digest, whole: s.fetched && !f.failed() && !s.Repo().none()}
	s.mu.Unlock()
	todo.turn.rest()
	todo.absent = todo.turn.ours()
	if c.bucket == nil || !todo.whole && !todo.absent {
		return
	}
	if !todo.whole && todo.turn.end(context.WithoutCancel(c.ctx), false) == nil { // at once: a queue of these would be filled by strangers
		return
	}
	if _, bad := c.bucket.shunned.get(f.digest); bad {
		todo.absent = true // or not to be believed
	}
	select {
	case c.storing <- todo:
	default: // the lease is taken over in the end
		if todo.whole {
			c.events.BucketStored(false)
		}
	}
}

// store puts what is queued into the bucket. While that fails, the queue waits. It ends at Close.
func (c *Blobs) store() {
	for c.ctx.Err() == nil {
		select {
		case s := <-c.storing:
			c.storeOne(s)
		case <-c.ctx.Done():
		}
	}
}

func (c *Blobs) storeOne(s storing) {
	if s.whole {
		err := persist(c.ctx, func() error { return c.storeBlob(c.ctx, s) })
		if err != nil {
			c.log.Warn("a blob is not stored in the bucket", "digest", s.digest, "err", err)
		}
		c.events.BucketStored(err == nil)
		s.whole = err == nil
	}
	closing := context.WithoutCancel(c.ctx) // at Close it is tried once
	if err := persist(c.ctx, func() error { return s.turn.end(closing, s.whole) }); err != nil {
		c.log.Debug("a lease is left to be taken over", "err", err)
	}
}

// release tells other servers that nothing is fetched or stored here any more, as long as the bucket takes it.
func (c *Blobs) release() {
	ctx, cancel := context.WithTimeout(context.Background(), parting)
	defer cancel()
	for err := error(nil); err == nil && len(c.storing) > 0; {
		err = (<-c.storing).turn.end(ctx, false)
	}
}

// persist does something in the bucket, again and again while that does not answer, until ctx ends or persistence does: what the
// bucket never takes must not keep the rest from it.
func persist(ctx context.Context, do func() error) error {
	for began := time.Now(); ; {
		err := do()
		answered := !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded)
		if answered || time.Since(began) > persistence {
			return err
		}
		timer := time.NewTimer(bucketRest)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// storeBlob stores a blob that the disk tier still has, and that the bucket has not, or with another size.
func (c *Blobs) storeBlob(ctx context.Context, s storing) error {
	key := bucketBlob(s.digest)
	var there storage.Info // of no key: it is not there
	if !s.absent {
		var err error
		if there, err = c.bucket.o.Store.Stat(ctx, key); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
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
	if there.Key != "" && there.Size == f.size {
		return nil
	}
	c.bucket.removed.drop(key)
	err = c.bucket.o.Store.Put(ctx, key, f.File, f.size)
	if err == nil && c.bucket.hides(key) { // purged meanwhile
		err = c.bucket.o.Store.Delete(ctx, key)
	}
	return err
}
