package clients

import (
	"os"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// regctl asks its mirrors with ?ns=registry-1.docker.io, and the first GET already names the tag.
func TestRegctl(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 12)
	m := newMirror(t, hub)
	b := sandbox.New(t, tools.Regctl())
	b.Run("regctl", "registry", "set", m.addr, "--tls", "disabled")
	b.Run("regctl", "registry", "set", "docker.io", "--mirror", m.addr, "--skip-check")
	testPulls(t, regctl{b}, m, hub, "registry-1.docker.io")
}

type regctl struct{ *sandbox.Sandbox }

func (r regctl) layout() string { return r.Dir + "/layout" }

func (r regctl) pull(ref string) sandbox.Result {
	if err := os.RemoveAll(r.layout()); err != nil {
		return sandbox.Result{Err: err}
	}
	return r.Try("regctl", "image", "copy", "--platform", platform, ref, "ocidir://"+r.layout()+":pulled")
}

func (r regctl) use(t *testing.T, ref string, img image) {
	t.Helper()
	wantFiles(t, r.layout()+"/blobs/sha256", img)
}

func (r regctl) forget(t *testing.T) { forgetFiles(t, r.layout()) }
