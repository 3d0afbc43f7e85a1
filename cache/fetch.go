package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"
)

const (
	firstChunk  = 1 << 20 // the first request: small, so that its answer also tells the size early
	chunkBytes  = 4 << 20
	aheadBytes  = 8 << 20 // how far ahead of a reader's position its range is wanted
	maxParallel = 8       // requests of one fill for its front
	maxDemanded = 16      // requests of one fill when readers wait elsewhere
)

// errChanged says that what an earlier fill left is not of the blob that upstream has now.
var errChanged = errors.New("the blob has another size now")

// open asks upstream for the first bytes that are missing. The answer tells whether there is such a blob, its size, and
// whether ranges work. Nobody has been promised anything before that.
func (f *fill) open(ctx context.Context) (*source, error) {
	part, err := f.blobs.disk.resume(f.digest)
	if part != nil {
		var src *source
		if src, err = f.resume(ctx, part); !errors.Is(err, errChanged) {
			return src, err
		}
	}
	if err != nil {
		f.blobs.log.Warn("a partial blob cannot be resumed; it is fetched anew", "digest", f.digest, "err", err)
	}
	want := span{0, firstChunk}
	p, err := f.ask(ctx, want)
	if err != nil {
		return nil, err
	}
	if part, err = f.blobs.disk.create(f.digest, p.Size); err != nil {
		p.Body.Close()
		return nil, err
	}
	f.adopt(part)
	return f.begin(ctx, want, p)
}

// resume goes on with what an earlier fill left. Where nothing is missing but the verdict, there is no source.
func (f *fill) resume(ctx context.Context, part *partial) (*source, error) {
	gap, missing := part.have.gap(0, part.size)
	if !missing {
		f.adopt(part)
		_, err := f.blobs.prove(ctx, f.from, f.digest)
		if err == nil {
			f.settle(part.size, true)
		}
		return nil, err
	}
	want := span{gap.from, min(gap.to, gap.from+firstChunk)}
	p, err := f.ask(ctx, want)
	var none *RangeError
	switch {
	case errors.As(err, &none):
		part.discard()
		return nil, fmt.Errorf("%w: %w", errChanged, err)
	case err != nil:
		return nil, errors.Join(err, part.park(part.have))
	case p.Size != part.size:
		p.Body.Close()
		part.discard()
		return nil, fmt.Errorf("%w: %d bytes instead of %d", errChanged, p.Size, part.size)
	}
	f.adopt(part)
	return f.begin(ctx, want, p)
}

// ask opens [want.from, want.to), and finds the size out where the answer does not tell it.
func (f *fill) ask(ctx context.Context, want span) (Part, error) {
	off, n := want.from, want.to-want.from
	if f.plain && off == 0 {
		n = -1
	}
	p, err := f.from.FetchBlob(ctx, f.digest, off, n)
	if err != nil || p.Size >= 0 {
		return p, err
	}
	if size := f.blobs.hints.size(f.from.Repo(), f.digest); size >= 0 {
		p.Size = size
		return p, nil
	}
	if size, err := f.from.StatBlob(ctx, f.digest); err == nil { // else the bytes that are here will do
		p.Size = size
	}
	if p.Size < 0 && p.Ranged { // a range of nobody knows what: ask for all of it
		p.Body.Close()
		return f.from.FetchBlob(ctx, f.digest, 0, -1)
	}
	return p, nil
}

func (f *fill) adopt(part *partial) {
	f.mu.Lock()
	f.part, f.have, f.resumed = part, part.have, len(part.have) > 0
	f.mu.Unlock()
}

// begin turns the first answer into the first stretch of work and lets readers attach.
func (f *fill) begin(ctx context.Context, want span, p Part) (*source, error) {
	f.blobs.seen.Add(ctx, f.from.Repo(), f.digest, "", p.Size)
	if !p.Ranged {
		want = span{f.keepFront(), toTheEnd}
	}
	if p.Size >= 0 {
		want.to = min(want.to, p.Size)
	}
	f.settle(p.Size, p.Ranged)
	src := f.source(ctx, want)
	err := src.use(p)
	if err != nil { // readers wait by now: a drop is resumed like a later one
		err = src.again(err)
	}
	return src, err
}

// keepFront forgets what an earlier fill left behind the front, since it is to be written again: a reader could take the old
// bytes and the hash the new ones.
func (f *fill) keepFront() (front int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	front = f.have.reach(0)
	f.have = nil
	f.have.add(0, front)
	return front
}

