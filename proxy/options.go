package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/proxy/upstream"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Manifests answers for manifests and for what is listed. *cache.Manifests is one.
type Manifests interface {
	// Hot gives what is in memory and fresh. It keeps none of its arguments: they are views of the request.
	Hot(repo cache.Repo, ref string) (*cache.Manifest, bool)
	Get(ctx context.Context, up cache.Upstream, ref string) (cache.Answer, error)
	Resolve(ctx context.Context, up cache.Upstream, ref string) (d cache.Descriptor, tier cache.Tier, warning string, err error)
	Tags(ctx context.Context, l cache.Lister, n int, last string) (tags []string, more bool, warning string, err error)
	Referrers(ctx context.Context, l cache.Lister, d digest.Digest) (index ocispec.Index, warning string, err error)
	Names(ctx context.Context, registry string, n int, last string, may func(name string) bool) (names []string, more bool, err error)
	Search(ctx context.Context, term string) iter.Seq2[cache.Repo, error]
}

// Blobs answers for blobs. CachedBlobs makes one of *cache.Blobs.
type Blobs interface {
	// Hot gives a blob that is in memory, immutable. It keeps none of its arguments: they are views of the request.
	Hot(repo cache.Repo, d digest.Digest) ([]byte, bool)
	Stat(ctx context.Context, from cache.Origin, d digest.Digest) (size int64, tier cache.Tier, err error)
	Open(ctx context.Context, from cache.Origin, d digest.Digest, r cache.Range) (Content, error)
	// Link lends the file of a complete, verified blob that a repository was seen to have, for as long as link runs. It is
	// not linked, and no error, where there is no such file: nothing is fetched.
	Link(ctx context.Context, repo cache.Repo, d digest.Digest, link func(path string, size int64) error) (linked bool, err error)
}

// Content is a blob, or a part of one, on its way to one client. *cache.Reader is one.
type Content interface {
	io.ReadCloser
	io.WriterTo            // hands files to the writer's ReadFrom where it has one
	Size() int64           // of the whole blob; -1 unknown
	Start() int64          // offset of the first byte
	Len() int64            // -1 when Size is
	Tier() cache.Tier      //
	Bytes() []byte         // all of it, when it is in memory; immutable
	OnWait(f func() error) // f is called about once a second while bytes are awaited; its error ends the read
}

// Repository is one repository of an upstream.
type Repository interface {
	cache.Upstream
	cache.Lister
	ReadableAnonymously(ctx context.Context, ref string) (bool, error)
}

// Registry is one upstream.
type Registry struct {
	Repository func(name string) Repository // keeps name
	// Private: it is asked with credentials, and what they open is not for everybody who reaches this server.
	Private bool
	// Search asks its own search; nil where there is none. What it finds is for everybody: it is asked without a credential.
	Search func(ctx context.Context, term string, n int) ([]upstream.SearchResult, error)
	// Health is how it is; needed where there is a page.
	Health func() upstream.Health
}

// Options: Names, Registries, Manifests, Blobs and Hosted are needed, the rest is optional.
type Options struct {
	Names      Names
	Registries map[string]Registry // by host; one for each of Names.Upstreams
	Manifests  Manifests
	Blobs      Blobs
	Hosted     *hosted.Registry

	Access         *access.Guard      // who may do what; nil: there are no users
	Audit          func(access.Entry) // told of what was changed, of logins and of refusals, on the connection's goroutine
	TrustedProxies []netip.Prefix     // peers whose X-Forwarded headers are believed
	PublicURL      string             // scheme and host by which clients know this server; empty: as they say

	Copies   bool           // hosted blobs are read through Blobs, which keeps copies: their store is far
	Redirect []netip.Prefix // clients that fetch large hosted blobs from the store itself, where it gives URLs

	ReadOnly bool // nothing is pushed or deleted
	NoDelete NoDelete

	// ReplicaID is that of replica.Options in this process, by which it knows its own requests; empty: no other server asks it.
	ReplicaID string

	// Public decides whether an anonymous caller may read a repository of a private registry, judged by ref, a tag or the
	// digest of a manifest or blob. It is asked before anything is served. nil refuses.
	Public func(ctx context.Context, repo Repository, ref string) (bool, error)

	TLS *TLS // nil: plain HTTP

	MaxConnections int           // 0: 8192. More wait in the kernel's queue
	ReadTimeout    time.Duration // 0: 30 s, for a request's head
	WriteTimeout   time.Duration // 0: 60 s, for each segment of an answer, 256 KiB or more
	IdleTimeout    time.Duration // 0: 90 s, between requests
	BodyTimeout    time.Duration // 0: 60 s, for a blob's bytes to go on arriving, and for a whole manifest
	MaxUploads     int           // 0: 256, blobs whose bytes are read at once. More wait a few seconds, then are told to come again

	Page *Page // nil: there is none

	AccessLog AccessLog
	Answered  func(Answer) // told of each answer when its last byte was sent, on the connection's goroutine
	Log       *slog.Logger
	Now       func() time.Time
}

func (o *Options) complete() error {
	o.MaxConnections = orElse(o.MaxConnections, 8192)
	o.ReadTimeout = orElse(o.ReadTimeout, 30*time.Second)
	o.WriteTimeout = orElse(o.WriteTimeout, time.Minute)
	o.IdleTimeout = orElse(o.IdleTimeout, 90*time.Second)
	o.BodyTimeout = orElse(o.BodyTimeout, time.Minute)
	o.MaxUploads = orElse(o.MaxUploads, 256)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Access == nil {
		o.Access = access.Everybody()
	}
	if o.Audit == nil {
		o.Audit = func(access.Entry) {}
	}
	if o.Answered == nil {
		o.Answered = func(Answer) {}
	}
	if o.Public == nil {
		o.Public = func(context.Context, Repository, string) (bool, error) { return false, nil }
	}
	if o.Manifests == nil || o.Blobs == nil || o.Hosted == nil {
		return errors.New("a proxy needs manifests, blobs and hosted repositories")
	}
	if o.ReplicaID != "" && !validReplicaID(o.ReplicaID) {
		return fmt.Errorf("the ID of a replica has 1 to %d printable characters", replicaIDLimit)
	}
	return o.checkNames()
}

// checkNames finds hosts that a request could be sent to and that nobody serves.
func (o *Options) checkNames() error {
	var errs []error
	for _, host := range o.Names.Upstreams {
		if o.Registries[host].Repository == nil {
			errs = append(errs, fmt.Errorf("upstream %q has no registry", host))
		}
	}
	if d := o.Names.Default; d != "" && !slices.Contains(o.Names.Upstreams, d) {
		errs = append(errs, fmt.Errorf("default upstream %q is not among the upstreams", d))
	}
	for host, registry := range o.Names.Hosts {
		if !slices.Contains(o.Names.Upstreams, registry) {
			errs = append(errs, fmt.Errorf("host %q stands for %q, which is not among the upstreams", host, registry))
		}
	}
	return errors.Join(errs...)
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
