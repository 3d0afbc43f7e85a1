// Package compose builds the container image and brings it up by the compose files, with images that this machine makes in
// place of those that others publish.
package compose

import (
	"fmt"
	"io/fs"
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
	e.anotherArchitecture()
	e.replicas()
}

// engine is a daemon of its own with the compose plugin.
type engine struct {
	*sandbox.Sandbox
	t *testing.T
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, Sandbox: sandbox.New(t, tools.Compose(), tools.Dockerd29(), tools.Containerd(), tools.Runc(), tools.Buildkit())}
	plugins := filepath.Join(e.Dir, ".docker", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(e.program(tools.Compose(), "docker-compose"), filepath.Join(plugins, "docker-compose")); err != nil {
		t.Fatal(err)
	}
	e.Env = append(e.Env, "DOCKER_MIN_API_VERSION=1.41", // Debian's docker command speaks no newer one
		"NO_PROXY="+gateway)
	e.Dockerd("{}", "--bridge", e.addBridge())
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
	script.Env = append(os.Environ(), e.DockerHost(), "VERSITYGW="+e.program(tools.Versitygw(), "versitygw"), "COMPILED="+e.compiled())
	if out, err := script.CombinedOutput(); err != nil {
		e.t.Fatalf("make images: %v\n%s", err, out)
	}
}

// compiled is a build cache that holds what the Dockerfile compiles and little else. It stays from run to run.
func (e *engine) compiled() string {
	e.t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		e.t.Fatal(err)
	}
	dir := filepath.Join(cache, "entrepot-e2e", "compiled-for-images")
	if size(dir) > 1<<30 { // of many runs; one needs a third of it
		err = os.RemoveAll(dir)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", os.DevNull, "./cmd/entrepot")
	build.Dir = server.Root()
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOCACHE="+dir)
	if out, failed := build.CombinedOutput(); err != nil || failed != nil {
		e.t.Fatalf("build: %v %v\n%s", err, failed, out)
	}
	return dir
}

// size is what the files of a folder hold, as far as they can be seen.
func size(dir string) (bytes int64) {
	filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil {
			if info, err := entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// gateway is this machine's address on the daemon's default network.
const gateway = "10.87.54.1"

// addBridge makes that network. It is not docker0: a daemon that is told to have no bridge takes that one away from others.
func (e *engine) addBridge() (name string) {
	e.t.Helper()
	name = fmt.Sprintf("e2e-%d", os.Getpid())
	e.Run("busybox", "ip", "link", "add", "name", name, "type", "bridge")
	e.t.Cleanup(func() { e.Run("busybox", "ip", "link", "delete", name) })
	e.Run("busybox", "ip", "addr", "add", gateway+"/24", "dev", name)
	e.Run("busybox", "ip", "link", "set", name, "up")
	return name
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
	name  string
	files []string // compose files
	env   []string // files in place of the checkout's .env
}

func (e *engine) project(name, file string) *project {
	return &project{e, name, []string{filepath.Join(server.Root(), file)}, []string{os.DevNull}}
}

// up ends with the test; what the containers said is kept if it failed.
func (p *project) up(args ...string) {
	p.t.Helper()
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Log(p.compose("logs"))
		}
		p.compose("down", "--volumes", "--timeout", "5")
	})
	p.compose(append([]string{"up", "--detach"}, args...)...)
}

func (p *project) compose(args ...string) string {
	p.t.Helper()
	return p.Run("docker", append(p.arguments(), args...)...)
}

func (p *project) arguments() []string {
	args := []string{"compose", "--project-name", p.name}
	for _, file := range p.files {
		args = append(args, "--file", file)
	}
	for _, file := range p.env {
		args = append(args, "--env-file", file)
	}
	return args
}

// fails runs a command that must fail, and say why.
func (e *engine) fails(why, name string, args ...string) {
	e.t.Helper()
	if r := e.Try(name, args...); r.Err == nil || !strings.Contains(r.All, why) {
		e.t.Errorf("%s %s: %v %s, want: %s", name, strings.Join(args, " "), r.Err, r.All, why)
	}
}

// inspect gives a field of a service's container.
func (p *project) inspect(service, format string) string {
	p.t.Helper()
	id := strings.TrimSpace(p.compose("ps", "--all", "--quiet", service))
	return strings.TrimSpace(p.Run("docker", "inspect", "--format", format, id))
}

// awaitHealthy polls the health check, which runs every few seconds.
func (p *project) awaitHealthy(services ...string) {
	p.t.Helper()
	for _, service := range services {
		p.await(service+" is healthy", func() bool { return p.inspect(service, "{{.State.Health.Status}}") == "healthy" })
	}
}

func (p *project) await(what string, holds func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			p.t.Fatalf("after a minute it is not so that %s", what)
		}
	}
}
