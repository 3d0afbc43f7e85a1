package clients

import "testing"

// containerd mounts what it pulled from the same registry, not what it pushed there.
func TestPushContainerd(t *testing.T) {
	h := newHosting(t)
	c := newContainerd(t, h.mirror())
	index, native, foreign := newPushIndex(t, 24)
	c.Run("ctr", c.ctr("images", "import", "--all-platforms", "--local", packLayout(t, c.Sandbox, writeLayout(t, c.Sandbox, index, native, foreign)))...)

	one, other := h.ref("team/ctr:1"), h.ref("other:1")
	c.Run("ctr", c.ctr("images", "push", "--hosts-dir", c.hosts, "--local", one, layoutName)...)
	wantDigest(t, h.manifest(t, "team/ctr", "1"), index.Digest)
	p := h.wantSame(t, "team/ctr", native.Manifest.Digest.String(), native)
	q := h.wantSame(t, "team/ctr", foreign.Manifest.Digest.String(), foreign)
	h.wantUploaded(t, append(p.blobs(), q.blobs()...)...)
	h.reset()
	c.Run("ctr", c.ctr("images", "push", "--hosts-dir", c.hosts, "--local", one, layoutName)...)
	h.wantUploaded(t)

	c.forget(t)
	h.reset()
	c.Run("ctr", c.ctr("images", "pull", "--hosts-dir", c.hosts, "--local", "--all-platforms", one)...)
	h.wantPulled(t, p)
	c.use(t, one, native)

	h.reset()
	c.Run("ctr", c.ctr("images", "push", "--hosts-dir", c.hosts, "--local", other, one)...)
	h.wantMounted(t, append(p.blobs(), q.blobs()...)...)
	h.wantUploaded(t)
	wantDigest(t, h.manifest(t, "other", "1"), index.Digest)
	h.testSkopeo(t, c.Sandbox, other, p)
}
