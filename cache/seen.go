package cache

import (
	"context"
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

// valid is what readRecord asks of every record.
func (r seenRecord) valid() bool { return r.Size >= -1 }

// Has reports whether a repository has a blob or a manifest, as far as it is known here. An error says nothing about that.
func (s *Seen) Has(ctx context.Context, repo Repo, d digest.Digest) (bool, error) {
	_, err := s.get(ctx, repo, d)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Add notes that a repository has a blob or a manifest. It is visible at once and written later; while the disk cannot
// keep up, it waits for that or for the end of ctx. The media type is that of a manifest and empty for a blob; a size
// unknown is -1.
func (s *Seen) Add(ctx context.Context, repo Repo, d digest.Digest, mediaType string, size int64) {
	if repo.none() {
		return
	}
	rec := seenRecord{MediaType: mediaType, Size: size}
	old, err := s.get(ctx, repo, d)
	if err == nil && (old == rec || mediaType == "" && old.MediaType != "") {
		return // a manifest asked for as a blob stays a manifest
	}
	s.remember(repo, d, rec)
	s.records.write(ctx, s.writes(repo, d, rec)...)
}

// writes gives the records that Add writes.
func (s *Seen) writes(repo Repo, d digest.Digest, rec seenRecord) []recordWrite {
	return []recordWrite{
		{verb: verbPut, key: seenKey(repo, d), record: encodeRecord(rec), share: true},
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
