package clients

import (
	"net/http"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// Both keep layers unpacked, so that each push compresses them anew.
func TestPushPodman(t *testing.T) {
	h := newHosting(t)
	p := podman{sandbox.New(t, tools.Crane())}
	img := newPushImage(t, 4)
	for _, format := range []struct{ name, mediaType string }{{"v2s2", fakehub.DockerManifest}, {"oci", ocispec.MediaTypeImageManifest}} {
		t.Run(format.name, func(t *testing.T) {
			ref := h.ref("team/podman:" + format.name)
			p.Run("podman", p.podman("pull", "oci:"+writeLayout(t, p.Sandbox, img.Manifest, img)+":1")...)
			h.reset()
			p.Run("podman", p.podman("push", "--tls-verify=false", "--format", format.name, img.Config.Digest.Encoded(), ref)...)
			got := h.wantImage(t, "team/podman", format.name, img)
			wantType(t, got, format.mediaType)
			h.testCrane(t, p.Sandbox, ref, got)

			p.forget(t)
			h.reset()
			p.Run("podman", p.podman("pull", "--tls-verify=false", ref)...)
			h.wantPulled(t, got)
			p.use(t, ref, img)
		})
	}
	h.wantTags(t, "team/podman", "oci", "v2s2")
}

// podman makes an index of images of its own.
func TestPushPodmanManifest(t *testing.T) {
	h := newHosting(t)
	p := podman{sandbox.New(t, tools.Crane())}
	_, native, foreign := newPushIndex(t, 5)
	p.Run("podman", p.podman("manifest", "create", "all")...)
	for _, img := range []image{native, foreign} {
		p.Run("podman", p.podman("pull", "oci:"+writeLayout(t, p.Sandbox, img.Manifest, img)+":1")...)
		p.Run("podman", p.podman("manifest", "add", "all", "containers-storage:"+img.Config.Digest.Encoded())...)
	}
	ref := h.ref("team/all:1")
	p.Run("podman", p.podman("manifest", "push", "--all", "--tls-verify=false", "all", "docker://"+ref)...)

	var index ocispec.Index
	h.get(t, "/v2/team/all/manifests/1", http.StatusOK, &index)
	if len(index.Manifests) != 2 {
		t.Fatalf("the index has %d manifests", len(index.Manifests))
	}
	for i, img := range []image{native, foreign} {
		h.wantImage(t, "team/all", index.Manifests[i].Digest.String(), img)
	}
	p.Run("crane", "validate", "--remote", ref)
	p.forget(t)
	h.reset()
	p.Run("podman", p.podman("pull", "--tls-verify=false", ref)...)
	h.wantPulled(t, h.manifest(t, "team/all", index.Manifests[0].Digest.String()))
	p.use(t, ref, native)
}

func TestPushBuildah(t *testing.T) {
	h := newHosting(t)
	b := sandbox.New(t, tools.Crane())
	img := newPushImage(t, 6)
	buildah := func(args ...string) []string {
		return append([]string{"--root", b.Dir + "/store", "--runroot", b.Dir + "/run", "--storage-driver", "overlay"}, args...)
	}
	for _, format := range []struct{ name, mediaType string }{{"v2s2", fakehub.DockerManifest}, {"oci", ocispec.MediaTypeImageManifest}} {
		t.Run(format.name, func(t *testing.T) {
			ref := h.ref("team/buildah:" + format.name)
			b.Run("buildah", buildah("pull", "oci:"+writeLayout(t, b, img.Manifest, img)+":1")...)
			b.Run("buildah", buildah("push", "--tls-verify=false", "--format", format.name, img.Config.Digest.Encoded(), "docker://"+ref)...)
			got := h.wantImage(t, "team/buildah", format.name, img)
			wantType(t, got, format.mediaType)
			h.testCrane(t, b, ref, got)

			b.Run("buildah", buildah("rmi", "--all", "--force")...)
			h.reset()
			b.Run("buildah", buildah("pull", "--tls-verify=false", ref)...)
			h.wantPulled(t, got)
			b.Run("buildah", buildah("rmi", "--all", "--force")...)
		})
	}
}
