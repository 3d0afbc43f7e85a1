package cache

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
)

const (
	mostSharing = 1024            // batches of records that wait for the bucket
	parting     = 5 * time.Second // for what waits at Close
)

// sharing is what is to be done in the bucket, in this order, and what is to be done then, whatever came of it.
type sharing struct {
	writes []recordWrite
	after  func(context.Context) error // nil: nothing
}

// isShared reports whether servers share the records of a key. Referrers change too often, and names follow from the rest.
func isShared(key string) bool {
	for _, folder := range [...]string{manifestFolder, tagFolder, seenFolder, publicFolder} {
		if strings.HasPrefix(key, folder) {
			return true
		}
	}
	return false
}

// record reads a record; storage.ErrNotFound also where the bucket cannot tell.
func (b *Bucket) record(ctx context.Context, key string) (record []byte, err error) {
	if b == nil || !isShared(key) {
		return nil, storage.ErrNotFound
	}
	if _, absent := b.absent.get(key); absent {
		return nil, storage.ErrNotFound
	}
	err = b.ask(ctx, func(ctx context.Context) (err error) {
		record, _, err = b.o.Store.Get(ctx, key)
		return err
	})
	switch {
	case errors.Is(err, storage.ErrNotFound):
		b.absent.set(key, struct{}{}, absentFor)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil:
		return record, nil
	}
	return nil, storage.ErrNotFound
}

// borrow reads a record that another server has written, and keeps it here.
func (r *Records) borrow(ctx context.Context, key string) ([]byte, error) {
	record, err := r.o.Bucket.record(ctx, key)
	if err != nil {
		return nil, err
	}
	batch := []recordWrite{{verb: verbPut, key: key, record: record}}
	if repo, _, err := parseKey(seenFolder, key); err == nil {
		batch = append(batch, recordWrite{verb: verbCreate, key: nameKey(repo), record: []byte("{}")})
	}
	r.write(ctx, batch...)
	return record, nil
}

// bring keeps here what other servers know under a prefix.
func (r *Records) bring(ctx context.Context, prefix string) error {
	if r.o.Bucket == nil {
		return nil
	}
	for info, err := range r.o.Bucket.o.Store.List(ctx, prefix, "") {
		if err != nil {
			return err
		}
		if _, err := r.get(ctx, info.Key); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}

// share hands over what other servers shall know.
func (r *Records) share(batch []recordWrite) {
	if r.o.Bucket == nil {
		return
	}
	var s sharing
	for _, w := range batch {
		switch {
		case w.verb == verbRemove && isShared(w.key):
			r.o.Bucket.absent.set(w.key, struct{}{}, persistence) // until it is removed there, it is not to be found there
			s.writes = append(s.writes, w)
		case w.share:
			s.writes = append(s.writes, w)
		}
	}
	if len(s.writes) > 0 && !r.queueShare(s) {
		r.o.Failed()
	}
}

// whenShared has something done in the bucket once other servers can know what was handed over before.
func (r *Records) whenShared(after func(context.Context) error) { r.queueShare(sharing{after: after}) }

// queueShare never waits: a bucket that takes nothing costs other servers a request upstream.
func (r *Records) queueShare(s sharing) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Bucket == nil || r.closed || r.sharingBytes+weigh(s.writes) > recordRoom {
		return false
	}
	select {
	case r.sharing <- s:
		r.sharingBytes += weigh(s.writes)
		return true
	default:
		return false
	}
}

// shareAll ends once Close has closed the queue, and parting has passed or all of it is written.
func (r *Records) shareAll() {
	defer close(r.shared)
	for s := range r.sharing {
		for _, w := range s.writes {
			if err := persist(r.ending, func() error { return r.shareOne(w) }); err != nil {
				r.failed("share", w.key, err)
				break
			}
		}
		if s.after != nil {
			if err := persist(r.ending, func() error { return s.after(r.ending) }); err != nil {
				r.failed("share", "", err)
			}
		}
		r.mu.Lock()
		r.sharingBytes -= weigh(s.writes)
		r.mu.Unlock()
	}
}

func (r *Records) shareOne(w recordWrite) error {
	ctx, cancel := context.WithTimeout(r.ending, recordPatience)
	defer cancel()
	if w.verb == verbRemove {
		return r.o.Bucket.o.Store.Delete(ctx, w.key)
	}
	return r.o.Bucket.o.Store.Put(ctx, w.key, bytes.NewReader(w.record), int64(len(w.record)))
}
