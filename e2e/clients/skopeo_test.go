package clients

import (
	"os"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
)

func TestSkopeo(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 8)
	gcr := newUpstream(t, fakehub.Options{}, "gcr.io", "project/app", 9)
	m := newMirror(t, hub, gcr)
	b := sandbox.New(t)
	s := skopeo{b, registriesConf(t, b, m)}
	t.Run("docker.io", func(t *testing.T) { testPulls(t, s, m, hub, "registry-1.docker.io") })
	t.Run("gcr.io", func(t *testing.T) { testPulls(t, s, m, gcr, "gcr.io") })
}

type skopeo struct {
	*sandbox.Sandbox
	registries string
}

func (s skopeo) copied() string { return s.Dir + "/copied" }

func (s skopeo) pull(ref string) sandbox.Result {
	if err := os.RemoveAll(s.copied()); err != nil {
		return sandbox.Result{Err: err}
	}
	return s.Try("skopeo", "--registries-conf", s.registries, "copy", "docker://"+ref, "dir:"+s.copied())
}

func (s skopeo) use(t *testing.T, ref string, img image) {
	t.Helper()
	wantFiles(t, s.copied(), img)
	s.Run("skopeo", "inspect", "dir:"+s.copied())
}

func (s skopeo) forget(t *testing.T) { forgetFiles(t, s.copied()) }
