// Package compose builds the container image and brings it up as the README says, with base images that this machine makes.
package compose

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// TestComposeUp is `docker compose up -d`, a pull through the container, and after a restart one without the upstream.
func TestComposeUp(t *testing.T) {
	p := newProject(t)
	hub := fakehub.New(t, fakehub.Options{Addr: p.gateway() + ":0", NoAuth: true, NoRedirect: true}) // one address that containers reach
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{5 << 20, 70_000}})
	hub.Repo("library/app").AddImage(img, "1")

	p.up(hub.URL())
	p.awaitHealthy()
	p.Run("docker", "pull", p.addr+"/library/app:1")
	if fetched := hub.BlobBytes(img.Blobs()...); fetched != img.Size() {
		t.Errorf("the upstream served %d bytes for an image of %d", fetched, img.Size())
	}
	if user := p.inspect("{{.Config.User}}"); strings.HasPrefix(user, "0") || user == "" {
		t.Errorf("the container runs as user %q", user)
	}

	p.compose("stop")
	if code := p.inspect("{{.State.ExitCode}}"); code != "0" {
		t.Errorf("stopped, the container has exit code %s", code)
	}
	hub.Down()
	p.compose("start")
	p.awaitHealthy()
	p.Run("docker", "image", "rm", p.addr+"/library/app:1")
	p.Run("docker", "pull", p.addr+"/library/app:1")
}

// project is the checkout's compose project on a daemon of its own.
type project struct {
	*sandbox.Sandbox
	t        *testing.T
	addr     string // where the compose file publishes the registry
	override string // file
}

func newProject(t *testing.T) *project {
	t.Helper()
	b := sandbox.New(t, tools.Compose(), tools.Dockerd29(), tools.Containerd(), tools.Runc())
	p := &project{Sandbox: b, t: t, addr: server.FreeAddr(t)}
	plugin, err := tools.Dir(t.Context(), tools.Compose())
	if err != nil {
		t.Fatal(err)
	}
	plugins := filepath.Join(b.Dir, ".docker", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(plugin, "docker-compose"), filepath.Join(plugins, "docker-compose")); err != nil {
		t.Fatal(err)
	}
	b.Env = append(b.Env, "DOCKER_MIN_API_VERSION=1.41") // Debian's docker command speaks no newer one
	b.Dockerd("{}")
	p.importBases()
	return p
}

// importBases runs the script with this test's PATH, for it needs the Go command.
func (p *project) importBases() {
	p.t.Helper()
	script := exec.Command("./base-images.sh")
	script.Env = append(os.Environ(), p.DockerHost())
	if out, err := script.CombinedOutput(); err != nil {
		p.t.Fatalf("make base images: %v\n%s", err, out)
	}
}

// gateway is this machine's address on the daemon's default bridge.
func (p *project) gateway() string {
	p.t.Helper()
	return strings.TrimSpace(p.Run("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"))
}

// up changes only what the test must: where the registry is published, and where Docker Hub is.
func (p *project) up(hub string) {
	p.t.Helper()
	p.override = p.File("override.yml", fmt.Sprintf(`services:
  entrepot:
    ports: !override ["%s:5000"]
    environment:
      ENTREPOT_UPSTREAMS: docker.io=%s
      ENTREPOT_TAG_TTL: 1ms
`, p.addr, hub))
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Log(p.compose("logs"))
		}
		p.compose("down", "--volumes", "--timeout", "5")
	})
	p.compose("up", "--detach")
}

func (p *project) compose(args ...string) string {
	p.t.Helper()
	files := []string{"compose", "--project-name", "e2e", "--file", filepath.Join(server.Root(), "docker-compose.yml"), "--file", p.override}
	return p.Run("docker", append(files, args...)...)
}

// inspect gives a field of the one container.
func (p *project) inspect(format string) string {
	p.t.Helper()
	id := strings.TrimSpace(p.compose("ps", "--all", "--quiet", "entrepot"))
	return strings.TrimSpace(p.Run("docker", "inspect", "--format", format, id))
}

// awaitHealthy polls the image's health check, which runs every few seconds.
func (p *project) awaitHealthy() {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for p.inspect("{{.State.Health.Status}}") != "healthy" {
		if time.Now().After(deadline) {
			p.t.Fatalf("the container is not healthy: %s", p.inspect("{{json .State}}"))
		}
		time.Sleep(time.Second)
	}
}
