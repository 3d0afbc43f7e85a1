package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// A build pushes its image and its cache into one repository, and so uploads some layers twice at once. A second daemon, which
// has neither, takes every step from that cache.
func TestPushBuildkit(t *testing.T) {
	h := newHosting(t)
	cache := h.ref("team/built:cache")
	first := newBuildkit(t, h.mirror())
	out := first.buildAndPush(t, h.ref("team/built:1"), "--export-cache", "type=registry,registry.insecure=true,mode=max,ref="+cache)
	if strings.Contains(out, " CACHED") {
		t.Errorf("the first build found a cache:\n%s", out)
	}
	if config := h.manifest(t, "team/built", "cache").Config; config.MediaType != "application/vnd.buildkit.cacheconfig.v0" {
		t.Errorf("the cache's configuration is a %s", config.MediaType)
	}

	second := newBuildkit(t, h.mirror())
	h.reset()
	out = second.buildAndPush(t, h.ref("again:1"), "--import-cache", "type=registry,registry.insecure=true,ref="+cache)
	if n := strings.Count(out, " CACHED"); n != 3 {
		t.Errorf("%d steps came from the cache, want 3:\n%s", n, out)
	}
	one, two := h.manifest(t, "team/built", "1"), h.manifest(t, "again", "1")
	if len(one.Layers) != 3 || len(two.Layers) != 3 {
		t.Fatalf("the images have %d and %d layers", len(one.Layers), len(two.Layers))
	}
	for i := range one.Layers {
		if one.Layers[i].Digest != two.Layers[i].Digest {
			t.Errorf("layer %d was built as %s, and then as %s", i, one.Layers[i].Digest, two.Layers[i].Digest)
		}
	}

	p := podman{sandbox.New(t, tools.Crane())}
	h.testCrane(t, p.Sandbox, h.ref("team/built:1"), one)
	h.reset()
	p.Run("podman", p.podman("pull", "--tls-verify=false", h.ref("again:1"))...)
	h.wantPulled(t, two)
	p.use(t, h.ref("again:1"), image{prints: "app read 1 files, 7 bytes"})
}

// buildAndPush builds an image of three layers and pushes it.
func (b buildkit) buildAndPush(t *testing.T, ref string, args ...string) (log string) {
	t.Helper()
	b.File("push/app", string(appBinary(t, 1_000_022)))
	b.File("push/data-1", "content")
	b.File("push/Dockerfile", `FROM scratch
COPY --chmod=755 app /app
COPY data-1 /data-1
RUN ["/app"]
ENTRYPOINT ["/app"]
`)
	args = append([]string{"--addr", b.socket, "build", "--frontend", "dockerfile.v0", "--progress", "plain",
		"--local", "context=" + b.Dir + "/push", "--local", "dockerfile=" + b.Dir + "/push",
		"--output", "type=image,push=true,registry.insecure=true,name=" + ref}, args...)
	r := b.Try("buildctl", args...)
	if r.Err != nil {
		t.Fatalf("build: %v\n%s", r.Err, r.All)
	}
	return r.All
}
