package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const (
	warmTries = 3           // of one blob that comes with wrong bytes: what was there before, ranges, one plain stream
	warmWait  = time.Second // for a place among the fills
)

// warmBlob is a blob of one repository that is to be fetched. warmRun.mu guards what changes.
type warmBlob struct {
	name blobName
	from WarmSource
	size int64 // what manifests say of it

	queued bool
	fill   *fill // that fetches it now
	done   bool  // looked at, whatever came of it
	err    error // why it is not here
}

// measure says beforehand what will not fit.
func (r *warmRun) measure() {
	largest, bytes := r.blobs.largest(), r.sizes()
	var large []*warmBlob
	for _, w := range r.order {
		if w.size > largest {
			large = append(large, w)
		}
	}
	for _, w := range large {
		err := fmt.Errorf("it does not fit: it has %s, and the cache keeps blobs of up to %s", iec(w.size), iec(largest))
		r.note(fmt.Sprintf("blob %s of %s: %v", w.name.digest, w.name.Repo, err))
		r.mu.Lock()
		w.done, w.err = true, err
		r.mu.Unlock()
	}
	if room := r.blobs.capacity(); bytes > room {
		r.note(fmt.Sprintf("the blobs of these images have %s and the cache has room for %s: some will be given up for others", iec(bytes), iec(room)))
	}
}

func iec(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// fetchAll fetches the blobs, those of the first images first.
func (r *warmRun) fetchAll(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(warmBlobs)
	for _, w := range r.order {
		if w.done {
			continue
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			err := r.fetch(ctx, w)
			r.notice(w.name.Registry, true, err)
			r.mu.Lock()
			defer r.mu.Unlock()
			w.fill = nil
			if err == nil || ctx.Err() == nil {
				w.err, w.done = err, true
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return none
}

// fetch brings one blob here, unless it is here. Where upstream limits our requests, only that is looked at.
func (r *warmRun) fetch(ctx context.Context, w *warmBlob) error {
	if limit := r.limited(w.name.Registry, true); limit != nil {
		if _, err := r.blobs.seen.get(ctx, w.name.Repo, w.name.digest); err != nil || !r.blobs.verified(w.name.digest) {
			return limit
		}
		return nil
	}
	if r.blobs.disk == nil {
		return r.blobs.pass(ctx, w.from, w.name.digest)
	}
	return r.blobs.bring(ctx, w.from, w.name.digest, func(f *fill) {
		r.mu.Lock()
		defer r.mu.Unlock()
		w.fill = f
	})
}

// bring has a blob filled, and waits until it is complete and verified on the disk. One that comes with wrong bytes is fetched
// again, at last by one plain stream. The end of ctx leaves the fill running.
func (c *Blobs) bring(ctx context.Context, from Origin, d digest.Digest, filling func(*fill)) error {
	for try := 1; ; try++ {
		if err := c.reprieved(ctx, blobName{from.Repo(), d}); err != nil {
			return err
		}
		plain := c.isAlone(d)
		err := c.bringOnce(ctx, from, d, filling)
		if !errors.Is(err, ErrCorrupt) || plain || try == warmTries {
			return err
		}
	}
}

// reprieved waits until a blob that came with wrong bytes may be asked for again, though not for ever: others ask for it too.
func (c *Blobs) reprieved(ctx context.Context, name blobName) error {
	for range 2 * corruptFor / warmWait {
		if err, known := c.refused.get(name); !known || !errors.Is(err, ErrCorrupt) {
			return nil
		}
		if err := pause(ctx, warmWait); err != nil {
			return err
		}
	}
	return nil
}

func (c *Blobs) isAlone(d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alone[d]
}

// bringOnce follows the fill like a reader, so that it does not take itself for one that nobody waits for.
func (c *Blobs) bringOnce(ctx context.Context, from Origin, d digest.Digest, filling func(*fill)) error {
	for {
		rd, err := c.openLocal(ctx, from, d, Whole)
		if rd == nil && err == nil {
			rd, err = c.follow(ctx, from, d, Whole)
		}
		switch {
		case errors.Is(err, errBusy), errors.Is(err, errForeign):
			if err := pause(ctx, warmWait); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		w, follows := rd.body.(*follower)
		if !follows {
			return rd.Close()
		}
		filling(w.fill)
		defer rd.Close()
		return c.await(ctx, w.fill)
	}
}

// await waits for the end of a fill.
func (c *Blobs) await(ctx context.Context, f *fill) error {
	select {
	case <-f.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err == nil && !c.verified(f.digest) {
		return errors.New("it came and could not be kept: see the log of the server")
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pass reads a blob through, so that the memory tier may keep it where there is no other.
func (c *Blobs) pass(ctx context.Context, from Origin, d digest.Digest) error {
	rd, err := c.Open(ctx, from, d, Whole)
	if err != nil {
		return err
	}
	_, err = rd.WriteTo(struct{ io.Writer }{io.Discard})
	return errors.Join(err, rd.Close())
}
