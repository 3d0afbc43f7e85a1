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
	size, err := c.streamSize(ctx, from, d, r)
	if err != nil {
		return nil, err
	}
	start, end := int64(0), int64(-1)
	if size >= 0 {
		if start, end, err = r.of(d, size); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	s, err := c.openStream(ctx, cancel, from, d, size, start, end)
	if err != nil {
		cancel()
		return nil, err
	}
	c.events.Streamed(reason)
	if s.hash == nil {
		c.events.Unverified()
	} else if size = s.src.size; size >= 0 {
		end = size
	}
	if s.hash != nil && size >= 0 && size <= max(smallBlob, c.memory.Ceiling()) {
		return c.streamSmall(s, d, size)
	}
	c.seen.Add(ctx, from.Repo(), d, "", size)
	return newReader(size, start, end, TierUpstream, s), nil
}

// streamSize finds out what a range needs to know before it can be asked for; -1 when that can wait for the answer.
func (c *Blobs) streamSize(ctx context.Context, from Origin, d digest.Digest, r Range) (int64, error) {
	if size := c.hints.size(from.Repo(), d); size >= 0 || r == Whole {
		return size, nil
	}
	return from.StatBlob(ctx, d)
}

// openStream opens [start, end) of a blob; a whole blob is asked for plainly and hashed.
func (c *Blobs) openStream(ctx context.Context, cancel func(), from Origin, d digest.Digest, size, start, end int64) (*streamed, error) {
	s := &streamed{digest: d, cancel: cancel, blobs: c}
	s.src = &source{ctx: ctx, from: from, digest: d, size: size, pos: start, end: end,
		resumed: c.events.FillResumed, jitter: c.jitter}
	n := end - start
	if start == 0 && end == size {
		s.hash = d.Algorithm().Hash()
		s.src.plain, n = true, -1
	}
	p, err := from.FetchBlob(ctx, d, start, n)
	if err != nil {
		return nil, err
	}
	if s.src.size < 0 {
		s.src.size, s.src.end = p.Size, p.Size
	}
	if s.src.end < 0 {
		s.src.end = toTheEnd
	}
	return s, s.src.use(p)
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
		rd.tier = TierUpstream
	}
	return rd, err
}

// restOf gives what is left of an answer whose disk has failed: from the blob's start again where the digest is to be
// verified, else from the position.
func (c *Blobs) restOf(ctx context.Context, from Origin, d digest.Digest, w *follower) func(int64) (body, error) {
	size := w.fill.size
	return func(pos int64) (body, error) {
		ctx, cancel := context.WithCancel(ctx)
		start := pos
		if w.hold {
			start = 0
		}
		s, err := c.openStream(ctx, cancel, from, d, size, start, w.end)
		if err == nil {
			_, err = io.CopyN(io.Discard, struct{ io.Reader }{s}, pos-start)
		}
		if err != nil {
			cancel()
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
	digest digest.Digest
	hash   hash.Hash     // nil: a part of a blob, which cannot be verified
	ahead  *bufio.Reader // reads src through hash
	cancel func()
	blobs  *Blobs
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
				return 0, ErrCorrupt
			}
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
