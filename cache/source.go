package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	maxFailures = 5                // of one stretch of bytes in a row, without a byte between them
	maxWait     = 15 * time.Second // for an upstream that says when to come back
)

// toTheEnd is the end of a blob whose size nobody has told yet.
const toTheEnd = math.MaxInt64

// source reads the bytes [pos, end) of a blob from its origin. Where the connection breaks it goes on at the offset, so
// that a drop costs nobody a pull.
type source struct {
	ctx      context.Context
	from     Origin
	digest   digest.Digest
	size     int64 // of the blob; -1 unknown
	pos, end int64
	plain    bool // ask without a range as long as nothing was read

	body     io.ReadCloser
	failures int
	resumed  func()
	unranged func() // nil, or told that a range was ignored
	jitter   func(time.Duration) time.Duration
}

// use hands the source an answer that is already open.
func (s *source) use(p Part) error {
	if p.Size >= 0 && s.size >= 0 && p.Size != s.size {
		p.Body.Close()
		return fmt.Errorf("blob %s has %d bytes by one answer and %d by another", s.digest, s.size, p.Size)
	}
	if p.Off < s.pos { // the registry ignored the range
		if s.unranged != nil {
			s.unranged()
		}
		if _, err := io.CopyN(io.Discard, p.Body, s.pos-p.Off); err != nil {
			p.Body.Close()
			return fmt.Errorf("skip to byte %d of blob %s: %w", s.pos, s.digest, noEOF(err))
		}
	}
	s.body = p.Body
	return nil
}

func (s *source) Read(b []byte) (int, error) {
	for s.pos < s.end {
		n, err := s.read(b[:min(int64(len(b)), s.end-s.pos)])
		if n > 0 {
			s.failures = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if err == io.EOF && s.end == toTheEnd {
			s.end = s.pos
			break
		}
		if err := s.again(noEOF(err)); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

func (s *source) read(b []byte) (int, error) {
	if s.body == nil {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	n, err := s.body.Read(b)
	s.pos += int64(n)
	return n, err
}

func (s *source) open() error {
	off, n := s.pos, s.end-s.pos
	if s.plain && s.pos == 0 || s.end == toTheEnd {
		off, n = 0, -1
	}
	p, err := s.from.FetchBlob(s.ctx, s.digest, off, n)
	if err != nil {
		return err
	}
	return s.use(p)
}

// again decides whether to ask once more after err, and waits for the right moment.
func (s *source) again(err error) error {
	s.Close()
	s.failures++
	wait := s.jitter(50 * time.Millisecond << s.failures)
	var out *UnavailableError
	switch {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrDenied), s.failures > maxFailures:
		return err
	case errors.As(err, &out) && out.RetryAfter > maxWait:
		return err
	case out != nil:
		wait = max(wait, out.RetryAfter)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-timer.C:
		s.resumed()
		return nil
	}
}

// Close gives the connection back; a read after it opens a new one.
func (s *source) Close() error {
	if s.body == nil {
		return nil
	}
	err := s.body.Close()
	s.body = nil
	return err
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
