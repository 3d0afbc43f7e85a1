package compose

import (
	"fmt"
	"strings"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// replicas is deploy/replicas as its README says: pulls and pushes through the balancer go on while one server after the other
// is away.
func (e *engine) replicas() {
	t, addr := e.t, server.FreeAddr(e.t)
	hub := fakehub.New(t, fakehub.Options{Addr: gateway + ":0", NoAuth: true, NoRedirect: true})
	for i := range 3 {
		img := fakehub.NewImage(fakehub.Spec{Layers: []int64{3 << 20, 70_000}, Seed: 7_000_000 + uint64(i)})
		hub.Repo("library/app").AddImage(img, fmt.Sprint(i))
	}
	upstream := fmt.Sprintf("{environment: {ENTREPOT_UPSTREAMS: 'docker.io=%s'}}", hub.URL())
	p := e.project("replicas", "deploy/replicas/compose.yml")
	p.files = append(p.files, e.File("replicas.yml", fmt.Sprintf(`services:
  balancer: {ports: !override ["%s:5000"]}
  entrepot-1: %s
  entrepot-2: %s
`, addr, upstream, upstream)))
	p.fails("S3_SECRET_KEY is missing", "docker", append(p.arguments(), "config", "--quiet")...)
	e.Env = append(e.Env, "S3_ACCESS_KEY=somebody", "S3_SECRET_KEY=not-a-default-31c7")
	p.up()
	p.awaitHealthy("balancer")
	p.wantConfined("balancer", "entrepot-1", "entrepot-2", "s3")

	p.passOn(addr, 0)
	p.compose("kill", "entrepot-1") // a power cut
	p.pull(addr + "/mine:0")
	p.passOn(addr, 1)
	p.compose("start", "entrepot-1")
	p.awaitUp("entrepot-1")

	p.compose("stop", "entrepot-2") // an update
	if code := p.inspect("entrepot-2", "{{.State.ExitCode}}"); code != "0" {
		t.Errorf("stopped, a server has exit code %s", code)
	}
	p.pull(addr + "/mine:1")
	p.passOn(addr, 2)
	p.compose("start", "entrepot-2")
	p.awaitUp("entrepot-2")
	p.pull(addr + "/mine:2")

	if log := p.compose("logs", "entrepot-1", "entrepot-2"); !strings.Contains(log, `"from":"10.87.53.1"`) {
		t.Errorf("the audit log names nobody but the balancer:\n%s", log)
	}
}

// passOn pulls an image that nobody has pulled yet, and pushes it under a name of one's own.
func (p *project) passOn(addr string, tag int) {
	p.t.Helper()
	theirs, mine := fmt.Sprintf("%s/library/app:%d", addr, tag), fmt.Sprintf("%s/mine:%d", addr, tag)
	p.pull(theirs)
	p.Run("docker", "tag", theirs, mine)
	p.Run("docker", "push", mine)
	p.Run("docker", "image", "rm", theirs) // what both names have is not pulled again
}

// awaitUp waits until the balancer has seen a server come back.
func (p *project) awaitUp(service string) {
	p.t.Helper()
	p.await("the balancer knows "+service, func() bool {
		log := p.compose("logs", "balancer")
		return strings.LastIndex(log, "/"+service+" is UP") > strings.LastIndex(log, "/"+service+" is DOWN")
	})
}

// wantConfined: no container may do more than it must.
func (p *project) wantConfined(services ...string) {
	p.t.Helper()
	for _, service := range services {
		const format = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}}"
		got := p.inspect(service, format)
		if user, rest, _ := strings.Cut(got, " "); strings.HasPrefix(user, "0") || user == "" || rest != "true [ALL] [no-new-privileges:true] 536870912" {
			p.t.Errorf("%s runs as: %s", service, got)
		}
	}
}
