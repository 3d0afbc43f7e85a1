package clients

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// buildkit pulls the images that a Dockerfile begins with. Its stargz snapshotter looks at every layer for eStargz first, and
// pulls these in the plain way.
func TestBuildkit(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 14)
	m := newMirror(t, hub)
	testPulls(t, newBuildkit(t, m), m, hub, "not found")
}

// An eStargz image is mounted from a cold mirror, and only what the build reads is taken: its layer is never downloaded
// whole by the client. The mirror has it whole in the end, each byte fetched once.
func TestStargzLazyPull(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{Bandwidth: 20 << 20, Latency: 20 * time.Millisecond}, "docker.io", "library/app", 16)
	img := lazyImage(t)
	hub.Repo("library/lazy").AddImage(img, "1")
	m := newMirror(t, hub)
	b := newBuildkit(t, m)

	build := func(t *testing.T, file int) {
		r := b.build("docker.io/library/lazy:1", "/app", fmt.Sprintf("/data-%d", file))
		if want := fmt.Sprintf("app read 1 files, %d bytes", lazyFileSize); r.Err != nil || !strings.Contains(r.All, want) {
			t.Fatalf("build: %v, want %q\n%s", r.Err, want, r.All)
		}
		if moved := m.moved.Swap(0); moved > img.Size()/4 {
			t.Errorf("the client took %d bytes to read %d of an image of %d", moved, lazyFileSize, img.Size())
		}
	}
	build(t, lazyFiles/2)
	hub.wantOnce(t, img.Layers)

	hub.Down()
	b.forget(t)
	build(t, lazyFiles/3)
}

// buildkit is a daemon and the buildctl command.
type buildkit struct {
	*sandbox.Sandbox
	socket string
	last   *sandbox.Result
}

func newBuildkit(t *testing.T, m mirror) buildkit {
	t.Helper()
	b := buildkit{sandbox.New(t, tools.Buildkit(), tools.Runc()), "", &sandbox.Result{}}
	b.socket = "unix://" + b.Dir + "/buildkitd.sock"
	config := b.File("buildkitd.toml", `root = "`+b.Dir+`/root"
[grpc]
  address = ["`+b.socket+`"]
[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  snapshotter = "stargz"
  networkMode = "host"
  [worker.oci.stargzSnapshotter]
    no_background_fetch = true
    noprefetch = true
`+m.configFile(t, "buildkit", "/etc/buildkit/buildkitd.toml"))
	ready := func() error { return b.Quiet("buildctl", "--addr", b.socket, "debug", "workers").Err }
	b.Daemon(ready, "buildkitd", "--config", config)
	return b
}

// build runs one program in an image.
func (b buildkit) build(from, program string, args ...string) sandbox.Result {
	words := append([]string{program}, args...)
	dockerfile := fmt.Sprintf("FROM %s\nRUN [\"%s\"]\n", from, strings.Join(words, `","`))
	b.File("context/Dockerfile", dockerfile)
	return b.Try("buildctl", "--addr", b.socket, "build", "--frontend", "dockerfile.v0", "--progress", "plain", "--no-cache",
		"--local", "context="+b.Dir+"/context", "--local", "dockerfile="+b.Dir+"/context")
}

// pull is a build that runs the image's program: a FROM alone is not fetched.
func (b buildkit) pull(ref string) sandbox.Result {
	*b.last = b.build(ref, "/app")
	return *b.last
}

func (b buildkit) use(t *testing.T, ref string, img image) {
	t.Helper()
	if !strings.Contains(b.last.All, img.prints) {
		t.Errorf("%s did not print %q:\n%s", ref, img.prints, b.last.All)
	}
}

func (b buildkit) forget(t *testing.T) {
	t.Helper()
	b.Run("buildctl", "--addr", b.socket, "prune", "--all")
}
