package watch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// rules are the shipped alerts.
type rules struct {
	Groups []struct {
		Rules []alert `json:"rules"`
	} `json:"groups"`
}

type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// cases are the tests that come with them.
type cases struct {
	Tests []struct {
		Name    string `json:"name"`
		Queries []struct {
			Expr    string `json:"expr"`
			Samples []struct {
				Labels string  `json:"labels"`
				Value  float64 `json:"value"`
			} `json:"exp_samples"`
		} `json:"promql_expr_test"`
	} `json:"tests"`
}

func shipped(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(server.Root(), filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func read[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var all []alert
	for _, g := range read[rules](t, shipped(t, "deploy/prometheus/alerts.yml")).Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("only %d alerts were read", len(all))
	}
	return all
}

// promtool runs Prometheus' checker in a folder and returns what it printed.
func promtool(t *testing.T, dir, input string, args ...string) (string, error) {
	t.Helper()
	if err := tools.Debian(t.Context(), "prometheus"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPrometheusTakesWhatIsShipped(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(server.Root(), "deploy", "prometheus")
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := promtool(t, dir, "", args...); err != nil || strings.Contains(out, "duplicate") {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}

// repository is where links of alerts lead.
const repository = "https://github.com/entrepot/entrepot/blob/main/"

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (Entrepot\w+)$`).FindAllStringSubmatch(shipped(t, "docs/runbooks.md"), -1) {
		sections[m[1]] = true
	}
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s says %q", a.Alert, a.Annotations)
		}
		if want := repository + "docs/runbooks.md#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want || !sections[a.Alert] {
			t.Errorf("%s sends people to %q; want %q, where there is a section: %v", a.Alert, a.Annotations["runbook_url"], want, sections[a.Alert])
		}
		delete(sections, a.Alert)
	}
	for name := range sections {
		t.Errorf("docs/runbooks.md has a section for %s, which is no alert", name)
	}
}

var usedLabel = regexp.MustCompile(`\$labels\.(\w+)`)

func TestEveryAlertHasACaseInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	tests := read[cases](t, shipped(t, "deploy/prometheus/alerts_test.yml")).Tests
	for _, a := range alerts(t) {
		asked, quiet, fired := `ALERTS{alertname="`+a.Alert+`",alertstate="firing"}`, 0, []string{}
		for _, test := range tests {
			for _, q := range test.Queries {
				switch {
				case q.Expr != asked:
				case len(q.Samples) == 0:
					quiet++
				default:
					for _, s := range q.Samples {
						fired = append(fired, s.Labels)
					}
				}
			}
		}
		if quiet == 0 || len(fired) == 0 {
			t.Errorf("%s: %d cases in which it is quiet, and %d alerts", a.Alert, quiet, len(fired))
		}
		for _, m := range usedLabel.FindAllStringSubmatch(a.Annotations["summary"]+a.Annotations["description"], -1) {
			if slices.ContainsFunc(fired, func(labels string) bool { return !strings.Contains(labels, m[1]+`="`) }) {
				t.Errorf("%s speaks of its label %s, and has only %s", a.Alert, m[1], fired)
			}
		}
	}
}

// The cases are only worth something if they fail where a rule never fires, or always.
func TestTheCasesNoticeRulesThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, expr string }{{"never", "vector(1) > 2"}, {"always", "vector(1)"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := read[map[string]any](t, shipped(t, "deploy/prometheus/alerts.yml"))
			for _, g := range all["groups"].([]any) {
				for _, r := range g.(map[string]any)["rules"].([]any) {
					r.(map[string]any)["expr"] = c.expr
					delete(r.(map[string]any), "for")
					delete(r.(map[string]any), "annotations") // which would take most of the time
				}
			}
			text, err := yaml.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for name, b := range map[string][]byte{"alerts.yml": text, "alerts_test.yml": []byte(shipped(t, "deploy/prometheus/alerts_test.yml"))} {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out, err := promtool(t, dir, "", "test", "rules", "alerts_test.yml")
			if err == nil {
				t.Fatal("they pass")
			}
			want := map[string]int{"never": 1, "always": 2}[c.name] // the case in which it fires; the other one too
			for _, a := range alerts(t) {
				if n := strings.Count(out, `expr: "ALERTS{alertname=\"`+a.Alert+`\"`); n < want {
					t.Errorf("%s: %d cases fail, want %d", a.Alert, n, want)
				}
			}
		})
	}
}
