package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
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

func TestWarmedImagesNeedNoUpstream(t *testing.T) {
	g := newGallery(t)
	index, manifests := g.multi("1")
	single := g.image("2", 1, g.blob(2, 2_000_000), g.blob(9, 5_000))
	var told []WarmProgress
	reports := g.warm(WarmOptions{Referrers: true, Tell: func(p WarmProgress) { told = append(told, p) }}, "1", "2", string(single.Digest))
	for _, r := range reports {
		wantStatus(t, r, WarmComplete)
	}
	if last := told[len(told)-1]; last.Known != 3 || last.Have != last.Bytes || last.Bytes < 2_600_000 || len(last.Notes) > 0 {
		t.Errorf("told at last: %+v", last)
	}
	if n := len(reports[0].Complete); n != 8+8+7 { // manifests, configs, and layers without the one that both platforms have
		t.Errorf("%d manifests and blobs", n)
	}
	g.wantOnce()

	g.cut()
	g.clock.advance(1 << 40) // no tag is fresh
	for ref, d := range map[string]Descriptor{"1": index, string(index.Digest): index, "2": single, string(manifests[1].Digest): manifests[1], string(manifests[2].Digest): manifests[2],
		strings.Replace(string(index.Digest), ":", "-", 1) + ".sig": {}} {
		a, err := g.get(g, ref)
		if err != nil || d.Digest != "" && a.Manifest.Digest != d.Digest {
			t.Errorf("%s without upstream: %v", ref, err)
		}
	}
	for d, b := range g.origin.content {
		if _, err := readBlob(t, g.blobs, g, d, Whole); err != nil {
			t.Errorf("blob of %d bytes without upstream: %v", len(b), err)
		}
	}
	for d, want := range map[digest.Digest]int{index.Digest: 1, manifests[0].Digest: 1, manifests[1].Digest: 0, manifests[2].Digest: 0, manifests[3].Digest: 0} {
		if refs, _, err := g.manifests().Referrers(t.Context(), g, d); err != nil || len(refs.Manifests) != want {
			t.Errorf("referrers without upstream: %+v, %v", refs, err)
		}
	}
	wantStatus(t, g.warm(WarmOptions{Referrers: true}, "1")[0], WarmIncomplete, ".att", "unavailable") // tags that are not there cannot be known of
	wantStatus(t, g.warm(WarmOptions{}, "1")[0], WarmComplete, "stale")
}

func TestWarmedPlatforms(t *testing.T) {
	g := newGallery(t)
	index, manifests := g.multi("1")
	r := g.warm(WarmOptions{Platforms: []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}}, "1")[0]
	wantStatus(t, r, WarmComplete)
	for d, want := range map[digest.Digest]bool{index.Digest: true, manifests[0].Digest: true, manifests[1].Digest: true, manifests[2].Digest: false, manifests[3].Digest: false} {
		if slices.Contains(r.Complete, d) != want {
			t.Errorf("%s is among what was fetched: %v", d, !want)
		}
	}
	r = g.warm(WarmOptions{Platforms: []ocispec.Platform{{OS: "linux", Architecture: "s390x"}, {OS: "linux", Architecture: "arm", Variant: "v7"}}}, "1")[0]
	wantStatus(t, r, WarmIncomplete, "linux/arm/v7", "only linux/amd64, linux/s390x")
	if !slices.Contains(r.Complete, manifests[2].Digest) {
		t.Error("a platform that is there was not fetched")
	}
}

func TestSamePlatform(t *testing.T) {
	for _, c := range []struct {
		wanted, p ocispec.Platform
		want      bool
	}{
		{ocispec.Platform{OS: "linux", Architecture: "arm64"}, ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, true},
		{ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, ocispec.Platform{OS: "linux", Architecture: "arm64"}, true},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, false},
		{ocispec.Platform{OS: "windows", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "amd64"}, false},
	} {
		if samePlatform(c.wanted, c.p) != c.want {
			t.Errorf("%s, %s: %v", platformName(&c.wanted), platformName(&c.p), !c.want)
		}
	}
}

