package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// containerd 2 with one mirror for two registries, told apart by ?ns=.
func TestContainerd(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 4)
	gcr := newUpstream(t, fakehub.Options{TLS: true}, "gcr.io", "project/team/app", 5)
	m := newMirror(t, hub, gcr)
	c := newContainerd(t, m)
	t.Run("docker.io", func(t *testing.T) { testPulls(t, c, m, hub, "not found") })
	t.Run("gcr.io", func(t *testing.T) { testPulls(t, c, m, gcr, "not found") })
}

// ctr is a daemon and the ctr command.
type ctr struct {
	*sandbox.Sandbox
	socket, hosts string
}

func newContainerd(t *testing.T, m mirror) ctr {
	t.Helper()
	b := sandbox.New(t, tools.Containerd(), tools.Runc())
	c := ctr{b, b.Dir + "/containerd.sock", b.Dir + "/certs.d"}
	for path, content := range m.configFiles(t, "containerd") {
		if name, hosts := strings.CutPrefix(path, "/etc/containerd/certs.d/"); hosts {
			b.File("certs.d/"+name, content)
		}
	}
	config := b.File("containerd.toml", `version = 3
root = "`+b.Dir+`/root"
state = "`+b.Dir+`/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
  address = "`+c.socket+`"
[ttrpc]
  address = "`+c.socket+`.ttrpc"
`)
	ready := func() error {
		return b.Quiet("ctr", "--address", c.socket, "version").Err
	}
	b.Daemon(ready, "containerd", "--config", config)
	return c
}

func (c ctr) ctr(args ...string) []string { return append([]string{"--address", c.socket}, args...) }

func (c ctr) pull(ref string) sandbox.Result {
	return c.Try("ctr", c.ctr("images", "pull", "--hosts-dir", c.hosts, ref)...)
}

func (c ctr) use(t *testing.T, ref string, img image) {
	t.Helper()
	out := c.Run("ctr", c.ctr("run", "--rm", ref, "app")...)
	if !strings.Contains(out, img.prints) {
		t.Errorf("%s did not print %q:\n%s", ref, img.prints, out)
	}
}

func (c ctr) forget(t *testing.T) {
	t.Helper()
	if names := strings.Fields(c.Run("ctr", c.ctr("images", "list", "--quiet")...)); len(names) > 0 {
		c.Run("ctr", c.ctr(append([]string{"images", "remove", "--sync"}, names...)...)...)
	}
	if left := c.Run("ctr", c.ctr("content", "list", "--quiet")...); left != "" {
		t.Fatalf("content is left:\n%s", left)
	}
}
