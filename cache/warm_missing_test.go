package cache

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestWarmReportsWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*BlobOptions)
		spoil  func(*gallery) (ref string)
		status WarmStatus
		says   []string
	}{
		{"a tag that is not there", nil, func(g *gallery) string { return "none" }, WarmIncomplete, []string{`"image"`, "not found"}},
		{"a blob that upstream has lost", nil, func(g *gallery) string {
			layer := g.blob(7, 5000)
			delete(g.origin.content, layer.Digest)
			g.image("1", 1, layer)
			return "1"
		}, WarmIncomplete, []string{`"layer"`, "not found"}},
		{"a blob that comes wrong", hasty(), func(g *gallery) string {
			g.image("1", 1, g.blob(7, 200_000))
			g.origin.damage = func(b []byte) []byte { b[0]++; return b }
			return "1"
		}, WarmIncomplete, []string{"do not match"}},
		{"a foreign layer is nobody's fault", nil, func(g *gallery) string {
			g.image("1", 1, Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromString("far"), Size: 5, URLs: []string{"https://example.com"}})
			return "1"
		}, WarmComplete, []string{`"skipped":[{"what":"layer"`}},
		{"a child that upstream has lost", nil, func(g *gallery) string {
			g.put("1", map[string]any{"manifests": []Descriptor{{Digest: digest.FromString("lost"), Size: 5, Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64"}}}})
			return "1"
		}, WarmIncomplete, []string{`"manifest"`, "linux/arm64"}},
		{"a child whose digest is none", nil, func(g *gallery) string {
			g.put("1", map[string]any{"manifests": []Descriptor{{Digest: "2", Size: 5}}})
			g.image("2", 1, g.blob(7, 500))
			return "1"
		}, WarmIncomplete, []string{`"manifest","name":"2"`, "invalid checksum digest format"}},
		{"a layer whose digest is none", nil, func(g *gallery) string {
			g.image("1", 1, Descriptor{Digest: "sha256:../x", Size: 5})
			return "1"
		}, WarmIncomplete, []string{`"layer"`, "invalid checksum digest length"}},
		{"a blob that no tier can hold", func(o *BlobOptions) { o.Size = 1 << 20 }, func(g *gallery) string {
			g.image("1", 1, g.blob(7, 2<<20))
			return "1"
		}, WarmIncomplete, []string{"does not fit", "2.0 MiB"}},
		{"more than there is room for", func(o *BlobOptions) { o.Size = 1 << 20 }, func(g *gallery) string {
			g.image("1", 1, g.blob(7, 700_000), g.blob(8, 700_000))
			return "1"
		}, WarmIncomplete, nil},
		{"what was given up for the rest", func(o *BlobOptions) { o.Size = 1 << 20 }, func(g *gallery) string {
			var layers []Descriptor
			for i := range 12 {
				layers = append(layers, g.blob(uint64(7+i), 200_000))
			}
			g.image("1", 1, layers...)
			return "1"
		}, WarmIncomplete, []string{"given up again"}},
		{"without a disk tier, small blobs in memory", func(o *BlobOptions) { o.Size = 0 }, func(g *gallery) string {
			g.image("1", 1, g.blob(7, 500))
			return "1"
		}, WarmComplete, nil},
		{"without a disk tier, no large ones", func(o *BlobOptions) { o.Size = 0 }, func(g *gallery) string {
			g.image("1", 1, g.blob(7, 500_000))
			return "1"
		}, WarmIncomplete, []string{"does not fit"}},
		{"what is no manifest", nil, func(g *gallery) string { g.pushBytes("1", []byte(`[1]`)); return "1" }, WarmIncomplete, []string{"cannot be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var change []func(*BlobOptions)
			if c.change != nil {
				change = append(change, c.change)
			}
			g := newGallery(t, change...)
			ref := c.spoil(g)
			wantStatus(t, g.warm(WarmOptions{}, ref)[0], c.status, c.says...)
		})
	}
}

// hasty makes time pass with each look at the clock.
func hasty() func(*BlobOptions) {
	clock := newManualClock()
	return func(o *BlobOptions) { o.Now = func() time.Time { clock.advance(corruptFor / 3); return clock.now() } }
}

// Ranges that a registry cuts wrongly are followed by one plain stream.
func TestWarmFetchesAnewWhatCameWrong(t *testing.T) {
	g := newGallery(t, hasty())
	layer := g.blob(2, 3<<20)
	g.image("1", 1, layer)
	g.origin.damage = func(b []byte) []byte {
		if n := len(b); n < 3<<20 && n != 700 { // 700: the config comes whole
			b[0]++
		}
		return b
	}
	wantStatus(t, g.warm(WarmOptions{}, "1")[0], WarmComplete)
	wantBlob(t, g.blobs, g, g.origin.content[layer.Digest], Whole)
}

// Whoever has had enough does not wait until what came wrong may be asked for again.
func TestWarmDoesNotHoldOutForWhatCameWrong(t *testing.T) {
	g := newGallery(t, func(o *BlobOptions) { o.Now = newManualClock().now }) // for which that time never comes
	g.image("1", 1)
	ctx, cancel := context.WithCancel(t.Context())
	g.origin.damage = func(b []byte) []byte { cancel(); b[0]++; return b }
	reports, err := WarmImages(ctx, g.manifests(), g.blobs, []WarmImage{{Name: "1", From: g, Ref: "1"}}, WarmOptions{})
	if !errors.Is(err, context.Canceled) || reports[0].Status != WarmIncomplete {
		t.Errorf("%+v, %v", reports, err)
	}
}

// An image is not complete while it is not known what refers to it.
func TestWarmMustKnowWhatRefers(t *testing.T) {
	for _, cause := range []Cause{CauseFailed, CauseLimited} {
		g := newGallery(t)
		g.multi("1")
		g.listErr = outage(cause)
		wantStatus(t, g.warm(WarmOptions{Referrers: true}, "1")[0], WarmIncomplete, `"referrers"`)
	}
	g := newGallery(t)
	index := g.put("1", map[string]any{"manifests": []Descriptor{}})
	g.image("2", 1)
	g.referring[index.Digest] = []Descriptor{{Digest: "2", Size: 5}}
	wantStatus(t, g.warm(WarmOptions{Referrers: true}, "1")[0], WarmIncomplete, `"name":"2"`, "invalid checksum digest format")
	if g.tagOnDisk(nginx, "2") != "" {
		t.Error("a digest that is none was taken for a tag")
	}
}
