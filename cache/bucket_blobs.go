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

// startStoring goes on with what the last run could not store.
func (c *Blobs) startStoring() {
	ctx, cancel := context.WithCancel(context.Background())
	c.storing, c.storingEnd = make(chan storing, mostStoring), cancel
	if c.disk != nil {
		for _, d := range c.disk.readList(unstoredList) {
			if _, there := c.disk.has(d); there && len(c.storing) < cap(c.storing) {
				c.storing <- storing{turn: &turn{}, digest: d, whole: true}
			}
		}
	}
	for range storers {
		c.storers.Go(func() { c.store(ctx) }) // until endStoring closes the queue
	}
}

// endStoring stores what it can before parting has passed, and notes the rest. All fills have ended.
func (c *Blobs) endStoring() error {
	if c.bucket == nil {
		return nil
	}
	var cancel context.CancelFunc
	c.farewell, cancel = context.WithTimeout(context.Background(), parting+bucketPatience)
	defer cancel()
	close(c.storing)
	patience := time.AfterFunc(parting, c.storingEnd)
	defer patience.Stop()
	c.storers.Wait()
	c.storingEnd()
	if c.disk == nil {
		return nil
	}
	return c.disk.writeList(unstoredList, c.unstored)
}

// store puts what is queued into the bucket. While that fails, the queue waits.
func (c *Blobs) store(ctx context.Context) {
	for s := range c.storing {
		if s.whole {
			s.whole = c.storeWhole(ctx, s)
		}
		err := persist(ctx, func() error { return s.turn.end(ctx, s.whole) })
		if err != nil && ctx.Err() != nil {
			err = s.turn.end(c.farewell, s.whole)
		}
		if err != nil {
			c.log.Debug("a lease is left to be taken over", "err", err)
		}
	}
}

// storeWhole reports whether the bucket has the blob now.
func (c *Blobs) storeWhole(ctx context.Context, s storing) bool {
	err := ctx.Err()
	if err == nil {
		err = persist(ctx, func() error { return c.storeBlob(ctx, s) })
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		c.mu.Lock()
		c.unstored = append(c.unstored, s.digest)
		c.mu.Unlock()
		return false
	default:
		c.log.Warn("a blob is not stored in the bucket", "digest", s.digest, "err", err)
	}
	c.events.BucketStored(err == nil)
	return err == nil
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
	c.bucket.removed.drop(key) // a purge from here on is noticed
	f, err := c.disk.open(s.digest)
	if f == nil && err == nil {
		err = errGone
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if !f.verified && !f.matches(s.digest) { // of the run before an unclean stop
		c.disk.drop(s.digest)
		return errGone
	}
	if there.Key != "" && there.Size == f.size {
		return nil
	}
	err = c.bucket.o.Store.Put(ctx, key, f.File, f.size)
	if err == nil && c.bucket.hides(key) { // purged meanwhile
		err = c.bucket.o.Store.Delete(ctx, key)
	}
	return err
}
