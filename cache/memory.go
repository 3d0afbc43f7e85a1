package cache

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/opencontainers/go-digest"
)

// memoryCeiling is the largest object of the memory tier. Above it the file system's page cache and sendfile are as fast,
// and admission is by use, not by size: one large object can push out many small ones.
const memoryCeiling = 1 << 20

// recordCost is what an entry costs beside its bytes: the entry itself, its strings, its place in the cache's tables.
const recordCost = 256

// Memory is the memory tier: small blobs, manifests, tag records and what each repository was seen to have, within one
// bound. It forgets whenever it likes and shows a new entry only some time after it was set, so it is never asked whether
// something exists, only whether the answer happens to be at hand. What it holds is shared and must not be changed.
//
// A nil *Memory keeps nothing.
type Memory struct {
	cache      *ristretto.Cache[[]byte, any]
	ceiling    int64
	keys       sync.Pool     // of *[]byte, so that a look-up composes its key without an allocation
	generation atomic.Uint64 // part of every record's key: forgetRecords makes all of them unreachable at once

	closing sync.RWMutex // a write to the closed cache would panic; reading it is safe
	closed  bool         // guarded by closing
}

// NewMemory makes a tier of size bytes. Size 0 makes one that keeps nothing.
func NewMemory(size int64) (*Memory, error) {
	m := &Memory{keys: sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}}
	if size <= 0 {
		return m, nil
	}
	m.ceiling = min(memoryCeiling, size/256)
	first, second := maphash.MakeSeed(), maphash.MakeSeed()
	c, err := ristretto.NewCache(&ristretto.Config[[]byte, any]{
		MaxCost:            size,
		NumCounters:        min(max(size/400, 1e4), 1e7), // ten for each object of 4 KiB
		BufferItems:        64,
		IgnoreInternalCost: true, // recordCost has it
		// The cache tells keys apart by these 128 bits alone. Both seeds are secret, so nobody can choose names that collide.
		KeyToHash: func(k []byte) (uint64, uint64) { return maphash.Bytes(first, k), maphash.Bytes(second, k) },
	})
	if err != nil {
		return nil, fmt.Errorf("memory tier of %d bytes: %w", size, err)
	}
	m.cache = c
	return m, nil
}

// Ceiling is the size in bytes of the largest object that is kept; 0 keeps nothing.
func (m *Memory) Ceiling() int64 {
	if m == nil {
		return 0
	}
	return m.ceiling
}

// Usage tells how much of the bound is taken: bytes, with what their entries cost.
func (m *Memory) Usage() (used, limit int64) {
	if m == nil || m.cache == nil {
		return 0, 0
	}
	limit = m.cache.MaxCost()
	return limit - m.cache.RemainingCost(), limit
}

// Close frees everything. Afterwards nothing is found and nothing is kept.
func (m *Memory) Close() {
	if m == nil {
		return
	}
	m.closing.Lock()
	defer m.closing.Unlock()
	if !m.closed && m.cache != nil {
		m.cache.Close()
	}
	m.closed = true
}

// What the tier holds. The digests of blobs and manifests are compared on the way out: bytes under a wrong digest are the
// one thing that must never be served.
type (
	heldBlob struct {
		digest digest.Digest
		bytes  []byte
	}
	heldManifest struct {
		Manifest
		since time.Time // when its records were last known to be used; see Records.use
	}
	heldTag struct {
		record  tagRecord
		expires time.Time
	}
	heldSeen struct {
		record seenRecord
		since  time.Time
	}
)

// Blob gives the bytes of a blob.
func (m *Memory) Blob(d digest.Digest) ([]byte, bool) {
	b, ok := memoryGet[*heldBlob](m, 'b', Repo{}, string(d))
	if !ok || b.digest != d {
		return nil, false
	}
	return b.bytes, true
}

// SetBlob keeps the bytes of a blob, which have been verified and do not change any more. It keeps the digest too: a view into
// a request will not do.
func (m *Memory) SetBlob(d digest.Digest, b []byte) {
	m.set('b', Repo{}, string(d), &heldBlob{digest: d, bytes: b}, cap(b))
}

// DropBlob forgets a blob.
func (m *Memory) DropBlob(d digest.Digest) { m.drop('b', Repo{}, string(d)) }

func (m *Memory) manifest(repo Repo, d string) (*heldManifest, bool) {
	h, ok := memoryGet[*heldManifest](m, 'm', repo, d)
	if !ok || string(h.Digest) != d {
		return nil, false
	}
	return h, true
}

func (m *Memory) setManifest(repo Repo, h *heldManifest) {
	m.set('m', repo, string(h.Digest), h, cap(h.Bytes))
}

func (m *Memory) tag(repo Repo, tag string) (*heldTag, bool) {
	return memoryGet[*heldTag](m, 't', repo, tag)
}

func (m *Memory) setTag(repo Repo, tag string, h *heldTag) { m.set('t', repo, tag, h, 0) }

func (m *Memory) dropTag(repo Repo, tag string) { m.drop('t', repo, tag) }

func (m *Memory) seen(repo Repo, d digest.Digest) (*heldSeen, bool) {
	return memoryGet[*heldSeen](m, 's', repo, string(d))
}

func (m *Memory) setSeen(repo Repo, d digest.Digest, h *heldSeen) {
	m.set('s', repo, string(d), h, 0)
}

// forgetRecords makes everything but the blobs unreachable; the space is reused as new entries come.
func (m *Memory) forgetRecords() {
	if m != nil {
		m.generation.Add(1)
	}
}

// memoryGet finds an entry without allocating. The strings are not kept.
func memoryGet[T any](m *Memory, kind byte, repo Repo, name string) (T, bool) {
	var none T
	if m == nil || m.cache == nil {
		return none, false
	}
	buf := m.keys.Get().(*[]byte)
	*buf = m.appendKey((*buf)[:0], kind, repo, name)
	v, ok := m.cache.Get(*buf)
	m.keys.Put(buf)
	if !ok {
		return none, false
	}
	t, ok := v.(T)
	return t, ok
}

func (m *Memory) set(kind byte, repo Repo, name string, v any, bytes int) {
	if m == nil || m.cache == nil || int64(bytes) > m.ceiling {
		return
	}
	m.closing.RLock()
	defer m.closing.RUnlock()
	if !m.closed {
		m.cache.Set(m.appendKey(nil, kind, repo, name), v, int64(bytes)+recordCost)
	}
}

func (m *Memory) drop(kind byte, repo Repo, name string) {
	if m == nil || m.cache == nil {
		return
	}
	m.closing.RLock()
	defer m.closing.RUnlock()
	if !m.closed {
		m.cache.Del(m.appendKey(nil, kind, repo, name))
	}
}

// appendKey composes the key of an entry. A NUL occurs in no name, so no two entries share a key.
func (m *Memory) appendKey(b []byte, kind byte, repo Repo, name string) []byte {
	b = append(b, kind)
	if kind != 'b' {
		g := m.generation.Load()
		b = append(b, byte(g), byte(g>>8), byte(g>>16), byte(g>>24))
	}
	b = append(b, repo.Registry...)
	b = append(b, 0)
	b = append(b, repo.Name...)
	b = append(b, 0)
	return append(b, name...)
}
