package fakehub

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// Kind is what a request asks for.
type Kind string

const (
	KindPing         Kind = "ping"
	KindToken        Kind = "token"
	KindManifestHead Kind = "manifest-head"
	KindManifestGet  Kind = "manifest-get"
	KindBlobHead     Kind = "blob-head"
	KindBlobGet      Kind = "blob-get" // at the registry; a redirect, or the bytes with NoRedirect
	KindCDN          Kind = "cdn"
	KindTags         Kind = "tags"
	KindReferrers    Kind = "referrers"
	KindSearch       Kind = "search"
	KindOther        Kind = "other"
)

// Request is a request that has ended.
type Request struct {
	Time   time.Time
	Kind   Kind
	Method string
	Host   string
	URI    string
	Header http.Header // must not be changed
	Remote string      // address and port: the connection
	Status int         // 0 when there was no answer
	Sent   int64       // bytes of the body
}

// Range is n bytes from Off on.
type Range struct{ Off, N int64 }

// Served is which bytes of one blob or manifest went out. Bytes that were written to a connection count, taken or not.
type Served struct {
	Bytes  int64
	Ranges []Range // in the order of their requests
}

// Unique is how many different bytes there are among them.
func (s Served) Unique() int64 {
	sorted := slices.SortedFunc(slices.Values(s.Ranges), func(a, b Range) int { return int(min(max(a.Off-b.Off, -1), 1)) })
	var sum, end int64
	for _, r := range sorted {
		sum += max(r.Off+r.N-max(r.Off, end), 0)
		end = max(end, r.Off+r.N)
	}
	return sum
}

// Twice is how many bytes were served more than once.
func (s Served) Twice() int64 { return s.Bytes - s.Unique() }

func (h *Hub) count(k Kind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[k]++
}

func (h *Hub) record(r Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r)
}

// opened notes a new range of a blob; the function it returns lengthens it.
func (h *Hub) opened(d digest.Digest, off int64) (lengthen func(n int64)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.served[d.String()]
	if s == nil {
		s = &Served{}
		h.served[d.String()] = s
	}
	i := len(s.Ranges)
	s.Ranges = append(s.Ranges, Range{Off: off})
	return func(n int64) {
		h.mu.Lock()
		defer h.mu.Unlock()
		s.Bytes += n
		s.Ranges[i].N += n
	}
}

// Count is how many requests of these kinds came, or of all. Requests that are still being answered are included.
func (h *Hub) Count(kinds ...Kind) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(kinds) == 0 {
		kinds = slices.Collect(maps.Keys(h.counts))
	}
	sum := 0
	for _, k := range kinds {
		sum += h.counts[k]
	}
	return sum
}

// Requests are the requests that have ended, in the order of their ends.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// Served is what went out of a blob or manifest.
func (h *Hub) Served(d digest.Digest) Served {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.served[d.String()]
	if s == nil {
		return Served{}
	}
	return Served{s.Bytes, slices.Clone(s.Ranges)}
}

// BlobBytes is what went out of these blobs, bytes served twice counted twice.
func (h *Hub) BlobBytes(blobs ...Blob) int64 {
	var sum int64
	seen := map[digest.Digest]bool{}
	for _, b := range blobs {
		if !seen[b.Digest] {
			sum += h.Served(b.Digest).Bytes
		}
		seen[b.Digest] = true
	}
	return sum
}

// ResetCounters forgets all requests so far.
func (h *Hub) ResetCounters() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts, h.served, h.requests = map[Kind]int{}, map[string]*Served{}, nil
}
