package watch

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/server"
)

// One site, one load, and all questions to one Prometheus.
func TestWhatIsShippedShowsWhatHappens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := startPrometheus(t, s.busy, s.other)
	s.load(func() { p.awaitScrape(s.busy) })
	p.awaitScrape(s.other)
	p.end = time.Now()

	for _, name := range boardFiles {
		b, _ := readBoard(t, name)
		chosen := p.everything(b)
		for _, panel := range b.Panels {
			t.Run(name+"/"+panel.Title, func(t *testing.T) {
				for _, fault := range p.faults(panel, chosen) {
					t.Error(fault)
				}
			})
		}
		for _, a := range b.Annotations.List {
			p.over(chosen.in(a.Target.Expr))
		}
	}
	t.Run("names", func(t *testing.T) { p.wantNames(t) })
	t.Run("sums", func(t *testing.T) { p.wantSums(t, s) })
	t.Run("mistakes", func(t *testing.T) { p.wantNoticed(t) })
	for _, at := range []*server.Server{s.busy, s.other} {
		t.Run("promtool check metrics", func(t *testing.T) { wantClean(t, at) })
	}
}

// faults asks what a panel asks: each query has an answer, all numbers are finite, and a panel of one number has one.
func (p *prometheus) faults(panel panel, chosen choices) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, q := range panel.Targets {
		expr, ask := chosen.in(q.Expr), p.over
		if q.Instant {
			ask = p.instant
		}
		found := ask(expr)
		if len(found) == 0 {
			say("nothing at\n%s", expr)
		}
		if panel.Type == "stat" && panel.Options.TextMode == "value" && len(found) > 1 {
			say("%d numbers, want one: %v", len(found), found)
		}
		for _, s := range found {
			if slices.ContainsFunc(s.values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }) {
				say("%v is %v", s.labels, s.values)
			}
		}
	}
	return all
}

// wantNoticed has mistakes that the checks above must find.
func (p *prometheus) wantNoticed(t *testing.T) {
	t.Helper()
	for _, c := range []struct{ name, expr, want string }{
		{"a name misspelt", `sum(entrepot_fills_running)`, "nothing at"},
		{"a division by zero", `sum(entrepot_fill_started_total) / 0`, "+Inf"},
		{"zero by zero", `0 * sum(entrepot_fill_started_total) / 0`, "NaN"},
		{"a number of each server", `entrepot_fill_started_total`, "2 numbers"},
		{"no mistake", `sum(entrepot_fill_started_total)`, ""},
	} {
		for _, instant := range []bool{true, false} {
			asking := panel{Type: "stat", Targets: []query{{Expr: c.expr, Instant: instant}}}
			asking.Options.TextMode = "value"
			if found := strings.Join(p.faults(asking, nil), "\n"); !strings.Contains(found, c.want) || (c.want == "") != (found == "") {
				t.Errorf("%s: %q, want %q", c.name, found, c.want)
			}
		}
	}
	for expr, want := range map[string]bool{
		`increase(entrepot_fill_ended_total{outcome="corrupt"}[30m]) > 0`:        true,
		`increase(entrepot_fill_ended_total{outcome="corupt"}[30m]) > 0`:         false,
		`rate(entrepot_http_requests_total{registry="hosted",status="418"}[5m])`: true,
		`rate(entrepot_http_requests_total{registry="posted",status="418"}[5m])`: false,
	} {
		if found := len(p.unknown(selectors(expr))) == 0; found != want {
			t.Errorf("the series of %s are known: %v, want %v", expr, found, want)
		}
	}
}

// selector is a metric's name and what stands in the braces behind it.
var (
	selector     = regexp.MustCompile(`\b((?:entrepot|process|go)_\w+|up)\b(\{[^}]*\})?`)
	perhapsNever = regexp.MustCompile(`,?status=~?"[^"]*"`) // a status has a series from its first answer on
	withABucket  = []string{"entrepot_replica_served_requests_total"}
)

// selectors are what an expression names.
func selectors(expr string) []string {
	var all []string
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		if !slices.Contains(withABucket, m[1]) {
			all = append(all, m[1]+strings.ReplaceAll(perhapsNever.ReplaceAllString(m[2], ""), "{,", "{"))
		}
	}
	return all
}

// unknown are those of the selectors that no series has.
func (p *prometheus) unknown(selectors []string) []string {
	return slices.DeleteFunc(selectors, func(s string) bool { return len(p.instant("count("+s+")")) > 0 })
}

// wantNames looks for every series that boards and alerts name: a name or a word misspelt would be a zero for ever, or an
// alert that never fires.
func (p *prometheus) wantNames(t *testing.T) {
	t.Helper()
	asked := 0
	look := func(by, expr string) {
		named := selectors(expr)
		asked += len(named)
		for _, missing := range p.unknown(named) {
			t.Errorf("%s asks for %s, which is nowhere", by, missing)
		}
	}
	for _, name := range boardFiles {
		b, _ := readBoard(t, name)
		chosen := p.everything(b)
		for _, panel := range b.Panels {
			for _, q := range panel.Targets {
				look(panel.Title, chosen.in(q.Expr))
			}
		}
	}
	for _, a := range alerts(t) {
		look(a.Alert, a.Expr)
	}
	if asked < 100 {
		t.Errorf("only %d names were found", asked)
	}
}

// wantSums compares what a board says of both servers with what it says of each.
func (p *prometheus) wantSums(t *testing.T, s *site) {
	t.Helper()
	b, _ := readBoard(t, "overview")
	both := p.everything(b)
	for _, title := range []string{"Saved", "Stale answers", "Fills running"} {
		i := slices.IndexFunc(b.Panels, func(p panel) bool { return p.Title == title && p.Type == "stat" })
		if i < 0 {
			t.Fatalf("no panel %q", title)
		}
		ask := func(instance string) float64 {
			chosen := choices{"instance": instance, "registry": both["registry"], "__range": both["__range"]}
			found := p.instant(chosen.in(b.Panels[i].Targets[0].Expr))
			if len(found) != 1 {
				t.Fatalf("%s of %s: %v", title, instance, found)
			}
			return found[0].values[0]
		}
		var sum float64
		for _, at := range []*server.Server{s.busy, s.other} {
			sum += ask(oneOf(strings.TrimPrefix(at.Admin, "http://")))
		}
		if all := ask(both["instance"]); math.Abs(all-sum) > 1e-6*math.Abs(sum) {
			t.Errorf("%s: both have %v, and one by one %v", title, all, sum)
		}
	}
}

// wantClean runs Prometheus' own linter.
func wantClean(t *testing.T, s *server.Server) {
	t.Helper()
	resp, err := http.Get(s.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out, err := promtool(t, t.TempDir(), string(text), "check", "metrics")
	if err != nil || strings.TrimSpace(out) != "" {
		t.Error(fmt.Sprint(err), "\n", out)
	}
}
