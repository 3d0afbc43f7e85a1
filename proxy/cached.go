package proxy

import (
	"context"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

var (
	_ Manifests = (*cache.Manifests)(nil)
	_ Blobs     = CachedBlobs{}
	_ Content   = (*cache.Reader)(nil)
)

// CachedBlobs is the cache's blobs with its readers as Content.
type CachedBlobs struct{ *cache.Blobs }

// Open is the cache's, but for the type of what it gives.
func (b CachedBlobs) Open(ctx context.Context, from cache.Origin, d digest.Digest, r cache.Range) (Content, error) {
	rd, err := b.Blobs.Open(ctx, from, d, r)
	if err != nil {
		return nil, err // not a Content that holds a nil
	}
	return rd, nil
}