// Of a registry that limits our requests no more is asked. What is here counts, and blobs may still be had.
func TestWarmStopsAtTheLimit(t *testing.T) {
	g := newGallery(t)
	here, known := g.image("here", 1, g.blob(2, 3000)), g.image("known", 3, g.blob(4, 3000))
	g.warm(WarmOptions{}, "here")
	g.wantGet(g, "known", g.fakeManifests.manifests[known.Digest])
	refs := []string{"0"}
	for i := range 20 {
		g.image(fmt.Sprint(i), uint64(100+i))
		refs = append(refs, fmt.Sprint(i))
	}
	g.clock.advance(1 << 40)
	g.fakeManifests.fail(outage(CauseLimited), outage(CauseLimited))
	g.asked()
	reports := g.warm(WarmOptions{}, append(refs, "here", string(here.Digest), "known")...)
	for _, r := range reports[len(refs):] {
		wantStatus(t, r, WarmComplete)
	}
	wantStatus(t, reports[7], WarmIncomplete, "limit")
	if heads, gets := g.asked(); heads+gets > warmImages {
		t.Errorf("asked %d times", heads+gets)
	}

	g.fakeManifests.fail(nil, nil)
	g.origin.fail = func(int64, int64) error { return outage(CauseLimited) }
	reports = g.warm(WarmOptions{}, append(refs, "here")...)
	wantStatus(t, reports[len(refs)], WarmComplete)
	wantStatus(t, reports[7], WarmIncomplete, `"config"`, "limits our requests")
}

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
		{"a blob that comes wrong", nil, func(g *gallery) string {
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
			g.put("1", map[string]any{"manifests": []Descriptor{{Digest: "1", Size: 5}}})
			return "1"
		}, WarmIncomplete, []string{"invalid checksum digest format"}},
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

// dockerd 29 asks what refers to attestations, wanted or not.
func TestWarmAlwaysKnowsWhatRefersToAttestations(t *testing.T) {
	g := newGallery(t)
	_, manifests := g.multi("1")
	attached := g.image("", 70, g.blob(71, 400))
	g.referring[manifests[1].Digest] = []Descriptor{attached}
	r := g.warm(WarmOptions{}, "1")[0]
	wantStatus(t, r, WarmComplete)
	if slices.Contains(r.Complete, attached.Digest) {
		t.Error("what refers to it was fetched, which nobody wanted")
	}
	g.cut()
	g.clock.advance(1 << 40)
	if refs, _, err := g.manifests().Referrers(t.Context(), g, manifests[1].Digest); err != nil || len(refs.Manifests) != 1 {
		t.Errorf("%+v, %v", refs, err)
	}
	wantStatus(t, g.warm(WarmOptions{}, "1")[0], WarmComplete, "stale")
}

// A tag of a signature that may not come in is not asked for.
func TestWarmAsksForNoSignatureThatIsKeptOut(t *testing.T) {
	g := newGallery(t)
	index, _ := g.multi("1")
	r := g.warm(WarmOptions{Referrers: true, Admit: func(_ Repo, tag string) error { return errors.New(tag) }}, "1")[0]
	wantStatus(t, r, WarmComplete)
	if sig := g.tagOnDisk(nginx, strings.Replace(string(index.Digest), ":", "-", 1)+".sig"); sig != "" {
		t.Errorf("it came in: %s", sig)
	}
}

// What a command begins goes on without it, and whoever asks again fetches nothing twice.
func TestWarmIsTakenUpAgain(t *testing.T) {
	g := newGallery(t)
	g.image("1", 1, g.blob(2, 3<<20), g.blob(3, 2<<20))
	g.origin.gate = make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	began := make(chan struct{})
	go func() { // ends with began
		for n, _ := g.origin.requests(); n == 0; n, _ = g.origin.requests() {
			runtime.Gosched()
		}
		close(began)
	}()
	go func() { <-began; cancel(enough) }()
	reports, err := WarmImages(ctx, g.manifests(), g.blobs, []WarmImage{{Name: "1", From: g, Ref: "1"}}, WarmOptions{})
	if !errors.Is(err, enough) || reports[0].Status != WarmIncomplete {
		t.Fatalf("%+v, %v", reports, err)
	}
	close(g.origin.gate)
	wantStatus(t, g.warm(WarmOptions{}, "1")[0], WarmComplete)
	g.wantOnce()
}

// Images that share blobs, pulled by others meanwhile, cost each byte once.
func TestWarmJoinsFills(t *testing.T) {
	g := newGallery(t)
	shared := g.blob(2, 3<<20)
	g.image("1", 1, shared)
	g.image("2", 3, shared)
	var pulls sync.WaitGroup
	for range 4 {
		pulls.Go(func() { wantBlob(t, g.blobs, g, g.origin.content[shared.Digest], Whole) })
	}
	for _, r := range g.warm(WarmOptions{}, "1", "2") {
		wantStatus(t, r, WarmComplete)
	}
	pulls.Wait()
	g.wantOnce()
}

func TestWarmSaysBeforehandWhatDoesNotFit(t *testing.T) {
	g := newGallery(t, func(o *BlobOptions) { o.Size = 1 << 20 })
	g.image("1", 1, g.blob(2, 700_000), g.blob(3, 600_000), g.blob(4, 2<<20))
	g.origin.gate = make(chan struct{}) // nothing is fetched before it is told
	var notes []string
	tell := func(p WarmProgress) {
		if notes == nil && len(p.Notes) > 1 {
			notes = p.Notes
			close(g.origin.gate)
		}
	}
	g.warm(WarmOptions{Tell: tell}, "1")
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "2.0 MiB") || !strings.Contains(all, "has room for 1.0 MiB") {
		t.Errorf("it says %q", notes)
	}
}
