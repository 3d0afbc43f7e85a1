package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// The graph driver compresses layers anew and makes a manifest of its own. The configuration it keeps, and it uploads that
// to every repository.
func TestPushDockerd20(t *testing.T) {
	h := newHosting(t)
	d := newDocker(t, sandbox.New(t, tools.Crane()), h.mirror(), "--storage-driver", "overlay2")
	img := newPushImage(t, 1)
	p := testDockerPush(t, d, h, img)
	if p.Config.Digest != img.Config.Digest || p.MediaType != fakehub.DockerManifest {
		t.Errorf("the daemon pushed a %s of %s, want %s", p.MediaType, p.Config.Digest, img.Config.Digest)
	}
	h.wantMounted(t, p.Layers...)
	h.wantUploaded(t, p.Config)
}

// The containerd image store pushes the blobs and the manifest that it loaded.
func TestPushDockerd29(t *testing.T) {
	h := newHosting(t)
	d := newDocker(t, newDockerd29(t), h.mirror())
	img := newPushImage(t, 2)
	p := testDockerPush(t, d, h, img)
	if p.digest != img.Manifest.Digest {
		t.Errorf("the daemon pushed manifest %s, want %s", p.digest, img.Manifest.Digest)
	}
	h.wantMounted(t, p.blobs()...)
	h.wantUploaded(t)
}

// What came through the cache is pushed under a hosted name without a layer's bytes, and stays when the cache's upstream is gone.
func TestPushPulledDockerd20(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 19)
	h := newHosting(t, hub)
	d := newDocker(t, sandbox.New(t, tools.Crane()), h.mirror(), "--storage-driver", "overlay2")
	p := testDockerPushPulled(t, d, h, hub)
	h.wantMounted(t, p.Layers...)
	h.wantUploaded(t, p.Config)
}

func TestPushPulledDockerd29(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 21)
	h := newHosting(t, hub)
	d := newDocker(t, newDockerd29(t), h.mirror())
	p := testDockerPushPulled(t, d, h, hub)
	h.wantMounted(t, p.blobs()...)
	h.wantUploaded(t)
}

func newDockerd29(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	b := sandbox.New(t, tools.Dockerd29(), tools.Containerd(), tools.Runc(), tools.Crane())
	b.Env = append(b.Env, "DOCKER_MIN_API_VERSION=1.41") // Debian's docker command speaks no newer one
	return b
}

// testDockerPush pushes an image to one repository, again, under a second tag, and, after the last reset, to a second repository.
func testDockerPush(t *testing.T, d docker, h hosting, img image) pushed {
	t.Helper()
	one, again, other := h.ref("my-image:v1"), h.ref("my-image:v2"), h.ref("team/other:v1")
	d.Run("docker", "load", "--input", packLayout(t, d.Sandbox, writeLayout(t, d.Sandbox, img.Manifest, img)))
	for _, ref := range []string{one, again, other} {
		d.Run("docker", "tag", "loaded:1", ref)
	}

	d.Run("docker", "push", one)
	p := h.wantImage(t, "my-image", "v1", img)
	h.wantUploaded(t, p.blobs()...)
	h.reset()
	d.Run("docker", "push", one)
	d.Run("docker", "push", again)
	h.wantUploaded(t)
	h.wantTags(t, "my-image", "v1", "v2")

	h.testCrane(t, d.Sandbox, one, p)
	d.forget(t)
	h.reset()
	mustPull(t, d, one, img)
	h.wantPulled(t, p)

	d.Run("docker", "tag", one, other)
	h.reset()
	d.Run("docker", "push", other)
	if q := h.wantImage(t, "team/other", "v1", img); q.digest != p.digest {
		t.Errorf("the second repository has manifest %s, the first %s", q.digest, p.digest)
	}
	return p
}

// testDockerPushPulled pulls an upstream's image through the server, pushes it, after the last reset, under a hosted name and
// under one that is not, and pulls it back without the upstream.
func testDockerPushPulled(t *testing.T, d docker, h hosting, hub upstream) pushed {
	t.Helper()
	theirs, refused, mine := h.ref(hub.repo+":1"), h.ref("other/app:1"), h.ref("mine:1")
	mustPull(t, d, theirs, hub.tagged)
	d.Run("docker", "tag", theirs, mine)
	h.reset()
	d.Run("docker", "push", mine)
	p := h.wantImage(t, "mine", "1", hub.tagged)

	d.Run("docker", "tag", theirs, refused)
	if r := d.Try("docker", "push", refused); r.Err == nil || !strings.Contains(r.All, "set ENTREPOT_HOSTED=other") {
		t.Errorf("push to an upstream's name: %v\n%s", r.Err, r.All)
	}

	hub.Down()
	d.forget(t)
	h.moved.Store(0)
	mustPull(t, d, mine, hub.tagged)
	h.wantPulled(t, p)
	return p
}
