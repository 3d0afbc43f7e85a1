package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// PresenceIn is Presence of what the repository was seen to have: a manifest can name anything, and must not tell what others
// have.
func (c *Blobs) PresenceIn(ctx context.Context, repo Repo, d digest.Digest) (have, size int64) {
	if d.Validate() != nil || !c.seen.hadHere(ctx, repo, d) {
		return 0, -1
	}
	return c.Presence(d)
}

// Presence tells how many bytes of a blob are here, whoever may have it, and its size; -1 where that is unknown.
func (c *Blobs) Presence(d digest.Digest) (have, size int64) {
	if d.Validate() != nil {
		return 0, -1
	}
	size = -1
	if c.disk != nil {
		c.mu.Lock() // a fill takes a partial blob over only once it is among the fills
		f := c.fills[d]
		have, size = c.disk.presence(d)
		c.mu.Unlock()
		if f != nil && have != size {
			f.mu.Lock()
			have, size = max(have, f.have.bytes()), max(size, f.size)
			f.mu.Unlock()
		}
	}
	if have != size {
		if b, ok := c.memory.look(d); ok {
			return int64(len(b)), int64(len(b))
		}
	}
	return have, size
}

// presence tells what the tier has of a blob that no fill has open.
func (k *disk) presence(d digest.Digest) (have, size int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.index[d]; e != nil {
		return e.size, e.size
	}
	if p := k.idle[d]; p != nil {
		return p.have.bytes(), p.size
	}
	return 0, -1
}

// look gives a blob without a note of use where it is not there. That the tier notes a use where it is cannot be helped.
func (m *Memory) look(d digest.Digest) ([]byte, bool) {
	if m == nil || m.cache == nil {
		return nil, false
	}
	if _, ok := m.cache.GetTTL(m.appendKey(nil, 'b', Repo{}, string(d))); !ok {
		return nil, false
	}
	return m.Blob(d)
}

// KeptBlob gives a blob of at most limit bytes that is complete here, and that the repository was seen to have; the zero Repo
// stands for a caller who has decided about that. The bytes match the digest: those on the disk that do not are dropped.
func (c *Blobs) KeptBlob(ctx context.Context, repo Repo, d digest.Digest, limit int64) (b []byte, ok bool, err error) {
	if d.Validate() != nil {
		return nil, false, nil
	}
	if !repo.none() {
		if has, err := c.seen.had(ctx, repo, d); err != nil || !has {
			return nil, false, err
		}
	}
	if c.disk != nil {
		b, err = c.disk.read(d, limit)
	}
	if b == nil {
		if held, ok := c.memory.look(d); ok && int64(len(held)) <= limit {
			return slices.Clone(held), true, nil
		}
	}
	return b, b != nil, err
}

// had is Has without consequences.
func (s *Seen) had(ctx context.Context, repo Repo, d digest.Digest) (bool, error) {
	_, err := readRecord[seenRecord](ctx, s.records, seenKey(repo, d))
	if err == nil || ctx.Err() != nil {
		return err == nil, ctx.Err()
	}
	if _, ok := s.memory.seen(repo, d); ok {
		return true, nil
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return false, err
}

// hadHere is had by what this server knows, without asking the bucket.
func (s *Seen) hadHere(ctx context.Context, repo Repo, d digest.Digest) bool {
	if _, err := s.records.here(ctx, seenKey(repo, d)); err == nil {
		return true
	}
	_, ok := s.memory.seen(repo, d)
	return ok
}

// read gives a complete blob of at most limit bytes, verified; nil where there is none. It pins nothing and is no use.
func (k *disk) read(d digest.Digest, limit int64) ([]byte, error) {
	k.mu.Lock()
	e := k.index[d]
	k.mu.Unlock()
	if e == nil || e.size > limit {
		return nil, nil
	}
	b, err := k.readEntry(e)
	switch {
	case err == nil:
		return b, nil
	case !errors.Is(err, ErrCorrupt):
		return nil, err
	}
	if k.dropEntry(e) {
		k.log.Error("a cached blob is damaged; it will be fetched again", "digest", d, "err", err)
	}
	return nil, nil
}

// readEntry fails with ErrCorrupt, or errDisk for a file that cannot be opened.
func (k *disk) readEntry(e *entry) ([]byte, error) {
	f, err := k.fs.Open(k.blobPath(e.digest))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EIO):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return nil, diskError("open blob", e.digest, err)
	}
	defer f.Close()
	b := make([]byte, e.size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, noEOF(err))
	}
	if e.digest.Algorithm().FromBytes(b) != e.digest {
		return nil, ErrCorrupt
	}
	return b, nil
}

// FillStatus is a blob that is being fetched.
type FillStatus struct {
	Repo       Repo // that was asked for the blob first; zero: what is hosted
	Digest     digest.Digest
	Have, Size int64 // bytes; Size -1: not known yet
	Readers    int
}

// Fills gives the blobs that are being fetched, the largest first.
func (c *Blobs) Fills() []FillStatus {
	c.mu.Lock()
	fills := make([]*fill, 0, len(c.fills))
	for _, f := range c.fills {
		fills = append(fills, f)
	}
	c.mu.Unlock()
	all := make([]FillStatus, 0, len(fills))
	for _, f := range fills {
		if s, ok := f.status(); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b FillStatus) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Digest, b.Digest))
	})
	return all
}

// status is not that of a fill which has failed, or which only verifies what is here.
func (f *fill) status() (FillStatus, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := FillStatus{Repo: f.from.Repo(), Digest: f.digest, Have: f.have.bytes(), Size: f.size, Readers: len(f.readers)}
	return s, f.err == nil && f.blob == nil
}
