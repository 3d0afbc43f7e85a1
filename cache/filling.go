package cache

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
)

var (
	errBusy    = errors.New("too many fills")                        // as many run as may
	errForeign = errors.New("a fill of another kind of origin runs") // see apart
)

// follow attaches a reader to the blob's fill, beginning one if there is none.
func (c *Blobs) follow(ctx context.Context, from Origin, d digest.Digest, r Range) (*Reader, error) {
	for {
		f, began, err := c.fillFor(ctx, from, d)
		if err != nil {
			return nil, err
		}
		if f == nil { // it became complete just now
			if rd, err := c.openLocal(ctx, from, d, r); rd != nil || err != nil {
				return rd, err
			}
			continue
		}
		if !began && f.apart(from) {
			return nil, errForeign
		}
		if !began {
			c.events.FillJoined()
		}
		rd, err := (*Reader)(nil), errMoved
		if began || !f.failed() { // else its end is being put in order
			rd, err = c.join(ctx, f, from, r)
		}
		if !errors.Is(err, errMoved) {
			return rd, err
		}
		select { // then there is a blob, or a new fill, or one that asks this repository
		case <-f.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// apart: what is hosted waits for no upstream, nor the other way round, so that neither fails for the other's sake.
func (f *fill) apart(from Origin) bool {
	return f.blob == nil && f.from.Repo().none() != from.Repo().none()
}

// join attaches a reader to a fill. errMoved says that the fill has ended in a way that is no answer to this reader.
func (c *Blobs) join(ctx context.Context, f *fill, from Origin, r Range) (*Reader, error) {
	foreign := f.from.Repo() != from.Repo()
	if foreign {
		if _, err := c.prove(ctx, from, f.digest); err != nil {
			return nil, err
		}
	}
	w, err := f.attach(ctx, r)
	switch {
	case err == nil:
	case errors.Is(err, errDisk), errors.Is(err, errNoRoom):
		return nil, err
	case errors.Is(err, ErrCorrupt) && (f.resumed || f.blob != nil || f.supply.doubtful()), // upstream may have better bytes
		f.failed() && foreign: // this repository's registry may do better
		return nil, errMoved
	default:
		return nil, err
	}
	tier := f.supply.tier()
	if f.blob != nil {
		tier = TierDisk
	}
	if !w.hold {
		c.events.Unverified()
	}
	w.stream = c.restOf(ctx, from, w)
	return newReader(w.size, w.pos, w.end, tier, w), nil
}

// fillFor gives the fill of a blob, beginning one if there is none; nil when the blob is complete and verified. What is
// known to be in vain is not begun.
func (c *Blobs) fillFor(ctx context.Context, from Origin, d digest.Digest) (f *fill, began bool, err error) {
	if err, known := c.refused.get(blobName{from.Repo(), d}); known {
		return nil, false, err
	}
	if c.hints.size(from.Repo(), d) > c.disk.limit {
		return nil, false, errNoRoom
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.fills[d]; f != nil {
		return f, false, nil
	}
	if c.closed {
		return nil, false, errPaused
	}
	blob, err := c.disk.open(d)
	if err != nil {
		return nil, false, err
	}
	if blob != nil && blob.verified {
		return nil, false, blob.Close()
	}
	if len(c.fills) >= c.maxFills {
		if blob != nil {
			blob.Close()
		}
		return nil, false, errBusy
	}
	f = newFill(c, c.supplied(ctx, from, d), d)
	f.plain = c.alone[d]
	if blob != nil {
		f.blob = blob
		f.have.add(0, blob.size)
	}
	c.fills[d] = f
	c.wg.Go(func() { c.run(f) })
	c.events.FillStarted()
	return f, true, nil
}

// run runs one fill to its end, which comes at the latest with Close.
func (c *Blobs) run(f *fill) {
	f.run(c.ctx)
	if f.failed() {
		c.settle(f) // before the next fill can take the lease
	}
	c.mu.Lock()
	delete(c.fills, f.digest)
	c.mu.Unlock()
	close(f.ended)
	if !f.failed() {
		c.settle(f)
	}
}

// conclude puts the file of a fill where it belongs, and what was learnt where it is remembered.
func (c *Blobs) conclude(f *fill, have extents, size int64, err error) Outcome {
	if f.blob != nil {
		return c.concludeCheck(f, err)
	}
	switch {
	case err == nil:
		err := f.part.sync() // takes time; readers may come meanwhile
		f.hide()
		if err == nil {
			err = f.part.commit(size)
		} else {
			f.part.discard()
		}
		if err != nil {
			c.log.Error("a blob was served but cannot be kept", "digest", f.digest, "err", err)
			return FillFailed
		}
		c.setAlone(f.digest, false)
		return FillComplete
	case f.part == nil:
		c.refuse(blobName{f.from.Repo(), f.digest}, err)
	case errors.Is(err, ErrCorrupt):
		switch {
		case f.supply.doubtful():
			c.bucket.shun(c.ctx, f.digest)
		case f.resumed: // the wrong bytes may be those of an earlier fill: begin anew at once
			c.log.Warn("a resumed blob has wrong bytes; it will be fetched anew", "digest", f.digest)
		default:
			c.setAlone(f.digest, true)
			c.corrupt(blobName{f.from.Repo(), f.digest})
		}
		f.part.discard()
		return FillCorrupt
	case errors.Is(err, errDisk), errors.Is(err, errNoRoom):
		f.part.discard()
	default:
		if err := f.part.park(have); err != nil {
			c.log.Warn("a partial blob cannot be kept", "digest", f.digest, "err", err)
		}
	}
	if errors.Is(err, errPaused) {
		return FillPaused
	}
	return FillFailed
}

// corrupt notes that a registry, or the store of what is hosted, sent wrong bytes.
func (c *Blobs) corrupt(name blobName) {
	if name.Repo.none() {
		c.log.Error("a hosted blob is damaged in its store", "digest", name.digest)
	} else {
		c.log.Error("upstream sent wrong bytes", "repository", name.Repo.String(), "digest", name.digest)
	}
	c.refuse(name, ErrCorrupt)
}

// concludeCheck ends the first use of a blob after an unclean stop.
func (c *Blobs) concludeCheck(f *fill, err error) Outcome {
	defer f.blob.Close()
	switch {
	case err == nil:
		c.disk.setVerified(f.digest)
		return FillComplete
	case errors.Is(err, errPaused):
		return FillPaused
	}
	c.log.Error("a cached blob is damaged; it will be fetched again", "digest", f.digest, "err", err)
	c.disk.drop(f.digest)
	return FillCorrupt
}

// setAlone says whether the next fill of a blob is to use one plain stream: parallel ranges may have been cut wrongly.
func (c *Blobs) setAlone(d digest.Digest, alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if alone && len(c.alone) < rememberedSize {
		c.alone[d] = true
	} else {
		delete(c.alone, d)
	}
}
