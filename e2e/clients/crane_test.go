package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// crane has no mirror setting: the upstream's name is the first part of the path.
func TestCrane(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{NoRedirect: true}, "docker.io", "library/app", 10)
	gcr := newUpstream(t, fakehub.Options{}, "gcr.io", "project/app", 11)
	m := newMirror(t, hub, gcr)
	c := crane{sandbox.New(t, tools.Crane()), m.addr}
	t.Run("docker.io", func(t *testing.T) { testPulls(t, c, m, hub, "MANIFEST_UNKNOWN") })
	t.Run("gcr.io", func(t *testing.T) { testPulls(t, c, m, gcr, "MANIFEST_UNKNOWN") })
}

type crane struct {
	*sandbox.Sandbox
	mirror string
}

func (c crane) tarball() string { return c.Dir + "/pulled.tar" }

func (c crane) pull(ref string) sandbox.Result {
	return c.Try("crane", "pull", "--platform", platform, c.mirror+"/"+ref, c.tarball())
}

// use has crane compute every digest of the tarball anew.
func (c crane) use(t *testing.T, ref string, img image) {
	t.Helper()
	c.Run("crane", "validate", "--tarball", c.tarball())
	if list := c.Run("tar", "-xOf", c.tarball(), "manifest.json"); !strings.Contains(list, img.Config.Digest.String()) {
		t.Errorf("%s is another image: %s", ref, list)
	}
}

func (c crane) forget(t *testing.T) { forgetFiles(t, c.tarball()) }
