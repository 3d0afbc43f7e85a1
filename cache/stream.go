package cache

import (
	"bufio"
	"context"
	"errors"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// stream serves a blob past the disk tier: one upstream GET per reader, verified as it passes. It is how a pull succeeds
// when the disk is full, broken or absent, or the cache smaller than the blob.
func (c *Blobs) stream(ctx context.Context, from Origin, d digest.Digest, r Range, reason string) (*Reader, error) {
	name := blobName{from.Repo(), d}
	if err, known := c.refused.get(name); known {
		return nil, err
	}
	size, want := int64(-1), span{0, -1}
	if r != Whole { // which has to be known before the range can be asked for
		var err error
		if size, want, err = c.streamRange(ctx, from, d, r); err != nil {
			return nil, err
		}
	}
	var h hash.Hash
	whole := want == span{0, size}
	if whole {
		h = d.Algorithm().Hash()
	}
	s, err := c.openStream(ctx, from, d, size, want, h)
	if err != nil {
		c.refuse(name, err)
		return nil, err
	}
	c.events.Streamed(reason)
	if !whole {
		c.events.Unverified()
	} else {
		size, want.to = s.src.size, s.src.size
	}
	if whole && size >= 0 && size <= max(smallBlob, c.memory.Ceiling()) {
		rd, err := c.streamSmall(s, d, size)
		if errors.Is(err, ErrCorrupt) && s.supply.doubtful() {
			return c.stream(ctx, from, d, r, reason) // from upstream alone now
		}
		return rd, err
	}
	c.seen.Add(ctx, name.Repo, d, "", size)
	return newReader(size, want.from, want.to, s.supply.tier(), s), nil
}

// streamRange finds the size of a blob and resolves a range against it. Where nobody knows the size, there are no ranges.
func (c *Blobs) streamRange(ctx context.Context, from Origin, d digest.Digest, r Range) (size int64, want span, err error) {
	if size, err = c.prove(ctx, from, d); err != nil {
		return 0, span{}, err
	}
	if size < 0 {
		size = c.hints.size(from.Repo(), d)
	}
	if size < 0 {
		return size, span{0, -1}, nil
	}
	want.from, want.to, err = r.Of(d, size)
	return size, want, err
}

// openStream opens a part of a blob, which cannot be verified, or with a hash all of it or the end of it; the hash has
// what comes before. The size may be unknown (-1) then.
func (c *Blobs) openStream(ctx context.Context, from Origin, d digest.Digest, size int64, want span, h hash.Hash) (*streamed, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(errPaused) })
	s := &streamed{digest: d, hash: h, blobs: c, cancel: func() { stop(); cancel(nil) }}
	supply := c.supplied(ctx, from, d)
	supply.single = true
	s.supply = supply
	s.src = &source{ctx: ctx, from: supply, digest: d, size: size, pos: want.from, end: want.to, plain: h != nil,
		resumed: c.events.FillResumed, jitter: c.jitter}
	off, n := want.from, want.to-want.from
	if size < 0 || h != nil && off == 0 {
		off, n = 0, -1
	}
	p, err := supply.FetchBlob(ctx, d, off, n)
	if err == nil {
		if size < 0 {
			s.measure(p)
		}
		err = s.src.use(p)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// streamSmall reads a small blob whole, so that a wrong digest is a status and not a cut, and so that memory may keep it.
func (c *Blobs) streamSmall(s *streamed, d digest.Digest, size int64) (*Reader, error) {
	defer s.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(s, b); err != nil {
		return nil, err
	}
	if n, err := s.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return nil, errors.Join(ErrCorrupt, err)
	}
	c.memory.SetBlob(d, b)
	c.seen.Add(s.src.ctx, s.src.from.Repo(), d, "", size)
	rd, err := memoryReader(d, b, Whole)
	if err == nil {
		rd.tier = s.supply.tier()
	}
	return rd, err
}

// restOf gives what is left of an answer whose disk has failed. Where the digest is to be verified, it covers the bytes
// that were sent before: those in the file.
func (c *Blobs) restOf(ctx context.Context, from Origin, w *follower) func(int64) (body, error) {
	return func(pos int64) (body, error) {
		var h hash.Hash
		if w.hold {
			h = w.fill.digest.Algorithm().Hash()
			if _, err := io.CopyN(h, io.NewSectionReader(w.file, 0, pos), pos); err != nil {
				return nil, diskError("read back blob", w.fill.digest, noEOF(err))
			}
		}
		s, err := c.openStream(ctx, from, w.fill.digest, w.size, span{pos, w.end}, h)
		if err != nil {
			return nil, err
		}
		c.events.Streamed("disk")
		return s, nil
	}
}

// streamed is the body of an answer that passes through. Where it has a hash, it keeps the last byte back until the digest
// is right.
type streamed struct {
	src    *source
	supply *supply // what src reads from
	digest digest.Digest
	hash   hash.Hash     // nil: a part of a blob, which cannot be verified
	ahead  *bufio.Reader // reads src through hash
	cancel func()
	blobs  *Blobs
}

// measure takes the size from the first answer, or from a manifest where that names none.
func (s *streamed) measure(p Part) {
	size := p.Size
	if size < 0 {
		size = s.blobs.hints.size(s.src.from.Repo(), s.digest)
	}
	s.src.size, s.src.end = size, size
	if size < 0 {
		s.src.end = toTheEnd
	}
}

func (s *streamed) onWait(func() error) {} // upstream's own time-outs end a wait

func (s *streamed) Read(p []byte) (int, error) {
	if s.hash == nil {
		return s.src.Read(p)
	}
	if s.ahead == nil {
		s.ahead = bufio.NewReaderSize(io.TeeReader(s.src, s.hash), bufferBytes)
	}
	for s.ahead.Buffered() < 2 {
		_, err := s.ahead.Peek(2)
		if err == io.EOF { // at most the last byte is left, and all bytes are hashed
			if digest.NewDigest(s.digest.Algorithm(), s.hash) != s.digest {
				if s.supply.doubtful() {
					s.blobs.bucket.shun(s.src.ctx, s.digest)
				} else {
					s.blobs.corrupt(blobName{s.src.from.Repo(), s.digest})
				}
				return 0, ErrCorrupt
			}
			s.supply.measured(s.src.ctx, s.src.pos)
			return s.ahead.Read(p)
		}
		if err != nil {
			return 0, err
		}
	}
	return s.ahead.Read(p[:min(len(p), s.ahead.Buffered()-1)])
}

func (s *streamed) WriteTo(w io.Writer) (int64, error) {
	buf := s.blobs.buffers.Get().(*[]byte)
	defer s.blobs.buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{s}, *buf)
}

func (s *streamed) Close() error {
	defer s.cancel()
	return s.src.Close()
}
