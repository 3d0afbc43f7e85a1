package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
)

// place is where the bytes of a fill come from.
type place int32

const (
	inBucket      place = iota // another server may have stored the blob
	stillInBucket              // or has just done so: this one has the lease now
	atPeer                     // another server is fetching it
	upstream
)

// supply is the origin of one fill: an upstream's repository, before which the bucket and another server are asked. Whatever
// fails, keeps silent or contradicts itself there, the next place is asked for what is missing, and in the end upstream.
type supply struct {
	Origin
	blobs  *Blobs
	digest digest.Digest
	place  atomic.Int32
	alone  bool // other servers are not asked
	single bool // nobody can follow what is fetched for one reader, so there is no lease

	mu        sync.Mutex // guards the rest; held while the next place is found
	peer      Peer
	turn      *turn
	proved    bool  // the repository has the blob
	size      int64 // -1: unknown
	odd       int64 // size of what the bucket has, where that is another; -1: it is not
	elsewhere bool  // bytes came from elsewhere than upstream
	fetched   bool  // upstream was asked
}

// supplied puts a supply before an origin, where there is a bucket that can be trusted with the blob.
func (c *Blobs) supplied(ctx context.Context, from Origin, d digest.Digest) *supply {
	s := &supply{Origin: from, blobs: c, digest: d, alone: isAlone(ctx), turn: &turn{}, size: -1, odd: -1}
	if c.bucket == nil || from.Repo().none() { // what is hosted has a place of its own
		s.place.Store(int32(upstream))
	} else if _, bad := c.bucket.shunned.get(d); bad {
		s.place.Store(int32(upstream))
	}
	return s
}

func (s *supply) at() place { return place(s.place.Load()) }

func (s *supply) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (Part, error) {
	for {
		at := s.at()
		if at == upstream {
			s.mu.Lock()
			s.fetched = true
			s.mu.Unlock()
			return s.Origin.FetchBlob(ctx, d, off, n)
		}
		p, err := s.openElsewhere(ctx, at, off, n)
		if err == nil {
			p.Body = &elsewhereBody{ReadCloser: p.Body, supply: s, at: at, ctx: ctx}
			return p, nil
		}
		if unproved, ok := errors.AsType[*unprovedError](err); ok && !IsOutage(unproved.error) {
			return Part{}, unproved.error
		}
		if ctx.Err() != nil {
			return Part{}, context.Cause(ctx)
		}
		s.leave(ctx, at, err)
	}
}

// unprovedError is upstream's word that the repository does not have the blob, or its silence.
type unprovedError struct{ error }

// openElsewhere opens a part of the blob elsewhere than upstream.
func (s *supply) openElsewhere(ctx context.Context, at place, off, n int64) (p Part, err error) {
	if at == atPeer {
		p, err = s.peer.FetchBlob(ctx, s.digest, off, n)
	} else {
		p, err = s.blobs.bucket.blob(ctx, s.digest, off, n)
	}
	if err != nil {
		return Part{}, err
	}
	if err = s.accept(ctx, at, p.Size); err != nil {
		p.Body.Close()
		return Part{}, err
	}
	return p, nil
}

// accept takes the first answer's size for the blob's, and sees to it that the repository has what the bucket has. Another
// server has done that itself.
func (s *supply) accept(ctx context.Context, at place, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at != atPeer && !s.proved {
		seen, err := s.blobs.prove(ctx, s.Origin, s.digest)
		if err != nil {
			return &unprovedError{err}
		}
		s.proved = true
		if seen >= 0 {
			s.size = seen
		}
	}
	if s.size < 0 {
		s.size = size
	}
	if size != s.size {
		if at != atPeer {
			s.odd = size
		}
		return fmt.Errorf("%d bytes of blob %s instead of %d", size, s.digest, s.size)
	}
	s.elsewhere = true
	return nil
}

// leave goes on to the next place, unless somebody else has already.
func (s *supply) leave(ctx context.Context, at place, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at() != at {
		return
	}
	next := upstream
	switch {
	case at == inBucket && errors.Is(err, storage.ErrNotFound) && !s.elsewhere && !s.single:
		next = s.take(ctx)
	case at == atPeer:
		s.blobs.bucket.passedOver(s.turn.holder, err)
		s.turn.watch(ctx)
	}
	s.place.Store(int32(next))
}

// take finds out who fetches what the bucket does not have. The caller holds mu.
func (s *supply) take(ctx context.Context) place {
	s.turn = s.blobs.bucket.turn(ctx, s.digest)
	if s.turn.ours() {
		return stillInBucket
	}
	if s.turn.holder == "" || s.alone {
		return upstream
	}
	s.peer = s.blobs.bucket.o.Peer(s.turn.holder, s.Repo())
	s.blobs.events.Borrowed(true)
	return atPeer
}

// one reports whether one request at a time is right: another server gives its fill's front, and nothing comes sooner by asking
// for what is behind that.
func (s *supply) one() bool { return s.at() == atPeer }

// doubtful reports whether bytes came from elsewhere than upstream, which is not to blame for them then.
func (s *supply) doubtful() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.elsewhere
}

// measured is told the size of a blob whose digest is right. Only then it is known whether the bucket has the size wrong, or
// whoever contradicted it.
func (s *supply) measured(ctx context.Context, size int64) {
	s.mu.Lock()
	wrong := s.odd >= 0 && s.odd != size
	s.mu.Unlock()
	if wrong {
		s.blobs.bucket.shun(ctx, s.digest)
	}
}

// tier is where a reader's bytes come from.
func (s *supply) tier() Tier {
	if s.Repo().none() {
		return TierS3
	}
	if at := s.at(); s.doubtful() && (at == inBucket || at == stillInBucket) {
		return TierS3
	}
	return TierUpstream
}

// A body from elsewhere than upstream has to give so many bytes a second, once it was waited for so long.
const (
	leastRate = 64 << 10
	slowAfter = 5 * time.Second
)

var errSlow = errors.New("the bytes come too slowly")

// elsewhereBody is a body from elsewhere than upstream. Where it breaks, the next one is opened elsewhere.
type elsewhereBody struct {
	io.ReadCloser
	supply *supply
	at     place
	ctx    context.Context
	waited time.Duration
	got    int64
}

func (b *elsewhereBody) Read(p []byte) (int, error) {
	n, err := b.read(p)
	if err != nil && err != io.EOF && b.ctx.Err() == nil {
		b.supply.leave(b.ctx, b.at, err)
	}
	return n, err
}

func (b *elsewhereBody) read(p []byte) (int, error) {
	if b.waited > slowAfter && b.got < int64(b.waited.Seconds()*leastRate) {
		return 0, errSlow
	}
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.waited += time.Since(began)
	b.got += int64(n)
	return n, err
}
