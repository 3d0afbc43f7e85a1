package compose

import (
	"fmt"
	"strings"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// oneServer is `docker compose up -d`, a pull through the container, and after a restart one without the upstream.
func (e *engine) oneServer() {
	t, addr := e.t, server.FreeAddr(e.t)
	hub := fakehub.New(t, fakehub.Options{Addr: e.gateway() + ":0", NoAuth: true, NoRedirect: true}) // one address that containers reach
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{5 << 20, 70_000}})
	hub.Repo("library/app").AddImage(img, "1")

	// Changed is only what must be: where the registry is published, and where Docker Hub is.
	p := e.project("one", "docker-compose.yml", fmt.Sprintf(`services:
  entrepot:
    ports: !override ["%s:5000"]
    environment:
      ENTREPOT_UPSTREAMS: docker.io=%s
      ENTREPOT_TAG_TTL: 1ms
`, addr, hub.URL()))
	p.up()
	p.awaitHealthy("entrepot")
	p.pull(addr + "/library/app:1")
	if fetched := hub.BlobBytes(img.Blobs()...); fetched != img.Size() {
		t.Errorf("the upstream served %d bytes for an image of %d", fetched, img.Size())
	}
	if user := p.inspect("entrepot", "{{.Config.User}}"); strings.HasPrefix(user, "0") || user == "" {
		t.Errorf("the container runs as user %q", user)
	}

	p.compose("stop")
	if code := p.inspect("entrepot", "{{.State.ExitCode}}"); code != "0" {
		t.Errorf("stopped, the container has exit code %s", code)
	}
	hub.Down()
	p.compose("start")
	p.awaitHealthy("entrepot")
	p.pull(addr + "/library/app:1")
}
