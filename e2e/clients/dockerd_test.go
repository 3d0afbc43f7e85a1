package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// Debian's daemon: graph drivers, `GET /v2/` first, no ?ns=.
func TestDockerd20(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 1)
	m := newMirror(t, hub)
	d := newDocker(t, sandbox.New(t), m, "--storage-driver", "overlay2")
	testPulls(t, d, m, hub, "Error response from daemon")
}

// The daemon of the 29 line: containerd image store, ?ns=docker.io, no ping. Here Docker Hub speaks TLS.
func TestDockerd29(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{TLS: true}, "docker.io", "library/app", 2)
	b := sandbox.New(t, tools.Dockerd29(), tools.Containerd(), tools.Runc())
	b.Env = append(b.Env, "DOCKER_MIN_API_VERSION=1.41") // Debian's docker command speaks no newer one
	m := newMirror(t, hub)
	testPulls(t, newDocker(t, b, m), m, hub, "not found")
}

// docker is a daemon and the docker command.
type docker struct{ *sandbox.Sandbox }

func newDocker(t *testing.T, b *sandbox.Sandbox, m mirror, args ...string) docker {
	t.Helper()
	b.Dockerd(m.configFile(t, "docker", "/etc/docker/daemon.json"), append([]string{"--bridge=none", "--iptables=false"}, args...)...)
	return docker{b}
}

func (d docker) pull(ref string) sandbox.Result { return d.Try("docker", "pull", ref) }

func (d docker) use(t *testing.T, ref string, img image) {
	t.Helper()
	out := d.Run("docker", "run", "--rm", "--network", "none", ref)
	if !strings.Contains(out, img.prints) {
		t.Errorf("%s did not print %q:\n%s", ref, img.prints, out)
	}
}

func (d docker) forget(t *testing.T) {
	t.Helper()
	d.Run("docker", "image", "prune", "--all", "--force")
	if left := d.Run("docker", "image", "ls", "--quiet"); left != "" {
		t.Fatalf("images are left:\n%s", left)
	}
}
