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
	warmTries = 3           // of one blob, each of which ends with an answer or with wrong bytes
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

// largest is the size of the largest blob that can be kept.
func (c *Blobs) largest() int64 {
	if c.disk == nil {
		return c.memory.Ceiling()
	}
	return c.capacity()
}

// capacity is how many bytes of blobs can be kept.
func (c *Blobs) capacity() int64 {
	if c.disk == nil {
		return c.memory.capacity()
	}
	u := c.Usage()
	return u.Limit - u.Records
}

func (m *Memory) capacity() int64 {
	if m == nil || m.cache == nil {
		return 0
	}
	return m.cache.MaxCost()
}

// catchUp waits until what was set is to be found.
func (m *Memory) catchUp() {
	if m == nil || m.cache == nil {
		return
	}
	m.closing.RLock()
	defer m.closing.RUnlock()
	if !m.closed {
		m.cache.Wait()
	}
}

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

// bring has a blob filled, and waits until it is complete and verified on the disk. It follows the fill like a reader, so that the
// fill does not take it for one that nobody waits for; the end of ctx leaves it running.
func (c *Blobs) bring(ctx context.Context, from Origin, d digest.Digest, filling func(*fill)) error {
	for try := 1; ; try++ {
		rd, err := c.openLocal(ctx, from, d, Whole)
		if rd == nil && err == nil {
			rd, err = c.follow(ctx, from, d, Whole)
		}
		switch {
		case errors.Is(err, errBusy), errors.Is(err, errForeign):
			if err := pause(ctx, warmWait); err != nil {
				return err
			}
			try--
			continue
		case err != nil:
			return err
		}
		w, follows := rd.body.(*follower)
		if !follows {
			return rd.Close()
		}
		filling(w.fill)
		err = c.await(ctx, w.fill)
		rd.Close()
		if err == nil || ctx.Err() != nil || try == warmTries || !errors.Is(err, ErrCorrupt) {
			return err
		}
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

// verified reports whether a blob is complete here and known to be right.
func (c *Blobs) verified(d digest.Digest) bool {
	if c.disk == nil {
		_, ok := c.memory.Blob(d)
		return ok
	}
	c.disk.mu.Lock()
	defer c.disk.mu.Unlock()
	e := c.disk.index[d]
	return e != nil && e.verified
}

// use looks whether a blob is here in the end. That counts as use: somebody has asked for it.
func (c *Blobs) use(d digest.Digest) (size int64, ok bool) {
	if c.disk == nil {
		c.memory.catchUp()
		b, ok := c.memory.Blob(d)
		return int64(len(b)), ok
	}
	f, err := c.disk.open(d)
	if f == nil || err != nil {
		return 0, false
	}
	defer f.Close()
	return f.size, f.verified
}
