// Package cache keeps what was pulled: blobs in a bounded disk tier with a memory tier before it, manifests and tags as
// small records. Everything in it can be fetched again, so everything in it may be evicted. It knows upstreams by the
// contract in this file and nothing of HTTP.
package cache

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Repo names one repository of one registry: {"docker.io", "library/nginx"}. What may be served is decided by
// repository, never by digest alone. An Origin whose Repo is the zero one has decided that itself, each time that it is
// handed over; nothing is noted of it.
type Repo struct {
	Registry string
	Name     string
}

func (r Repo) String() string { return r.Registry + "/" + r.Name }

func (r Repo) none() bool { return r == Repo{} }

// Descriptor says what a manifest is: media type, digest, size.
type Descriptor = ocispec.Descriptor

// Manifest is a manifest as its registry sent it, byte for byte. Bytes are shared and must not be changed.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	Bytes     []byte
}

// Origin is one repository as a source of blobs. Implementations retry what may be retried, within their own patience,
// before they return; an error is one of this package's (see errors.go). They are used from many goroutines at once.
type Origin interface {
	Repo() Repo

	// StatBlob asks whether the repository has the blob, and its size; -1 where the registry does not say.
	StatBlob(ctx context.Context, d digest.Digest) (int64, error)

	// FetchBlob opens n bytes of the blob from off on. n < 0 asks plainly for the whole blob, without a range; off is then 0.
	// The context governs the body too. The caller closes Part.Body.
	FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (Part, error)
}

// Part is an origin's answer to FetchBlob, already checked against the request: either the very range asked for, cut off
// at the blob's end, or (a registry that ignores ranges, or an empty blob) the blob from its start.
type Part struct {
	Body   io.ReadCloser
	Off    int64 // where in the blob Body begins: the offset asked for, or 0
	Len    int64 // bytes that Body will give; -1 where the registry does not say
	Size   int64 // of the whole blob; -1 where the registry does not say
	Ranged bool  // the registry answered the range that was asked for (206)
}

// Upstream is one repository of an upstream registry.
type Upstream interface {
	Origin

	// ResolveManifest asks by HEAD, which costs nothing of Docker Hub's limit. A registry that answers without a digest
	// gives a Descriptor whose Digest is empty.
	ResolveManifest(ctx context.Context, ref string) (Descriptor, error)

	// FetchManifest fetches by tag or digest. The bytes match Manifest.Digest, and the digest asked for when ref is one.
	FetchManifest(ctx context.Context, ref string) (Manifest, error)

	// Spare reports whether the rate budget allows requests that nobody waits for: prefetch, background refresh.
	Spare() bool
}

type tryOnceKey struct{}

// TryOnce marks a request whose caller has a stale answer to give instead: it is not worth a second attempt.
func TryOnce(ctx context.Context) context.Context {
	return context.WithValue(ctx, tryOnceKey{}, true)
}

// TriesOnce reports whether a request is marked by TryOnce. An Upstream then does not retry it.
func TriesOnce(ctx context.Context) bool { return ctx.Value(tryOnceKey{}) != nil }

// Lister is the part of an upstream repository that lists instead of fetching.
type Lister interface {
	Repo() Repo

	// ListTags gives up to n tags after last in the registry's order (n < 0: as many as the registry likes to give at
	// once), and whether there are more.
	ListTags(ctx context.Context, n int, last string) (tags []string, more bool, err error)

	// FetchReferrers gives the image index of all manifests that refer to d, unfiltered: from the referrers API, or from
	// the fallback tag of registries without one. No referrers is an empty index, not an error.
	FetchReferrers(ctx context.Context, d digest.Digest) (ocispec.Index, error)
}
