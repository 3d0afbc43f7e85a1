package clientconfig

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var builtIn = []string{"docker.io", "gcr.io", "ghcr.io", "quay.io", "registry.k8s.io", "mcr.microsoft.com", "public.ecr.aws"}

func at(url string) Server { return Server{URL: url, Upstreams: builtIn, Default: "docker.io"} }

func steps(t *testing.T, word string, s Server) []Step {
	t.Helper()
	all, err := Config(word, s)
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %d steps, %v", word, len(all), err)
	}
	return all
}

func text(all []Step) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s.Path + "\n" + s.Content)
	}
	return b.String()
}

// The files that people take from the repository are those for a server on their own machine. UPDATE=1 writes them anew.
func TestReadyFiles(t *testing.T) {
	const folder = "../../deploy/clients"
	var written []string
	for _, c := range Clients() {
		for _, s := range steps(t, c.Word, at("http://127.0.0.1:5000")) {
			name := strings.Replace(path.Base(s.Path), "entrepot.conf", "registries.conf", 1)
			if s.Path == "" || name == "config.toml" || strings.Contains(s.Path, "127.0.0.1") { // a table of it, and what loopback does without
				continue
			}
			if slices.Contains(written, name) {
				continue // kind has containerd's
			}
			written = append(written, name)
			file := filepath.Join(folder, name)
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(s.Content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != s.Content {
				t.Errorf("%s is not what client-config %s prints (%v); UPDATE=1 go test ./proxy/clientconfig writes it", file, c.Word, err)
			}
		}
	}
	kept, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range kept {
		if !slices.Contains(written, f.Name()) {
			t.Errorf("%s/%s is no client's", folder, f.Name())
		}
	}
}

func TestPlainHTTPIsAllowedWhereItIsSpoken(t *testing.T) {
	marks := map[string]string{ // what a client is told of http; "" where the scheme of the URL is enough
		"docker": "insecure-registries", "podman": "insecure = true", "buildkit": "http = true",
		"containerd": `server = "http://`, "kind": `server = "http://`, "k3s": `"cache.corp:5000":`,
	}
	for _, c := range Clients() {
		mark := marks[c.Word]
		if mark == "" {
			t.Fatalf("nothing is known of %s", c.Word)
		}
		for _, f := range []struct {
			url  string
			want bool
		}{
			{"http://cache.corp:5000", true},
			{"https://cache.corp:5000", false},
		} {
			var files []Step
			for _, s := range steps(t, c.Word, at(f.url)) {
				if s.Path != "" {
					files = append(files, s)
				}
			}
			content := strings.ReplaceAll(text(files), "# When the server fails", "")
			if got := strings.Contains(content, mark); got != f.want {
				t.Errorf("%s at %s says %q: %v\n%s", c.Word, f.url, mark, got, content)
			}
		}
	}
	for _, url := range []string{"http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000", "http://127.9.9.9:80"} {
		if s := text(steps(t, "docker", at(url))); strings.Contains(s, "insecure") {
			t.Errorf("docker is told that %s is insecure, which it knows:\n%s", url, s)
		}
	}
}

func TestEveryUpstreamIsAsked(t *testing.T) {
	s := at("http://cache.corp:5000")
	s.Upstreams = append(slices.Clone(builtIn), "registry.example:8443")
	for _, word := range []string{"podman", "k3s", "buildkit"} {
		got := text(steps(t, word, s))
		for _, u := range s.Upstreams {
			if !strings.Contains(got, `"`+u+`"`) {
				t.Errorf("%s does not ask for %s:\n%s", word, u, got)
			}
		}
	}
	for _, word := range []string{"containerd", "kind"} { // which tell the registry by themselves
		if got := text(steps(t, word, s)); !strings.Contains(got, "/_default/hosts.toml") {
			t.Errorf("%s:\n%s", word, got)
		}
	}
}

// Daemons before 29 do not say that they mean Docker Hub: a mirror with another default would give them other images.
func TestDockerMirrorsOnlyDockerHub(t *testing.T) {
	for _, f := range []struct {
		name   string
		server Server
		want   bool
	}{
		{"Docker Hub is the default", at("http://cache.corp:5000"), true},
		{"another is", Server{URL: "http://cache.corp:5000", Upstreams: builtIn, Default: "quay.io"}, false},
		{"none is", Server{URL: "http://cache.corp:5000", Upstreams: builtIn}, false},
	} {
		got := text(steps(t, "docker", f.server))
		if strings.Contains(got, "registry-mirrors") != f.want {
			t.Errorf("%s:\n%s", f.name, got)
		}
		if !strings.Contains(got, "docker pull cache.corp:5000/") {
			t.Errorf("%s: it is not said how to pull from the others\n%s", f.name, got)
		}
	}
}

func TestFilesAreWellFormed(t *testing.T) {
	var daemon struct {
		Mirrors  []string `json:"registry-mirrors"`
		Insecure []string `json:"insecure-registries"`
	}
	if err := json.Unmarshal([]byte(steps(t, "docker", at("http://cache.corp:5000"))[0].Content), &daemon); err != nil ||
		!slices.Equal(daemon.Mirrors, []string{"http://cache.corp:5000"}) || !slices.Equal(daemon.Insecure, []string{"cache.corp:5000"}) {
		t.Errorf("docker: %+v, %v", daemon, err)
	}
	var k3s struct {
		Mirrors map[string]struct{ Endpoint []string }
	}
	if err := yaml.Unmarshal([]byte(steps(t, "k3s", at("https://[fd00::1]:5000"))[0].Content), &k3s); err != nil ||
		len(k3s.Mirrors) != len(builtIn) || !slices.Equal(k3s.Mirrors["gcr.io"].Endpoint, []string{"https://[fd00::1]:5000"}) {
		t.Errorf("k3s: %+v, %v", k3s, err)
	}
	for _, s := range steps(t, "kind", at("http://cache.corp:5000")) {
		if path.Ext(s.Path) == ".yaml" {
			if err := yaml.Unmarshal([]byte(s.Content), new(map[string]any)); err != nil {
				t.Errorf("kind: %v", err)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, f := range []struct{ url, host string }{
		{"http://cache.corp:5000", "cache.corp:5000"},
		{"https://registry.example/", "registry.example"},
		{"http://cache", "cache:80"}, // no host to an image name without a port
		{"https://cache", "cache:443"},
		{"http://localhost", "localhost"},
		{"http://[::1]:5000", "[::1]:5000"},
	} {
		if got, err := parse(f.url); err != nil || got.host != f.host {
			t.Errorf("%s: %q, %v; want %q", f.url, got.host, err, f.host)
		}
	}
	for _, url := range []string{"", "cache.corp:5000", "ftp://cache.corp", "http://", "http://cache.corp/v2", "http://u:p@cache.corp", "http://cache.corp?x=1",
		`http://a"]:5000`, "http://a$(id):5000", "http://a;b:5000", "http://a'b:5000", "http://a`b:5000", "http://a\\b:5000", "http://a%20b:5000", "http://[fe80::1%25eth0]:5000", "http://кеш:5000"} {
		if _, err := Config("docker", at(url)); err == nil {
			t.Errorf("%q is taken for an address", url)
		}
	}
	if _, err := Config("dockre", at("http://cache.corp")); err == nil || !strings.Contains(err.Error(), "buildkit") {
		t.Errorf("of an unknown client: %v", err)
	}
}

// Where there are users, what is copied as it is has to work too.
func TestPushesTakeALoginWhereThereAreUsers(t *testing.T) {
	for _, word := range []string{"docker", "podman"} {
		for _, users := range []bool{false, true} {
			s := at("http://cache.corp:5000")
			s.Users = users
			steps, err := Config(word, s)
			if err != nil {
				t.Fatal(err)
			}
			if last := steps[len(steps)-1].Content; strings.HasPrefix(last, word+" login cache.corp:5000\n") != users {
				t.Errorf("%s with users %v: %s", word, users, last)
			}
		}
	}
}
