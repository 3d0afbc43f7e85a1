package proxy

import (
	"errors"
	"testing"
)

func TestTarget(t *testing.T) {
	usual := Names{
		Default:   "docker.io",
		Upstreams: []string{"docker.io", "gcr.io", "registry.k8s.io"},
		Hosted:    []string{"team", "my.team"},
		Hosts:     map[string]string{"gcr.mirror.corp": "gcr.io", "hub.mirror.corp": "docker.io"},
		Self:      []string{"cache.corp"},
	}
	everything := usual
	everything.Hosted = []string{"*"}
	none := usual
	none.Default = ""
	other := usual
	other.Default = "registry.k8s.io"

	up := func(registry, name string) Home { return Home{Registry: registry, Name: name} }
	scoped := func(h Home) Home { h.Scoped = true; return h }
	hosted := func(name string) Home { return Home{Hosted: true, Name: name} }
	unknown := Home{Name: "404"}

	for _, c := range []struct {
		fact           string
		cfg            *Names
		name, ns, host string
		want           Home
	}{
		{"ns names an upstream", &usual, "proj/img", "gcr.io", "", scoped(up("gcr.io", "proj/img"))},
		{"one element is a name there", &usual, "pause", "registry.k8s.io", "", scoped(up("registry.k8s.io", "pause"))},
		{"hosted names are not those of an upstream that ns names", &usual, "team/img", "gcr.io", "", scoped(up("gcr.io", "team/img"))},
		{"a prefix is nothing special there", &usual, "docker.io/img", "gcr.io", "", scoped(up("gcr.io", "docker.io/img"))},
		{"ns of the default upstream changes nothing", &usual, "library/nginx", "docker.io", "", scoped(up("docker.io", "library/nginx"))},
		{"nor does its alias", &usual, "library/nginx", "registry-1.docker.io", "", scoped(up("docker.io", "library/nginx"))},
		{"nor the other", &usual, "library/nginx", "index.docker.io", "", scoped(up("docker.io", "library/nginx"))},
		{"hosted names apply with ns of the default", &usual, "team/img", "docker.io", "", scoped(hosted("team/img"))},
		{"prefixes apply with ns of the default", &usual, "gcr.io/p/i", "docker.io", "", scoped(up("gcr.io", "p/i"))},
		{"one element with ns of the default is in library", &usual, "nginx", "docker.io", "", scoped(up("docker.io", "library/nginx"))},
		{"one element with ns of another default stays so", &other, "pause", "registry.k8s.io", "", scoped(up("registry.k8s.io", "pause"))},
		{"ns that names this server says nothing", &usual, "team/img", "cache.corp", "cache.corp:5000", scoped(hosted("team/img"))},
		{"by the Host header as well", &usual, "library/nginx", "10.0.0.1:5000", "10.0.0.1:5000", scoped(up("docker.io", "library/nginx"))},
		{"one element with ns of this server is hosted", &usual, "my-image", "cache.corp", "", scoped(hosted("my-image"))},
		{"ns that is not configured is not found", &usual, "a/b", "evil.example", "", unknown},
		{"an address is not configured either", &usual, "a/b", "169.254.169.254", "", unknown},
		{"nor is an upstream with a port", &usual, "a/b", "gcr.io:443", "", unknown},

		{"a Host header stands for its upstream", &usual, "proj/img", "", "gcr.mirror.corp", up("gcr.io", "proj/img")},
		{"with a port too", &usual, "proj/img", "", "gcr.mirror.corp:5000", up("gcr.io", "proj/img")},
		{"Hub's official images by Host header", &usual, "nginx", "", "hub.mirror.corp", up("docker.io", "library/nginx")},
		{"hosted names are not those of a Host header", &usual, "team/img", "", "gcr.mirror.corp", up("gcr.io", "team/img")},
		{"ns goes before the Host header", &usual, "library/nginx", "docker.io", "gcr.mirror.corp", scoped(up("docker.io", "library/nginx"))},
		{"ns of that Host header says nothing", &usual, "p/i", "gcr.mirror.corp", "gcr.mirror.corp", scoped(up("gcr.io", "p/i"))},

		{"a prefix is an upstream", &usual, "gcr.io/proj/img", "", "", up("gcr.io", "proj/img")},
		{"a prefix of Hub", &usual, "docker.io/grafana/grafana", "", "", up("docker.io", "grafana/grafana")},
		{"a prefix of Hub by its alias", &usual, "index.docker.io/grafana/grafana", "", "", up("docker.io", "grafana/grafana")},
		{"official images by prefix", &usual, "docker.io/nginx", "", "", up("docker.io", "library/nginx")},
		{"a prefix that is not configured is not found", &usual, "quay.io/a/b", "", "", unknown},
		{"unless it is hosted by name", &usual, "my.team/img", "", "", hosted("my.team/img")},
		{"one element is hosted", &usual, "my-image", "", "", hosted("my-image")},
		{"a period in one element is no host", &usual, "node.js", "", "", hosted("node.js")},
		{"an upstream's host alone is a name", &usual, "gcr.io", "", "", hosted("gcr.io")},
		{"the first element is hosted", &usual, "team/a/b", "", "", hosted("team/a/b")},
		{"everything is hosted", &everything, "library/nginx", "", "", hosted("library/nginx")},
		{"everything but an upstream's prefix", &everything, "gcr.io/p/i", "", "", up("gcr.io", "p/i")},
		{"anything else is the default's", &usual, "grafana/grafana", "", "", up("docker.io", "grafana/grafana")},
		{"as dockerd asks for official images", &usual, "library/nginx", "", "", up("docker.io", "library/nginx")},
		{"no default: hosted", &none, "grafana/grafana", "", "", hosted("grafana/grafana")},
		{"no default: ns still names upstreams", &none, "library/nginx", "docker.io", "", scoped(up("docker.io", "library/nginx"))},
	} {
		got, err := Target(c.cfg, c.name, c.ns, c.host)
		if c.want == unknown {
			var e *Error
			if !errors.As(err, &e) || e.status() != 404 {
				t.Errorf("%s: got %+v, %v, want a 404", c.fact, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.fact, got, err, c.want)
		}
	}
}

func TestTargetAllocatesNothing(t *testing.T) {
	cfg := Names{Default: "docker.io", Upstreams: []string{"gcr.io", "docker.io"}, Hosted: []string{"team"}}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Target(&cfg, "library/nginx", "docker.io", "cache:5000"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
