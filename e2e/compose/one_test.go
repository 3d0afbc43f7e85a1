package compose

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// site is the compose file of the root as it is; only settings of .env are changed.
type site struct {
	*project
	hub      *fakehub.Hub
	img      fakehub.Image
	settings map[string]string
	appended string // what follows them in .env
}

// oneServer is `docker compose up -d` and what people do then.
func (e *engine) oneServer() {
	s := e.newSite()
	s.writeSettings()
	s.up("--wait") // until all are healthy
	s.wantConfined("entrepot", "prometheus", "grafana")
	s.wantLabels("0.1-test")
	s.pull(s.at("library/app:1"))
	s.pass("library/app:1", "mine:1")
	s.wantNoStrangers()
	s.wantWatched()

	s.hub.Down() // what is cached is here, whatever happens to the containers
	s.compose("stop", "entrepot")
	if code := s.inspect("entrepot", "{{.State.ExitCode}}"); code != "0" {
		s.t.Errorf("stopped, the container has exit code %s", code)
	}
	s.compose("restart")
	s.awaitHealthy("entrepot", "prometheus", "grafana")
	s.wantKept()

	s.upgrade()
	s.wantKept()

	s.compose("down")
	s.compose("up", "--detach", "--wait")
	s.wantKept()
	if fetched := s.hub.BlobBytes(s.img.Blobs()...); fetched != s.img.Size() {
		s.t.Errorf("the upstream served %d bytes for an image of %d", fetched, s.img.Size())
	}
	s.profiles()
}

func (e *engine) newSite() *site {
	hub := fakehub.New(e.t, fakehub.Options{Addr: gateway + ":0", NoAuth: true, NoRedirect: true}) // one address that containers reach
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{5 << 20, 70_000}})
	hub.Repo("library/app").AddImage(img, "1")
	s := &site{project: e.project("one", "docker-compose.yml"), hub: hub, img: img, settings: map[string]string{
		"ENTREPOT_PORT": port(server.FreeAddr(e.t)), "GRAFANA_PORT": port(server.FreeAddr(e.t)),
		"ENTREPOT_UPSTREAMS": "docker.io=" + hub.URL(), "ENTREPOT_TAG_TTL": "1ms",
		"ENTREPOT_VERSION": "0.1-test", "ENTREPOT_ETC": filepath.Join(e.Dir, "etc"),
	}}
	s.File("etc/users", "") // the folder
	s.env = []string{filepath.Join(e.Dir, ".env")}
	return s
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func (s *site) writeSettings() {
	s.t.Helper()
	var text strings.Builder
	for name, value := range s.settings {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	s.File(".env", text.String()+s.appended)
}

// at names an image at the published address.
func (s *site) at(ref string) string {
	host := s.settings["ENTREPOT_BIND"]
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, s.settings["ENTREPOT_PORT"]) + "/" + ref
}

// pass pushes what was pulled under a name of one's own.
func (s *site) pass(theirs, mine string) {
	s.t.Helper()
	s.Run("docker", "tag", s.at(theirs), s.at(mine))
	s.Run("docker", "push", s.at(mine))
}

// wantKept: neither what was pushed nor what was pulled is lost, and upstream is away.
func (s *site) wantKept() {
	s.t.Helper()
	s.Quiet("docker", "image", "rm", s.at("mine:1"), s.at("library/app:1")) // what both names have would not be pulled again
	s.pull(s.at("mine:1"))
	s.Run("docker", "image", "rm", s.at("mine:1"))
	s.pull(s.at("library/app:1"))
}

// upgrade builds another version, and has its container made anew.
func (s *site) upgrade() {
	s.t.Helper()
	before := s.inspect("entrepot", "{{.Id}}")
	s.settings["ENTREPOT_VERSION"] = "0.2-test"
	s.writeSettings()
	s.compose("up", "--detach", "--build", "--wait")
	if s.inspect("entrepot", "{{.Id}}") == before {
		s.t.Error("the container of the version before goes on")
	}
	s.wantLabels("0.2-test")
}

func (s *site) wantLabels(version string) {
	s.t.Helper()
	for name, want := range map[string]string{"title": "entrepôt", "version": version, "licenses": "Apache-2.0", "source": "https://github.com/entrepot/entrepot"} {
		if got := s.inspect("entrepot", `{{index .Config.Labels "org.opencontainers.image.`+name+`"}}`); got != want {
			s.t.Errorf("the label %s is %q, want %q", name, got, want)
		}
	}
	if said := s.compose("exec", "-T", "entrepot", "/entrepot", "version"); !strings.Contains(said, version) {
		s.t.Errorf("version %s says %q", version, said)
	}
	if r := s.Quiet("docker", append(s.arguments(), "exec", "-T", "entrepot", "sh")...); r.Err == nil {
		s.t.Error("there is a shell in the image")
	}
}

// wantConfined: no container may do more than it must, nor fill the disk with what it says.
func (s *site) wantConfined(services ...string) {
	s.t.Helper()
	s.project.wantConfined(services...)
	for _, service := range services {
		if got := s.inspect(service, "{{.HostConfig.LogConfig.Config}} {{.HostConfig.RestartPolicy.Name}}"); got != "map[max-file:3 max-size:10m] unless-stopped" {
			s.t.Errorf("%s: %s", service, got)
		}
	}
}
