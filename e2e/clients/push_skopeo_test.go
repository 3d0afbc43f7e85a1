package clients

import (
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestPushSkopeo(t *testing.T) {
	h := newHosting(t)
	b := sandbox.New(t, tools.Crane())
	copyAs := func(from, to string, args ...string) {
		t.Helper()
		b.Run("skopeo", append([]string{"copy", "--src-tls-verify=false", "--dest-tls-verify=false", from, "docker://" + h.ref(to)}, args...)...)
	}

	t.Run("a layout", func(t *testing.T) {
		img := newPushImage(t, 8)
		copyAs("oci:"+writeLayout(t, b, img.Manifest, img)+":1", "team/layout:1")
		p := h.wantSame(t, "team/layout", "1", img)
		h.wantUploaded(t, p.blobs()...)
		h.testSkopeo(t, b, h.ref("team/layout:1"), p)
		wantFiles(t, b.Dir+"/skopeo", img)
		h.testCrane(t, b, h.ref("team/layout:1"), p)
	})
	t.Run("an archive of Docker", func(t *testing.T) {
		img := newPushImage(t, 12)
		copyAs("docker-archive:"+packLayout(t, b, writeLayout(t, b, img.Manifest, img)), "team/archive:1")
		p := h.wantImage(t, "team/archive", "1", img)
		wantType(t, p, fakehub.DockerManifest)
		h.testSkopeo(t, b, h.ref("team/archive:1"), p)
		h.testCrane(t, b, h.ref("team/archive:1"), p)
	})
	t.Run("all platforms", func(t *testing.T) {
		index, native, foreign := newPushIndex(t, 14)
		copyAs("oci:"+writeLayout(t, b, index, native, foreign)+":1", "team/index:1", "--all")
		wantDigest(t, h.manifest(t, "team/index", "1"), index.Digest)
		h.wantSame(t, "team/index", native.Manifest.Digest.String(), native)
		h.wantSame(t, "team/index", foreign.Manifest.Digest.String(), foreign)
		b.Run("crane", "validate", "--remote", h.ref("team/index:1"))

		h.reset()
		copyAs("docker://"+h.ref("team/index:1"), "copied:1", "--all")
		wantDigest(t, h.manifest(t, "copied", "1"), index.Digest)
		h.wantMounted(t, append(descriptors(native.Layers), descriptors(foreign.Layers)...)...)
		h.wantUploaded(t, native.Config.Descriptor, foreign.Config.Descriptor)
	})
	t.Run("delete", func(t *testing.T) {
		b.Run("skopeo", "delete", "--tls-verify=false", "docker://"+h.ref("team/archive:1"))
		h.wantGone(t, "team/archive", "1")
		if r := b.Try("skopeo", "inspect", "--tls-verify=false", "docker://"+h.ref("team/archive:1")); r.Err == nil {
			t.Errorf("skopeo inspects a deleted image:\n%s", r.All)
		}
	})
}
