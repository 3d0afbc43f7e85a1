package proxy

import (
	"context"
	"iter"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// watchedManifests are those of the fake cache, with every question counted, those to its memory too.
type watchedManifests struct {
	fakeManifests
	asked *atomic.Int64
}

func (w watchedManifests) Hot(repo cache.Repo, ref string) (*cache.Manifest, bool) {
	w.asked.Add(1)
	return w.fakeManifests.Hot(repo, ref)
}

func (w watchedManifests) Get(ctx context.Context, up cache.Upstream, ref string) (cache.Answer, error) {
	w.asked.Add(1)
	return w.fakeManifests.Get(ctx, up, ref)
}

func (w watchedManifests) Resolve(ctx context.Context, up cache.Upstream, ref string) (cache.Descriptor, cache.Tier, string, error) {
	w.asked.Add(1)
	return w.fakeManifests.Resolve(ctx, up, ref)
}

func (w watchedManifests) Tags(_ context.Context, l cache.Lister, n int, last string) ([]string, bool, string, error) {
	w.asked.Add(1)
	for _, p := range places {
		if p.home == l.Repo().String() && p.exists {
			page, more := after([]string{"latest", p.marker, "v1"}, n, last)
			return page, more, "", nil
		}
	}
	return nil, false, "", cache.ErrNotFound
}

func (w watchedManifests) Referrers(_ context.Context, l cache.Lister, d digest.Digest) (ocispec.Index, string, error) {
	w.asked.Add(1)
	for _, p := range places {
		if p.home == l.Repo().String() && p.exists && p.manifest == d.String() {
			return ocispec.Index{Manifests: []ocispec.Descriptor{{ArtifactType: "x/" + p.marker, Digest: sha256}}}, "", nil
		}
	}
	return ocispec.Index{}, "", nil
}

// Names are asked in their order, as the cache does.
func (w watchedManifests) Names(_ context.Context, registry string, n int, last string, listed func(string) bool) (page []string, more bool, err error) {
	w.asked.Add(1)
	for _, name := range upstreamNames(registry) {
		switch {
		case name <= last || !listed(name):
		case len(page) == n:
			return page, true, nil
		default:
			page = append(page, name)
		}
	}
	return page, false, nil
}

func upstreamNames(registry string) (names []string) {
	for _, p := range places {
		if name, ok := strings.CutPrefix(p.home, registry+"/"); ok && p.exists && !p.hosted() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (w watchedManifests) Search(_ context.Context, term string) iter.Seq2[cache.Repo, error] {
	w.asked.Add(1)
	return func(yield func(cache.Repo, error) bool) {
		for _, registry := range []string{"corp.example", "docker.io", "gcr.io"} {
			for _, name := range upstreamNames(registry) {
				if strings.Contains(name, term) && !yield(cache.Repo{Registry: registry, Name: name}, nil) {
					return
				}
			}
		}
	}
}

type watchedBlobs struct {
	fakeBlobs
	asked *atomic.Int64
}

func (w watchedBlobs) Hot(repo cache.Repo, d digest.Digest) ([]byte, bool) {
	w.asked.Add(1)
	return w.fakeBlobs.Hot(repo, d)
}

func (w watchedBlobs) Stat(ctx context.Context, from cache.Origin, d digest.Digest) (int64, cache.Tier, error) {
	w.asked.Add(1)
	return w.fakeBlobs.Stat(ctx, from, d)
}

func (w watchedBlobs) Open(ctx context.Context, from cache.Origin, d digest.Digest, r cache.Range) (Content, error) {
	w.asked.Add(1)
	return w.fakeBlobs.Open(ctx, from, d, r)
}

// Link has every blob of the places as a file.
func (w watchedBlobs) Link(_ context.Context, repo cache.Repo, d digest.Digest, link func(string, int64) error) (bool, error) {
	w.asked.Add(1)
	for _, p := range places {
		if p.home != repo.String() || !p.exists || p.blob != d.String() {
			continue
		}
		f, err := os.CreateTemp("", "matrix")
		if err != nil {
			return false, err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := f.Write(p.blobBytes); err != nil {
			return false, err
		}
		return true, link(f.Name(), int64(len(p.blobBytes)))
	}
	return false, nil
}
