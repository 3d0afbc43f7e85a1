package proxy

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage/hosted"
)

// hostedCopy serves a hosted blob, which the caller may have, from the copy in memory or on disk, or makes one.
func (c *call) hostedCopy(b *hosted.Blob, wanted cache.Range, ranged bool) error {
	content, err := c.server.o.Blobs.Open(c.server.ctx, hostedOrigin{b}, b.Digest, wanted)
	if err != nil {
		return err
	}
	c.sendContent(content, ranged)
	return nil
}

// hostedOrigin is a blob that was pushed, as the cache fetches it. Whoever hands it over has found it in the caller's
// repository just now.
type hostedOrigin struct{ blob *hosted.Blob }

var _ cache.Origin = hostedOrigin{}

func (hostedOrigin) Repo() cache.Repo { return cache.Repo{} }

func (h hostedOrigin) StatBlob(context.Context, digest.Digest) (int64, error) {
	return h.blob.Size, nil
}

func (h hostedOrigin) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (cache.Part, error) {
	size, ranged := h.blob.Size, n >= 0
	if !ranged {
		n = size
	}
	if off > size {
		return cache.Part{}, &cache.RangeError{Digest: d, Size: size}
	}
	end := min(size, off+n)
	body, err := h.blob.Open(ctx, off, end)
	if err != nil {
		return cache.Part{}, err
	}
	return cache.Part{Body: body, Off: off, Len: end - off, Size: size, Ranged: ranged && size > 0}, nil
}
