package cache

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"strings"
	"time"
)

const (
	sharers     = 4               // lanes to the bucket
	mostSharing = 1024            // things that wait in each
	parting     = 5 * time.Second // for what waits at Close
)

var errBehind = errors.New("too much waits for the bucket")

// sharing is one thing to be done in the bucket.
type sharing struct {
	key   string // of the record that it is about
	bytes int64  // that wait for it
	do    func(context.Context) error
}

// openLanes begins to share. Close ends it.
func (r *Records) openLanes() {
	for range sharers {
		lane := make(chan sharing, mostSharing)
		r.lanes = append(r.lanes, lane)
		r.sharers.Go(func() { r.carry(lane) }) // until Close closes the lane
	}
}

// share hands over what other servers shall know.
func (r *Records) share(batch []recordWrite) {
	if r.o.Bucket == nil {
		return
	}
	for _, w := range batch {
		if !w.share && !w.unshares() {
			continue
		}
		s := sharing{w.key, weigh([]recordWrite{w}), func(ctx context.Context) error { return r.shareOne(ctx, w) }}
		if !r.send(lane(w.key), s) {
			r.o.Failed()
		}
	}
}

func (r *Records) shareOne(ctx context.Context, w recordWrite) error {
	ctx, cancel := context.WithTimeout(ctx, recordPatience)
	defer cancel()
	if w.verb == verbRemove {
		return r.o.Bucket.o.Store.Delete(ctx, w.key)
	}
	return r.o.Bucket.o.Store.Put(ctx, w.key, bytes.NewReader(w.record), int64(len(w.record)))
}

// whenShared has something done in the bucket once a record that was handed over before is there, or lost.
func (r *Records) whenShared(key string, do func(context.Context) error) {
	if r.o.Bucket != nil {
		r.send(lane(key), sharing{key: key, do: do})
	}
}

// flushShared returns when everything handed over before is in the bucket, or lost.
func (r *Records) flushShared(ctx context.Context) error {
	for i := range r.lanes {
		done := make(chan struct{})
		if !r.send(i, sharing{do: func(context.Context) error { close(done); return nil }}) {
			return errBehind
		}
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// lane says which lane a record takes. What one lane has is done in order: all of a manifest's bytes, all else of a repository.
func lane(key string) int {
	_, key, _ = strings.Cut(key, "/")
	if last := strings.LastIndexByte(key, '/'); last > strings.IndexByte(key, '/') {
		key = key[:last]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return int(h.Sum32() % sharers)
}

// send never waits: a bucket that takes nothing costs other servers a request upstream.
func (r *Records) send(lane int, s sharing) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.sharing+s.bytes > recordRoom {
		return false
	}
	select {
	case r.lanes[lane] <- s:
		r.sharing += s.bytes
		return true
	default:
		return false
	}
}

// carry does what a lane has. It ends once Close has closed the lane, and parting has passed or all of it is done.
func (r *Records) carry(lane <-chan sharing) {
	for s := range lane {
		if err := persist(r.ending, func() error { return s.do(r.ending) }); err != nil {
			r.failed("share", s.key, err)
		}
		r.mu.Lock()
		r.sharing -= s.bytes
		r.mu.Unlock()
	}
}
