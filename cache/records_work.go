package cache

import (
	"bytes"
	"context"
	"errors"

	"github.com/entrepot/entrepot/storage"
)

func (r *Records) work() {
	defer close(r.done)
	for batch := range r.queue {
		r.carryOut(batch)
		r.mu.Lock()
		for _, w := range batch {
			if r.waiting[w.key].serial == w.serial {
				delete(r.waiting, w.key)
			}
		}
		r.mu.Unlock()
		r.room.Release(weigh(batch))
	}
}

func (r *Records) carryOut(batch []recordWrite) {
	for _, w := range batch {
		ctx, cancel := context.WithTimeout(context.Background(), recordPatience)
		err := r.apply(ctx, w)
		cancel()
		if err != nil {
			r.failed("write", w.key, err)
			return
		}
	}
}

func (r *Records) apply(ctx context.Context, w recordWrite) error {
	switch w.verb {
	case verbPut:
		return r.put(ctx, w)
	case verbCreate:
		return r.create(ctx, w)
	case verbAdopt:
		if r.o.Bucket.hides(w.key) {
			return nil
		}
		return r.create(ctx, w)
	case verbRemove:
		return r.store.Delete(ctx, w.key)
	case verbTouch:
		return r.touch(ctx, w.key)
	}
	close(w.done)
	return nil
}

// put replaces whatever is there, readable or not. Replicas that share the store may do so at once: whoever is last wins,
// since each of them wrote something true.
func (r *Records) put(ctx context.Context, w recordWrite) error {
	return r.store.Put(ctx, w.key, bytes.NewReader(w.record), int64(len(w.record)))
}

func (r *Records) create(ctx context.Context, w recordWrite) error {
	_, err := r.store.Stat(ctx, w.key)
	if errors.Is(err, storage.ErrNotFound) {
		return r.put(ctx, w)
	}
	return err
}

// touch renews the time of a record. Whoever changed or removed it in between has the better word.
func (r *Records) touch(ctx context.Context, key string) error {
	info, err := r.store.Stat(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil || r.o.Now().Sub(info.Modified) < usedAgain {
		return err
	}
	record, was, err := r.store.Get(ctx, key)
	if err == nil {
		_, err = r.store.PutIf(ctx, key, record, was)
	}
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) {
		return nil
	}
	return err
}
