package cache

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Peer is another server that shares the bucket, as a source of what one repository has there. Its errors say nothing of
// the content: only the upstream does.
type Peer interface {
	// FetchBlob is as Origin's, and ends a wait of a second without a byte.
	FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (Part, error)

	// FetchManifest gives verified bytes.
	FetchManifest(ctx context.Context, d digest.Digest) (Manifest, error)
}

type aloneKey struct{}

// Alone marks a request that came from another server: others are not asked for it, so that none waits for itself.
func Alone(ctx context.Context) context.Context {
	return context.WithValue(ctx, aloneKey{}, true)
}

func isAlone(ctx context.Context) bool { return ctx.Value(aloneKey{}) != nil }
