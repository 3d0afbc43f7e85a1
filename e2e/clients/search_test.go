package clients

import (
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestSearchDockerd20(t *testing.T) {
	testDockerSearch(t, sandbox.New(t), "--storage-driver", "overlay2")
}

func TestSearchDockerd29(t *testing.T) {
	b := sandbox.New(t, tools.Dockerd29(), tools.Containerd(), tools.Runc())
	b.Env = append(b.Env, "DOCKER_MIN_API_VERSION=1.41") // Debian's docker command speaks no newer one
	testDockerSearch(t, b)
}

// testDockerSearch looks for what was pushed, what was pulled, and what only the upstream has.
func testDockerSearch(t *testing.T, b *sandbox.Sandbox, args ...string) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 81)
	hub.Repo("team/application").AddImage(hub.pinned.Image, "1")
	m := newMirror(t, hub)
	d := newDocker(t, b, m, args...)
	d.Run("docker", "pull", m.addr+"/library/app:1")
	d.Run("docker", "tag", m.addr+"/library/app:1", m.addr+"/myapp:1")
	d.Run("docker", "push", m.addr+"/myapp:1")
	search := func(args ...string) []string {
		return strings.Fields(d.Run("docker", append([]string{"search", "--format", "{{.Name}}"}, args...)...))
	}
	if got, want := search(m.addr+"/app"), []string{"library/app", "myapp", "team/application"}; !same(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if got, want := search("--limit", "1", m.addr+"/app"), []string{"myapp"}; !same(got, want) {
		t.Errorf("with a limit of one: found %q, want %q", got, want)
	}
	hub.Down()
	if got, want := search(m.addr+"/app"), []string{"library/app", "myapp"}; !same(got, want) {
		t.Errorf("without the upstream: found %q, want %q", got, want)
	}
}

func TestSearchPodman(t *testing.T) {
	hub := newUpstream(t, fakehub.Options{}, "docker.io", "library/app", 82)
	hub.Repo("team/application").AddImage(hub.pinned.Image, "1")
	m := newMirror(t, hub)
	p := podman{sandbox.New(t)}
	plain := "--tls-verify=false"
	p.Run("podman", p.podman("pull", plain, m.addr+"/library/app:1")...)
	p.Run("podman", p.podman("push", plain, m.addr+"/library/app:1", m.addr+"/myapp:1")...)
	search := func(term string) []string {
		return strings.Fields(p.Run("podman", p.podman("search", plain, "--format", "{{.Name}}", m.addr+"/"+term)...))
	}
	if got, want := search("app"), []string{m.addr + "/library/app", m.addr + "/myapp", m.addr + "/team/application"}; !same(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if got, want := search(""), []string{m.addr + "/myapp"}; !same(got, want) { // that is the catalog
		t.Errorf("without a term: found %q, want %q", got, want)
	}
	hub.Down()
	if got, want := search("app"), []string{m.addr + "/library/app", m.addr + "/myapp"}; !same(got, want) {
		t.Errorf("without the upstream: found %q, want %q", got, want)
	}
}

// same compares in any order: docker sorts by stars and podman by name.
func same(got, want []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}
