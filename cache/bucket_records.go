package cache

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
)

const (
	sharers     = 4               // queues of what other servers shall know
	mostSharing = 512             // batches in each
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
	record, err = b.read(ctx, key)
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

// read reads a record, once for all who ask at the same time, and within the bucket's patience, whoever of them leaves.
func (b *Bucket) read(ctx context.Context, key string) ([]byte, error) {
	record, err, _ := b.flights.Do(key, func() (any, error) {
		var record []byte
		err := b.ask(context.WithoutCancel(ctx), func(ctx context.Context) (err error) {
			record, _, err = b.o.Store.Get(ctx, key)
			return err
		})
		return record, err
	})
	return record.([]byte), err
}

// borrow reads a record that another server has written, and keeps it here.
func (r *Records) borrow(ctx context.Context, key string) ([]byte, error) {
	record, err := r.o.Bucket.record(ctx, key)
	if err != nil {
		return nil, err
	}
	return r.adopt(ctx, key, record)
}

// adopt keeps a record that was read in the bucket, unless there is one here by now, which is newer.
func (r *Records) adopt(ctx context.Context, key string, record []byte) ([]byte, error) {
	r.mu.Lock()
	newer, ok := r.waiting[key]
	r.mu.Unlock()
	switch {
	case ok && newer.record == nil:
		return nil, storage.ErrNotFound
	case ok:
		return newer.record, nil
	}
	batch := []recordWrite{{verb: verbCreate, key: key, record: record}}
	if repo, _, err := parseKey(seenFolder, key); err == nil {
		batch = append(batch, recordWrite{verb: verbCreate, key: nameKey(repo), record: []byte("{}")})
	}
	r.write(ctx, batch...)
	return record, nil
}

// bring keeps here all that other servers know in a folder of a repository.
func (r *Records) bring(ctx context.Context, folder string, repo Repo) error {
	if r.o.Bucket == nil {
		return nil
	}
	for info, err := range r.o.Bucket.o.Store.List(ctx, folder+repoKey(repo)+"/", "") {
		if err != nil {
			return err
		}
		if _, _, err := parseKey(folder, info.Key); err != nil {
			continue // not ours
		}
		if _, _, err := r.store.Get(ctx, info.Key); !errors.Is(err, storage.ErrNotFound) {
			continue
		}
		record, err := r.o.Bucket.read(ctx, info.Key)
		if err == nil {
			_, err = r.adopt(ctx, info.Key, record)
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}

// settled returns when everything shared before is in the bucket, or lost.
func (r *Records) settled(ctx context.Context) error {
	if r.o.Bucket == nil {
		return nil
	}
	for lane := range r.sharing {
		done := make(chan struct{})
		if !r.queueShare(lane, sharing{after: func(context.Context) error { close(done); return nil }}) {
			return errResting
		}
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
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
	if len(s.writes) > 0 && !r.queueShare(lane(s.writes[len(s.writes)-1].key), s) {
		r.o.Failed()
	}
}

// whenShared has something done in the bucket once other servers can know what was handed over before of a repository.
func (r *Records) whenShared(repo Repo, after func(context.Context) error) {
	r.queueShare(lane(seenFolder+repoKey(repo)+"/"), sharing{after: after})
}

// lane is the queue of a key's repository: what belongs together is written in order.
func lane(key string) int {
	_, key, _ = strings.Cut(key, "/")
	if last := strings.LastIndexByte(key, '/'); last > strings.IndexByte(key, '/') {
		key = key[:last]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return int(h.Sum32() % sharers)
}

// queueShare never waits: a bucket that takes nothing costs other servers a request upstream.
func (r *Records) queueShare(lane int, s sharing) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Bucket == nil || r.closed || r.sharingBytes+weigh(s.writes) > recordRoom {
		return false
	}
	select {
	case r.sharing[lane] <- s:
		r.sharingBytes += weigh(s.writes)
		return true
	default:
		return false
	}
}

// shareAll ends once Close has closed the queue, and parting has passed or all of it is written.
func (r *Records) shareAll(queue <-chan sharing) {
	for s := range queue {
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
