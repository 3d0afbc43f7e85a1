// Package compose builds the container image and brings it up by the compose files, with images that this machine makes in
// place of those that others publish.
package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// TestComposeUp brings up one file after the other on one daemon, so that the image is built once.
func TestComposeUp(t *testing.T) {
	e := newEngine(t)
	e.oneServer()
	e.replicas()
}

// engine is a daemon of its own with the compose plugin.
type engine struct {
	*sandbox.Sandbox
	t *testing.T
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, Sandbox: sandbox.New(t, tools.Compose(), tools.Dockerd29(), tools.Containerd(), tools.Runc())}
	plugins := filepath.Join(e.Dir, ".docker", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(e.program(tools.Compose(), "docker-compose"), filepath.Join(plugins, "docker-compose")); err != nil {
		t.Fatal(err)
	}
	e.Env = append(e.Env, "DOCKER_MIN_API_VERSION=1.41") // Debian's docker command speaks no newer one
	e.Dockerd("{}")
	e.importImages()
	return e
}

func (e *engine) program(tool tools.Tool, name string) string {
	e.t.Helper()
	dir, err := tools.Dir(e.t.Context(), tool)
	if err != nil {
		e.t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// importImages runs the script with this test's PATH, for it needs the Go command.
func (e *engine) importImages() {
	e.t.Helper()
	script := exec.Command("./base-images.sh")
	script.Env = append(os.Environ(), e.DockerHost(), "VERSITYGW="+e.program(tools.Versitygw(), "versitygw"))
	if out, err := script.CombinedOutput(); err != nil {
		e.t.Fatalf("make images: %v\n%s", err, out)
	}
}

// gateway is this machine's address on the daemon's default bridge.
func (e *engine) gateway() string {
	e.t.Helper()
	return strings.TrimSpace(e.Run("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"))
}

// pull brings an image that is not there any more.
func (e *engine) pull(ref string) {
	e.t.Helper()
	e.Quiet("docker", "image", "rm", ref)
	e.Run("docker", "pull", ref)
}

// project is one compose file, with what the test must change.
type project struct {
	*engine
	name     string
	file     string // below the checkout
	override string // file
}

func (e *engine) project(name, file, override string) *project {
	return &project{e, name, file, e.File(name+".yml", override)}
}

// up ends with the test; what the containers said is kept if it failed.
func (p *project) up() {
	p.t.Helper()
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
	return p.Run("docker", append(p.arguments(), args...)...)
}

func (p *project) arguments() []string {
	files := []string{"--file", filepath.Join(server.Root(), p.file), "--file", p.override, "--env-file", os.DevNull} // whatever .env the checkout has
	return append([]string{"compose", "--project-name", p.name}, files...)
}

// inspect gives a field of a service's container.
func (p *project) inspect(service, format string) string {
	p.t.Helper()
	id := strings.TrimSpace(p.compose("ps", "--all", "--quiet", service))
	return strings.TrimSpace(p.Run("docker", "inspect", "--format", format, id))
}

// awaitHealthy polls the image's health check, which runs every few seconds.
func (p *project) awaitHealthy(service string) {
	p.t.Helper()
	p.await(service+" is healthy", func() bool { return p.inspect(service, "{{.State.Health.Status}}") == "healthy" })
}

func (p *project) await(what string, holds func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			p.t.Fatalf("after a minute it is not so that %s", what)
		}
	}
}
