package clients

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
)

// Images that were warmed are pulled while no upstream can be reached: each platform, by tag and by digest, and what refers to
// them.
func TestWarm(t *testing.T) {
	hub := newWarmHub(t)
	gcr := newUpstream(t, fakehub.Options{TLS: true}, "gcr.io", "project/app", 71)
	m := newMirror(t, hub.upstream, gcr)
	list := sandbox.New(t).File("images", strings.Join([]string{
		"# of Docker Hub", "app:multi", "docker.io/library/app:single # one platform", hub.digestRef(hub.pinned.Manifest.Digest),
		gcr.ref("1"), "",
	}, "\n"))
	out, code := m.server.Run("warm", "--json", "--file", list)
	if code != 0 || strings.Count(out, `"status":"complete"`) != 4 {
		t.Fatalf("warm: %d\n%s", code, out)
	}
	hub.wantOnce(t, hub.blobs)
	gcr.wantOnce(t, gcr.tagged.Blobs())
	hub.ResetCounters()
	gcr.ResetCounters()
	if out, code := m.server.Run("warm", "--file", list); code != 0 {
		t.Fatalf("warm again: %d\n%s", code, out)
	}
	hub.wantNoContent(t)
	gcr.wantNoContent(t)

	hub.Down()
	gcr.Down()
	hub.ResetCounters()
	gcr.ResetCounters()
	t.Run("referrers", func(t *testing.T) { hub.wantAttached(t, m) })
	t.Run("dockerd 20", func(t *testing.T) {
		hub.pullAll(t, newDocker(t, sandbox.New(t), m, "--storage-driver", "overlay2"), m, gcr)
	})
	t.Run("dockerd 29", func(t *testing.T) { hub.pullAll(t, newDocker(t, newDockerd29(t), m), m, gcr) })
	if n := hub.Count() + gcr.Count(); n > 0 {
		t.Errorf("upstreams answered %d requests after the cut", n)
	}
}

// warmHub is an upstream with an index of three platforms, each with an attestation, and signatures of it in both forms.
type warmHub struct {
	upstream
	index     fakehub.Manifest
	platforms map[string]fakehub.Image
	referrer  fakehub.Image
	signature fakehub.Image // under a tag made of the index's digest
	blobs     []fakehub.Blob
}

func newWarmHub(t *testing.T) warmHub {
	t.Helper()
	w := warmHub{platforms: map[string]fakehub.Image{}, upstream: upstream{Hub: fakehub.New(t, fakehub.Options{}), host: "docker.io", repo: "library/app"}}
	repo, seed := w.Repo(w.repo), uint64(700)
	build := func(arch string) image {
		seed++
		img := newImage(fakehub.Spec{Layers: []int64{200_000, 3_000}, Seed: seed, Binary: []byte("never run"), Platform: ocispec.Platform{OS: "linux", Architecture: arch}})
		w.blobs = append(w.blobs, img.Blobs()...)
		return img
	}
	var images []fakehub.Image
	for _, arch := range []string{"amd64", "arm64", "s390x"} {
		img := build(arch).Image
		w.platforms["linux/"+arch] = img
		statement := fakehub.NewArtifact(img.Manifest.Descriptor, "application/vnd.in-toto+json", []byte("built for "+arch))
		statement.Manifest.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
		statement.Manifest.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": img.Manifest.Digest.String()}
		images = append(images, img, statement)
		w.blobs = append(w.blobs, statement.Layers...)
	}
	w.index = fakehub.NewIndex(false, images...)
	repo.AddIndex(w.index, images, "multi")
	w.referrer = fakehub.NewArtifact(w.index.Descriptor, "application/vnd.dev.sigstore.bundle.v0.3+json", []byte("a bundle"))
	repo.AddReferrer(w.index.Digest, w.referrer)
	w.signature = fakehub.NewArtifact(w.index.Descriptor, "", []byte("a signature"))
	repo.AddImage(w.signature, signatureTag(w.index.Digest))
	w.blobs = append(w.blobs, w.referrer.Layers[0], w.signature.Layers[0])
	w.tagged, w.pinned = build(runtime.GOARCH), build(runtime.GOARCH)
	repo.AddImage(w.tagged.Image, "single")
	repo.AddImage(w.pinned.Image)
	return w
}

func signatureTag(d digest.Digest) string { return strings.Replace(d.String(), ":", "-", 1) + ".sig" }

// pullAll pulls everything, each time into an empty store.
func (w warmHub) pullAll(t *testing.T, d docker, m mirror, gcr upstream) {
	t.Helper()
	want := func(img fakehub.Image, args ...string) {
		t.Helper()
		m.moved.Store(0)
		d.Run("docker", append([]string{"pull", "--quiet"}, args...)...)
		m.wantMoved(t, image{Image: img})
		d.forget(t)
	}
	name := w.host + "/" + w.repo
	for platform, img := range w.platforms {
		want(img, "--platform", platform, name+":multi")
		want(img, "--platform", platform, name+"@"+w.index.Digest.String())
		want(img, "--platform", platform, name+"@"+img.Manifest.Digest.String())
	}
	want(w.tagged.Image, name+":single")
	want(w.pinned.Image, name+"@"+w.pinned.Manifest.Digest.String())
	want(gcr.tagged.Image, m.addr+"/"+gcr.ref("1"))
}

// wantAttached checks that signatures are served, found in either way.
func (w warmHub) wantAttached(t *testing.T, m mirror) {
	t.Helper()
	base := "http://" + m.addr + "/v2/" + w.repo
	var index ocispec.Index
	if err := json.NewDecoder(get(t, base+"/referrers/"+w.index.Digest.String(), func(*http.Request) {}).Body).Decode(&index); err != nil ||
		len(index.Manifests) != 1 || index.Manifests[0].Digest != w.referrer.Manifest.Digest {
		t.Errorf("referrers of the index: %+v, %v", index.Manifests, err)
	}
	for _, path := range []string{
		"/manifests/" + w.referrer.Manifest.Digest.String(), "/blobs/" + w.referrer.Layers[0].Digest.String(),
		"/manifests/" + signatureTag(w.index.Digest), "/blobs/" + w.signature.Layers[0].Digest.String(),
	} {
		if resp := get(t, base+path, func(*http.Request) {}); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}
