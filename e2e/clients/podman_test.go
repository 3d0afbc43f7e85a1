package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
)

// podman has mirrors in registries.conf and sends no ?ns=: gcr.io is told by the path.
func TestPodman(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 6)
	gcr := newUpstream(t, fakehub.Options{}, "gcr.io", "project/app", 7)
	m := newMirror(t, hub, gcr)
	b := sandbox.New(t)
	b.Env = append(b.Env, "CONTAINERS_REGISTRIES_CONF="+registriesConf(t, b, m))
	p := podman{b}
	t.Run("docker.io", func(t *testing.T) { testPulls(t, p, m, hub, "registry-1.docker.io") })
	t.Run("gcr.io", func(t *testing.T) { testPulls(t, p, m, gcr, "gcr.io") })
}

// registriesConf is what client-config prints for podman, in a file of the sandbox.
func registriesConf(t *testing.T, b *sandbox.Sandbox, m mirror) string {
	t.Helper()
	return b.File("registries.conf", m.configFile(t, "podman", "/etc/containers/registries.conf.d/entrepot.conf"))
}

type podman struct{ *sandbox.Sandbox }

// podman puts the store into the sandbox. It has no daemon.
func (p podman) podman(args ...string) []string {
	return append([]string{"--root", p.Dir + "/store", "--runroot", p.Dir + "/run", "--tmpdir", p.Dir + "/libpod", "--storage-driver", "overlay",
		"--cgroup-manager", "cgroupfs", "--events-backend", "none"}, args...)
}

func (p podman) pull(ref string) sandbox.Result { return p.Try("podman", p.podman("pull", ref)...) }

func (p podman) use(t *testing.T, ref string, img image) {
	t.Helper()
	out := p.Run("podman", p.podman("run", "--rm", "--pull", "never", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", ref)...)
	if !strings.Contains(out, img.prints) {
		t.Errorf("%s did not print %q:\n%s", ref, img.prints, out)
	}
}

func (p podman) forget(t *testing.T) {
	t.Helper()
	p.Run("podman", p.podman("rmi", "--all", "--force")...)
}
