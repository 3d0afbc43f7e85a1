package cache

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
)

// errBusy says that as many fills run as may.
var errBusy = errors.New("too many fills")

// follow attaches a reader to the blob's fill, beginning one if there is none.
func (c *Blobs) follow(ctx context.Context, from Origin, d digest.Digest, r Range) (*Reader, error) {
	for {
		f, began, err := c.fillFor(from, d)
		if errors.Is(err, errBusy) {
			return c.stream(ctx, from, d, r, "busy")
		}
		if err != nil {
			return nil, err
		}
		if f == nil { // it became complete just now
			if rd, err := c.openLocal(ctx, from, d, r); rd != nil || err != nil {
				return rd, err
			}
			continue
		}
		if !began && f.failed() { // its end is being put in order; what comes after is a new fill
			select {
			case <-f.ended:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		if !began {
			c.events.FillJoined()
			if f.from.Repo() != from.Repo() {
				if _, err := c.prove(ctx, from, d); err != nil {
					return nil, err
				}
			}
		}
		w, err := f.attach(ctx, r)
		if errors.Is(err, errMoved) || errors.Is(err, ErrCorrupt) && f.resumed || isAnswer(err) && f.from.Repo() != from.Repo() {
			<-f.ended // at once; then there is a blob, or a new fill, or one that asks this repository
			continue
		}
		if err != nil {
			return nil, err
		}
		tier := TierUpstream
		if f.blob != nil {
			tier = TierDisk
		} else if !w.hold {
			c.events.Unverified()
		}
		w.stream = c.restOf(ctx, from, d, w)
		return newReader(f.sizeNow(), w.pos, w.end, tier, w), nil
	}
}

// fillFor gives the fill of a blob, beginning one if there is none; nil when the blob is complete and verified.
func (c *Blobs) fillFor(from Origin, d digest.Digest) (f *fill, began bool, err error) {
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
		return nil, false, errBusy
	}
	f = newFill(c, from, d)
	f.alone = c.alone[d]
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
	c.mu.Lock()
	delete(c.fills, f.digest)
	c.mu.Unlock()
	close(f.ended)
}

// conclude puts the file of a fill where it belongs, and what was learnt where it is remembered.
func (c *Blobs) conclude(f *fill, have extents, size int64, err error) Outcome {
	if f.blob != nil {
		return c.concludeCheck(f, err)
	}
	switch {
	case err == nil:
		if err := f.part.commit(size); err != nil {
			c.log.Error("a blob was served but cannot be kept", "digest", f.digest, "err", err)
			return FillFailed
		}
		c.setAlone(f.digest, false)
		return FillComplete
	case f.part == nil:
		c.refuse(blobName{f.from.Repo(), f.digest}, err)
	case errors.Is(err, ErrCorrupt):
		c.log.Error("upstream sent wrong bytes", "repository", f.from.Repo().String(), "digest", f.digest)
		if !f.resumed { // else the wrong bytes may be those of an earlier fill: begin anew at once
			c.setAlone(f.digest, true)
			c.refuse(blobName{f.from.Repo(), f.digest}, err)
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

// concludeCheck ends the first use of a blob after an unclean stop.
func (c *Blobs) concludeCheck(f *fill, err error) Outcome {
	defer f.blob.Close()
	switch {
	case err == nil:
		c.disk.setVerified(f.digest, true)
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
