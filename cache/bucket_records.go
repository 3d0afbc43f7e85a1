package cache

import (
	"context"
	"errors"
	"strings"

	"github.com/entrepot/entrepot/storage"
)

// isShared reports whether servers share the records of a key. Referrers change too often, and names follow from the rest.
func isShared(key string) bool {
	for _, folder := range [...]string{manifestFolder, tagFolder, seenFolder, publicFolder} {
		if strings.HasPrefix(key, folder) {
			return true
		}
	}
	return false
}

// unshares reports whether a write removes what other servers may have.
func (w recordWrite) unshares() bool { return w.verb == verbRemove && isShared(w.key) }

// record reads a record; storage.ErrNotFound also where the bucket cannot tell.
func (b *Bucket) record(ctx context.Context, key string) (record []byte, err error) {
	if b == nil || !isShared(key) {
		return nil, storage.ErrNotFound
	}
	if _, absent := b.absent.get(key); absent || b.hides(key) {
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

// hide has records that are about to be removed not be found in the bucket, until they are removed there too.
func (b *Bucket) hide(batch []recordWrite) {
	if b == nil {
		return
	}
	for _, w := range batch {
		if w.unshares() {
			b.removed.set(w.key, struct{}{}, persistence)
		}
	}
}

func (b *Bucket) hides(key string) bool {
	_, removed := b.removed.get(key)
	return removed
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

// fromBucket reads a record that another server has written, and keeps it here.
func (r *Records) fromBucket(ctx context.Context, key string) ([]byte, error) {
	record, err := r.o.Bucket.record(ctx, key)
	if err != nil {
		return nil, err
	}
	return r.adopt(ctx, key, record)
}

// adopt keeps a record that was read in the bucket, unless it was written or removed here by now, which is newer.
func (r *Records) adopt(ctx context.Context, key string, record []byte) ([]byte, error) {
	if newer, err := r.here(ctx, key); !errors.Is(err, storage.ErrNotFound) || r.o.Bucket.hides(key) {
		return newer, err
	}
	batch := []recordWrite{{verb: verbAdopt, key: key, record: record}}
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
