package cache

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// gallery is a repository with whole images, and a cache before it.
type gallery struct {
	*office
	*fakeManifests
	blobs     *Blobs
	origin    *fakeOrigin
	mu        sync.Mutex // guards the rest
	referring map[digest.Digest][]Descriptor
	listErr   error
	listed    int
}

func newGallery(t *testing.T, change ...func(*BlobOptions)) *gallery {
	t.Helper()
	o := newOffice(t, 1<<20)
	g := &gallery{office: o, fakeManifests: newFakeManifests(nginx), origin: newOrigin(nginx.Name), referring: map[digest.Digest][]Descriptor{}}
	g.fakeManifests.Origin = g.origin
	g.blobs = blobsAt(t, t.TempDir(), append([]func(*BlobOptions){func(b *BlobOptions) { b.Seen, b.Memory = o.seen, o.memory }}, change...)...)
	return g
}

func (g *gallery) ListTags(context.Context, int, string) ([]string, bool, error) {
	return nil, false, errors.New("nobody asks for tags")
}

func (g *gallery) FetchReferrers(_ context.Context, d digest.Digest) (ocispec.Index, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listed++
	return ocispec.Index{Manifests: g.referring[d]}, g.listErr
}

// blob puts one upstream.
func (g *gallery) blob(seed uint64, size int) Descriptor {
	b := randomBytes(seed, size)
	d := digest.FromBytes(b)
	g.origin.content[d] = b
	return Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(size)}
}

// put makes a manifest of what it is told to name.
func (g *gallery) put(tag string, fields map[string]any) Descriptor {
	b, err := json.Marshal(fields)
	if err != nil {
		g.t.Fatal(err)
	}
	man := g.pushBytes(tag, b)
	return Descriptor{MediaType: man.MediaType, Digest: man.Digest, Size: int64(len(b))}
}

func (g *gallery) image(tag string, seed uint64, layers ...Descriptor) Descriptor {
	return g.put(tag, map[string]any{"config": g.blob(seed, 700), "layers": layers})
}

func (g *gallery) warm(o WarmOptions, refs ...string) []WarmReport {
	g.t.Helper()
	var images []WarmImage
	for _, ref := range refs {
		images = append(images, WarmImage{Name: ref, From: g, Ref: ref})
	}
	reports, err := WarmImages(g.t.Context(), g.manifests(), g.blobs, images, o)
	if err != nil || len(reports) != len(refs) {
		g.t.Fatalf("%d reports, %v", len(reports), err)
	}
	return reports
}

func (g *gallery) manifests() *Manifests { return g.office.manifests }

// Repo and what follows would be found twice.
func (g *gallery) Repo() Repo { return g.fakeManifests.repo }

func (g *gallery) cut() {
	g.fakeManifests.fail(outage(CauseFailed), outage(CauseFailed))
	g.origin.fail = func(int64, int64) error { return outage(CauseFailed) }
	g.origin.stat = func() (int64, error) { return 0, outage(CauseFailed) }
	g.mu.Lock()
	g.listErr = outage(CauseFailed)
	g.mu.Unlock()
}

// wantOnce checks that all of the origin's bytes left it, each once.
func (g *gallery) wantOnce() {
	g.t.Helper()
	var want int64
	for _, b := range g.origin.content {
		want += int64(len(b))
	}
	g.origin.mu.Lock()
	defer g.origin.mu.Unlock()
	if sent := g.origin.served.bytes() + g.origin.twice; sent != want {
		g.t.Errorf("upstream sent %d bytes of %d", sent, want)
	}
}

func wantStatus(t *testing.T, r WarmReport, want WarmStatus, says ...string) {
	t.Helper()
	b, _ := json.Marshal(r)
	if r.Status != want {
		t.Errorf("%s is %s, want %s: %s", r.Image, r.Status, want, b)
	}
	for _, s := range says {
		if !strings.Contains(string(b), s) {
			t.Errorf("%s does not say %q: %s", r.Image, s, b)
		}
	}
}

// multi is an index of two platforms, each with an attestation, a signature by referrer and one by tag.
func (g *gallery) multi(tag string) (index Descriptor, manifests []Descriptor) {
	for i, arch := range []string{"amd64", "s390x"} {
		m := g.image("", uint64(10*i+20), g.blob(uint64(10*i+21), 300_000), g.blob(9, 5_000))
		m.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		a := g.image("", uint64(10*i+22), g.blob(uint64(10*i+23), 900))
		a.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
		a.Annotations = map[string]string{attestationType: "attestation-manifest", attestationOf: string(m.Digest)}
		manifests = append(manifests, m, a)
	}
	index = g.put(tag, map[string]any{"manifests": manifests})
	g.referring[index.Digest] = []Descriptor{g.image("", 50, g.blob(51, 400))}
	g.referring[manifests[0].Digest] = []Descriptor{g.image("", 52, g.blob(53, 400))}
	g.image(strings.Replace(string(index.Digest), ":", "-", 1)+".sig", 54, g.blob(55, 400))
	return index, manifests
}
