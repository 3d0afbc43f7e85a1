package proxy

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/upstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fakeShelf is what the fake cache has, for pages.
type fakeShelf struct {
	*fakeCache
	asked *atomic.Int64
	fills []cache.FillStatus
}

func (f fakeShelf) CachedTags(_ context.Context, repo cache.Repo, n int, last string) (page []cache.Entry, more bool, err error) {
	f.asked.Add(1)
	var all []cache.Entry
	for key, a := range f.manifests {
		if tag, ok := strings.CutPrefix(key, repo.String()+":"); ok && !strings.Contains(tag, ":") && tag > last {
			all = append(all, cache.Entry{Repo: repo, Tag: tag, Digest: a.Manifest.Digest, Checked: time.Unix(1e9, 0)})
		}
	}
	slices.SortFunc(all, func(a, b cache.Entry) int { return cmp.Compare(a.Tag, b.Tag) })
	return all[:min(n, len(all))], len(all) > n, nil
}

func (f fakeShelf) Kept(_ context.Context, repo cache.Repo, ref string) (cache.Manifest, time.Time, error) {
	f.asked.Add(1)
	if a, ok := f.manifests[repo.String()+":"+ref]; ok {
		return *a.Manifest, time.Unix(1e9, 0), nil
	}
	return cache.Manifest{}, time.Time{}, cache.ErrNotFound
}

func (f fakeShelf) KeptReferrers(context.Context, cache.Repo, digest.Digest) (ocispec.Index, time.Time, error) {
	f.asked.Add(1)
	return f.index, time.Time{}, nil
}

func (f fakeShelf) Sizes(context.Context, func(digest.Digest) int64) iter.Seq2[cache.RepoSize, error] {
	return func(yield func(cache.RepoSize, error) bool) {
		for key := range f.manifests {
			registry, rest, _ := strings.Cut(key, "/")
			name, _, _ := strings.Cut(rest, ":")
			if !yield(cache.RepoSize{Repo: cache.Repo{Registry: registry, Name: name}, Bytes: 1}, nil) {
				return
			}
		}
	}
}

func (f fakeShelf) Presence(digest.Digest) (have, size int64) { return 0, -1 }

func (f fakeShelf) PresenceIn(context.Context, cache.Repo, digest.Digest) (have, size int64) {
	return 0, -1
}

func (f fakeShelf) KeptBlob(_ context.Context, repo cache.Repo, d digest.Digest, _ int64) ([]byte, bool, error) {
	f.asked.Add(1)
	b, ok := f.hotBlobs[repo.String()+"@"+d.String()]
	return b, ok, nil
}

func (f fakeShelf) Fills() []cache.FillStatus { return f.fills }
func (f fakeShelf) Usage() cache.Usage        { return cache.Usage{Limit: 1 << 30} }

// page lets the server have its page.
func (f fakeShelf) page(o *Options) {
	o.Page = &Page{
		Manifests: f, Blobs: f,
		Memory:  func() (used, limit int64) { return 1 << 20, 1 << 28 },
		Figures: func() Figures { return Figures{Since: time.Unix(1e9, 0), Hits: 3, Misses: 1} },
	}
	for host, r := range o.Registries {
		r.Health = func() upstream.Health { return upstream.Health{State: "closed"} }
		o.Registries[host] = r
	}
}

// startPage is a server without users that has its page.
func startPage(t *testing.T, f *fakeCache, change func(*Options)) *running {
	t.Helper()
	return start(t, f, func(o *Options) {
		fakeShelf{fakeCache: f, asked: new(atomic.Int64)}.page(o)
		if change != nil {
			change(o)
		}
	})
}
