package cache

import (
	"encoding/json"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	warmers   = 4      // prefetches at once
	maxLayers = 1000   // of one manifest that are remembered
	maxHints  = 16_384 // blobs of which something is remembered
)

// Hints remembers what manifests said of their blobs: how large each is, and which layers belong together. It is bounded
// and may forget.
type Hints struct {
	blobs *lru.Cache[blobName, hint]
}

type hint struct {
	size   int64
	layers *layers // nil for a config
}

// layers are those of one manifest.
type layers struct {
	digests []digest.Digest
	warmed  atomic.Bool // somebody asked for one of them
}

// NewHints knows nothing yet.
func NewHints() *Hints {
	blobs, err := lru.New[blobName, hint](maxHints)
	if err != nil {
		panic(err) // maxHints is positive
	}
	return &Hints{blobs: blobs}
}

// Note takes in what a manifest says. Anything but an image manifest says nothing.
func (h *Hints) Note(repo Repo, m *Manifest) {
	var parsed ocispec.Manifest
	if json.Unmarshal(m.Bytes, &parsed) != nil || len(parsed.Layers) > maxLayers {
		return
	}
	all := &layers{}
	for _, l := range parsed.Layers {
		if l.Digest.Validate() == nil && len(l.URLs) == 0 {
			all.digests = append(all.digests, l.Digest)
			h.blobs.Add(blobName{repo, l.Digest}, hint{size: l.Size, layers: all})
		}
	}
	if c := parsed.Config; c.Digest.Validate() == nil {
		h.blobs.Add(blobName{repo, c.Digest}, hint{size: c.Size})
	}
}

// size is what a manifest of the repository said of a blob; -1 when none did.
func (h *Hints) size(repo Repo, d digest.Digest) int64 {
	if b, ok := h.blobs.Get(blobName{repo, d}); ok && b.size >= 0 {
		return b.size
	}
	return -1
}

// siblings gives the other layers of a layer's manifest, the first time that any of them is asked for.
func (h *Hints) siblings(repo Repo, d digest.Digest) []digest.Digest {
	b, ok := h.blobs.Get(blobName{repo, d})
	if !ok || b.layers == nil || b.layers.warmed.Swap(true) {
		return nil
	}
	return b.layers.digests
}

// warming is a blob that should be fetched although nobody waits for it.
type warming struct {
	from   Origin
	digest digest.Digest
}

// warmSiblings queues the other layers of the manifest whose first layer is asked for. A client that asks for a config, or
// for a part of a layer, may not want the rest.
func (c *Blobs) warmSiblings(from Origin, d digest.Digest) {
	if !c.prefetch || c.disk == nil {
		return
	}
	for _, other := range c.hints.siblings(from.Repo(), d) {
		if other != d {
			c.Warm(from, other)
		}
	}
}

// Warm has a blob fetched in the background, if the upstream's budget allows it and the queue is not full.
func (c *Blobs) Warm(from Origin, d digest.Digest) {
	if _, _, ok := c.local(d); ok || c.disk == nil {
		return
	}
	if up, ok := from.(interface{ Spare() bool }); ok && !up.Spare() {
		c.events.Prefetched(false)
		return
	}
	select {
	case c.queue <- warming{from, d}:
		c.events.Prefetched(true)
	default:
		c.events.Prefetched(false)
	}
}

// warm fetches what is queued, one after the other. It ends at Close.
func (c *Blobs) warm() {
	for {
		select {
		case w := <-c.queue:
			f, _, err := c.fillFor(c.ctx, w.from, w.digest)
			if err != nil || f == nil {
				continue
			}
			select {
			case <-f.ended:
			case <-c.ctx.Done():
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}
