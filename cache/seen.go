package cache

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// Seen knows what each repository was seen to have. The bytes of a blob are kept once for all repositories; whether a
// repository may serve them is decided here, since somebody who may read one repository must not read another one's
// content by knowing its digest.
type Seen struct {
	records *Records
	memory  *Memory
}

// NewSeen reads and writes through records, which it does not own.
func NewSeen(records *Records, memory *Memory) *Seen {
	return &Seen{records: records, memory: memory}
}

// seenRecord says that the repository of its key has the content of its key. The media type belongs here and not to the
// bytes: two repositories may serve the same bytes under different types.
type seenRecord struct {
	MediaType string `json:"mediaType,omitempty"`
	Size      int64  `json:"size"`
}

// Has reports whether a repository has a blob or a manifest, as far as it is known here. An error says nothing about that.
func (s *Seen) Has(ctx context.Context, repo Repo, d digest.Digest) (bool, error) {
	_, err := s.get(ctx, repo, d)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Add notes that a repository has a blob or a manifest. It is visible at once and written later; while the disk cannot
// keep up, it waits for that or for the end of ctx. The media type may be empty for a blob, and a size unknown is -1.
func (s *Seen) Add(ctx context.Context, repo Repo, d digest.Digest, mediaType string, size int64) {
	rec := seenRecord{MediaType: mediaType, Size: size}
	if h, ok := s.memory.seen(repo, d); ok && h.record == rec {
		return
	}
	s.remember(repo, d, rec)
	s.records.write(ctx, s.writes(repo, d, rec)...)
}

// writes gives the records that Add writes.
func (s *Seen) writes(repo Repo, d digest.Digest, rec seenRecord) []recordWrite {
	return []recordWrite{
		{verb: verbPut, key: seenKey(repo, d), record: encodeRecord(rec)},
		{verb: verbCreate, key: nameKey(repo), record: []byte("{}")},
	}
}

func (s *Seen) remember(repo Repo, d digest.Digest, rec seenRecord) {
	s.memory.setSeen(repo, d, &heldSeen{record: rec, since: s.records.o.Now()})
}

// get reads what is known, memory first; storage.ErrNotFound when nothing is. The digest may be a view into a request: it
// is copied where it is kept.
func (s *Seen) get(ctx context.Context, repo Repo, d digest.Digest) (seenRecord, error) {
	h, ok := s.memory.seen(repo, d)
	if ok && s.records.o.Now().Sub(h.since) < usedAgain {
		return h.record, nil
	}
	key := seenKey(repo, d)
	rec, err := readRecord[seenRecord](ctx, s.records, key)
	switch {
	case err == nil:
		s.remember(repo, d, rec)
		s.records.use(key)
	case ok: // known, though its record is gone or unreadable
		return h.record, nil
	}
	return rec, err
}

// readRecord decodes a record. One that does not decode is removed, and is not there.
func readRecord[T any](ctx context.Context, r *Records, key string) (T, error) {
	var v T
	b, err := r.get(ctx, key)
	if err != nil {
		if !errors.Is(err, storage.ErrNotFound) && ctx.Err() == nil {
			r.failed("read", key, err)
		}
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		r.failed("decode", key, err)
		r.write(ctx, recordWrite{verb: verbRemove, key: key})
		return *new(T), storage.ErrNotFound
	}
	return v, nil
}

// encodeRecord is the inverse of readRecord's decoding, for this package's own record types, which always have a JSON form.
func encodeRecord(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
