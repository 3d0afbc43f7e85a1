package compose

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/e2e/server"
)

// wantWatched: Prometheus reads the server and knows the alerts, and the boards are where Grafana looks for them.
// Grafana itself is not here: its container is a stand-in with the mounts, the user and the networks of the real one.
func (s *site) wantWatched() {
	s.t.Helper()
	var targets struct {
		Data struct {
			ActiveTargets []struct{ Health, ScrapeURL, LastError string }
		}
	}
	s.await("Prometheus reads the server", func() bool {
		s.ask("prometheus", "http://127.0.0.1:9090/api/v1/targets", &targets)
		active := targets.Data.ActiveTargets
		return len(active) == 1 && active[0].Health == "up" && active[0].ScrapeURL == "http://entrepot:5001/metrics"
	})
	var pushed struct {
		Data struct{ Result []json.RawMessage }
	}
	s.ask("grafana", "http://prometheus:9090/api/v1/query?query=entrepot_build_info", &pushed) // as a panel asks
	if len(pushed.Data.Result) != 1 {
		s.t.Errorf("entrepot_build_info is %s", pushed.Data.Result)
	}
	s.wantAlerts()
	s.wantBoards()
}

// ask gets JSON in a container.
func (s *site) ask(service, url string, answer any) {
	s.t.Helper()
	said := s.compose("exec", "-T", service, "wget", "-q", "-O", "-", url)
	if err := json.Unmarshal([]byte(said), answer); err != nil {
		s.t.Fatalf("%s: %v: %s", url, err, said)
	}
}

func (s *site) wantAlerts() {
	s.t.Helper()
	var loaded struct {
		Data struct {
			Groups []struct{ Rules []struct{ Type string } }
		}
	}
	s.ask("prometheus", "http://127.0.0.1:9090/api/v1/rules?type=alert", &loaded)
	got := 0
	for _, g := range loaded.Data.Groups {
		got += len(g.Rules)
	}
	if want := strings.Count(read(s.t, "deploy/prometheus/alerts.yml"), "- alert: "); got != want || want == 0 {
		s.t.Errorf("Prometheus has %d alerts, the file %d", got, want)
	}
}

func (s *site) wantBoards() {
	s.t.Helper()
	run := func(command ...string) string {
		return s.compose(append([]string{"exec", "-T", "grafana"}, command...)...)
	}
	if sources := run("cat", "/etc/grafana/provisioning/datasources/entrepot.yml"); !strings.Contains(sources, "http://prometheus:9090") {
		s.t.Errorf("the sources of data are %s", sources)
	}
	_, path, found := strings.Cut(run("cat", "/etc/grafana/provisioning/dashboards/entrepot.yml"), "path: ")
	path, _, _ = strings.Cut(path, "\n")
	if !found {
		s.t.Fatal("no path of the boards")
	}
	boards, err := filepath.Glob(filepath.Join(server.Root(), "deploy", "grafana", "boards", "*.json"))
	if err != nil || len(boards) == 0 {
		s.t.Fatalf("no boards: %v", err)
	}
	there := strings.Fields(run("ls", path))
	for _, board := range boards {
		if !slices.Contains(there, filepath.Base(board)) {
			s.t.Errorf("%s is not in %s: %s", filepath.Base(board), path, there)
		}
	}
	s.wantNoDefaultPassword(run("cat", "/etc/grafana/grafana.ini"), path)
}

// wantNoDefaultPassword: nobody is admin unless .env has a password.
func (s *site) wantNoDefaultPassword(ini, boards string) {
	s.t.Helper()
	for _, line := range []string{"\ndisable_initial_admin_creation = true\n", "\norg_role = Viewer\n", "\ndefault_home_dashboard_path = " + boards + "/overview.json\n"} {
		if !strings.Contains(ini, line) {
			s.t.Errorf("grafana.ini has no%s", line)
		}
	}
	const setting = "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION: "
	if config := s.compose("config"); !strings.Contains(config, setting+`""`) {
		s.t.Errorf("without a password:\n%s", config)
	}
	s.settings["GRAFANA_PASSWORD"] = "changed"
	s.writeSettings()
	if config := s.compose("config"); !strings.Contains(config, setting+`"false"`) || !strings.Contains(config, "GF_SECURITY_ADMIN_PASSWORD: changed") {
		s.t.Errorf("with a password:\n%s", config)
	}
	delete(s.settings, "GRAFANA_PASSWORD")
	s.writeSettings()
}