func (f *fill) source(ctx context.Context, want span) *source {
	return &source{ctx: ctx, from: f.from, digest: f.digest, size: f.size, pos: want.from, end: want.to, plain: f.plain,
		resumed: f.blobs.events.FillResumed, jitter: f.blobs.jitter, unranged: f.unrange}
}

// unrange has the rest fetched by one stream: whoever has it ignores ranges.
func (f *fill) unrange() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ranged = false
}

// dispatch hands stretches of the blob to workers until every byte is had or being fetched. It ends before its workers.
func (f *fill) dispatch(ctx context.Context, g *errgroup.Group, first *source) error {
	if first != nil {
		f.mu.Lock()
		f.hand(ctx, g, span{first.pos, first.end}, first)
		f.mu.Unlock()
	}
	for {
		f.mu.Lock()
		want, more := f.next()
		for want.from < want.to && f.mayHire() {
			f.hand(ctx, g, want, nil)
			want, more = f.next()
		}
		f.mu.Unlock()
		if !more {
			return nil
		}
		select {
		case <-f.hire:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// next chooses the stretch to fetch now: what a reader waits for, else the lowest that is missing. An empty one means that
// there are enough workers; more says whether anything is left to be fetched. The caller holds mu.
func (f *fill) next() (want span, more bool) {
	if f.size < 0 {
		return span{}, false // one stream has it all
	}
	busy := append(extents(nil), f.have...)
	for _, t := range f.taken {
		busy.add(t.from, t.to)
	}
	front, more := busy.gap(0, f.size)
	switch {
	case !more:
		return span{}, false
	case !f.ranged && f.workers > 0:
		return span{}, true
	case !f.ranged: // all at once, since each request costs what is before it too
		return front, true
	}
	if f.workers < maxDemanded {
		for r := range f.readers {
			if !r.waits {
				continue
			}
			if gap, ok := busy.gap(r.pos, min(r.end, r.pos+aheadBytes)); ok {
				free, _ := busy.gap(gap.from, f.size) // no byte twice
				return span{gap.from, min(max(gap.to, gap.from+firstChunk), gap.from+chunkBytes, free.to)}, true
			}
		}
	}
	limit := maxParallel
	if len(f.readers) == 0 || f.plain || f.supply.one() {
		limit = 1
	}
	if f.workers >= limit {
		return span{}, true
	}
	return span{front.from, min(front.to, front.from+chunkBytes)}, true
}

// mayHire reports whether one more worker may run: the first of a fill always, further ones while the cache has some to
// spare. The caller holds mu, and hands out work when the answer is yes.
func (f *fill) mayHire() bool { return f.workers == 0 || f.blobs.extra.TryAcquire(1) }

// hand starts a worker for one stretch. The caller holds mu.
func (f *fill) hand(ctx context.Context, g *errgroup.Group, want span, src *source) {
	extra := f.workers > 0
	f.workers++
	f.taken = append(f.taken, want)
	g.Go(func() error { // ends with its stretch, or with ctx
		err := contained(func() error { return f.fetch(ctx, want, src) })()
		if extra {
			f.blobs.extra.Release(1)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.workers--
		f.untake(want)
		f.callForHands()
		return err
	})
}

func (f *fill) untake(s span) {
	for i, t := range f.taken {
		if t == s {
			f.taken = append(f.taken[:i], f.taken[i+1:]...)
			return
		}
	}
}

// coming reports whether a worker is fetching the stretch around a byte. The caller holds mu.
func (f *fill) coming(off int64) bool {
	return slices.ContainsFunc(f.taken, func(t span) bool { return t.from <= off && off < t.to })
}

func (f *fill) callForHands() {
	select {
	case f.hire <- struct{}{}:
	default:
	}
}

// fetch writes one stretch into the file as it arrives.
func (f *fill) fetch(ctx context.Context, want span, src *source) error {
	if src == nil {
		src = f.source(ctx, want)
	}
	defer src.Close()
	buf := f.blobs.buffers.Get().(*[]byte)
	defer f.blobs.buffers.Put(buf)
	for {
		at := src.pos
		n, err := src.Read(*buf)
		if err == io.EOF {
			f.complete(src.pos)
			return nil
		}
		if err != nil {
			return fmt.Errorf("fetch bytes %d-%d of blob %s: %w", at, want.to-1, f.digest, err)
		}
		if err := f.part.grow(at + int64(n)); err != nil {
			return err
		}
		if _, err := f.part.file.WriteAt((*buf)[:n], at); err != nil {
			return diskError("write blob", f.digest, err)
		}
		f.land(at, at+int64(n))
	}
}

// complete tells the size of a blob of unknown size, once its stream has ended.
func (f *fill) complete(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size < 0 {
		f.size = size
		f.wakeAll()
	}
}
