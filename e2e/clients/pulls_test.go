// Package clients drives real container engines and registry clients against the real server, in front of fake and real
// upstream registries. Each test stands alone and brings its daemons with it.
package clients

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
)

// client is one way to pull images. References are full: "docker.io/library/app:1".
type client interface {
	pull(ref string) sandbox.Result
	use(t *testing.T, ref string, img image) // runs or inspects what was pulled
	forget(t *testing.T)                     // everything that was pulled
}

// testPulls is what every client must be able to do with every upstream. absent is what the client says of a tag that is not
// there.
func testPulls(t *testing.T, c client, m mirror, u upstream, absent string) {
	cold, byDigest := u.ref("1"), u.digestRef(u.pinned.Manifest.Digest)
	steps := []struct {
		name string
		do   func(*testing.T)
	}{
		{"a cold pull fetches each byte once", func(t *testing.T) {
			mustPull(t, c, cold, u.tagged)
			u.wantOnce(t, u.tagged.Blobs())
		}},
		{"a warm pull fetches nothing", func(t *testing.T) {
			c.forget(t)
			mustPull(t, c, cold, u.tagged)
			u.wantNoContent(t)
			m.wantMoved(t, u.tagged)
		}},
		{"a pull by digest fetches that manifest", func(t *testing.T) {
			mustPull(t, c, byDigest, u.pinned)
			u.wantOnce(t, newTo(u.pinned, u.tagged))
		}},
		{"of a multi-arch image only the platform's layers are fetched", func(t *testing.T) {
			mustPull(t, c, u.ref("multi"), u.native)
			u.wantOnce(t, newTo(u.native, u.tagged))
			u.wantUntouched(t, u.foreign.Layers) // containerd asks for every platform's config
		}},
		{"an absent tag fails clearly", func(t *testing.T) { wantAbsent(t, c, u, absent) }},
		{"pulls go on without the upstream", func(t *testing.T) {
			u.Down()
			c.forget(t)
			mustPull(t, c, cold, u.tagged)
			mustPull(t, c, byDigest, u.pinned)
			mustPull(t, c, u.ref("multi"), u.native)
			m.wantMoved(t, u.tagged)
			if err := u.Up(); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, step := range steps {
		u.ResetCounters()
		m.moved.Store(0)
		if !t.Run(step.name, step.do) {
			t.FailNow() // what follows builds on it
		}
	}
}

func mustPull(t *testing.T, c client, ref string, img image) {
	t.Helper()
	if r := c.pull(ref); r.Err != nil {
		t.Fatalf("pull %s: %v\n%s", ref, r.Err, r.All)
	}
	c.use(t, ref, img)
}

func wantAbsent(t *testing.T, c client, u upstream, says string) {
	r := c.pull(u.ref("absent"))
	if r.Err == nil {
		t.Fatalf("pulled a tag that does not exist:\n%s", r.All)
	}
	if !strings.Contains(r.All, says) {
		t.Errorf("the client does not say %q:\n%s", says, r.All)
	}
	if u.Count(fakehub.KindManifestHead, fakehub.KindManifestGet) == 0 {
		t.Errorf("%s was never asked", u.host)
	}
}

// newTo returns the blobs of img that had does not have.
func newTo(img, had image) []fakehub.Blob {
	known := map[digest.Digest]bool{}
	for _, b := range had.Blobs() {
		known[b.Digest] = true
	}
	var fresh []fakehub.Blob
	for _, b := range img.Blobs() {
		if !known[b.Digest] {
			fresh = append(fresh, b)
		}
	}
	return fresh
}
