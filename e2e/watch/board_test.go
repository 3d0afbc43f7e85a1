// Package watch proves what is shipped to watch entrepôt with: Grafana's boards and Prometheus' alerts, at a real Prometheus
// that asks a real server, and at Grafana's own types.
package watch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/server"
)

// boardFiles are the names of the boards, without .json.
var boardFiles = []string{"overview", "hosted"}

// board is what these tests read of one.
type board struct {
	UID        string   `json:"uid"`
	Title      string   `json:"title"`
	Tags       []string `json:"tags"`
	Schema     int      `json:"schemaVersion"`
	Panels     []panel  `json:"panels"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Target query `json:"target"`
		} `json:"list"`
	} `json:"annotations"`
}

type panel struct {
	ID          int      `json:"id"`
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Grid        grid     `json:"gridPos"`
	Source      *source  `json:"datasource"`
	Targets     []query  `json:"targets"`
	Fields      struct { // what Grafana calls the field configuration
		Defaults struct {
			Unit    string `json:"unit"`
			NoValue string `json:"noValue"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Options struct {
		TextMode string `json:"textMode"`
	} `json:"options"`
}

type grid struct{ X, Y, W, H int }

type source struct{ Type, UID string }

type query struct {
	Ref     string `json:"refId"`
	Expr    string `json:"expr"`
	Instant bool   `json:"instant"`
}

type variable struct {
	Name  string          `json:"name"`
	Type  string          `json:"type"`
	Query json.RawMessage `json:"query"`
}

func readBoard(t *testing.T, name string) (board, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(server.Root(), "deploy", "grafana", "boards", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return parseBoard(t, string(text)), string(text)
}

func parseBoard(t *testing.T, text string) board {
	t.Helper()
	var b board
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// units are Grafana's names of those that the boards use.
var units = []string{"none", "short", "percentunit", "bytes", "binBps", "reqps", "ops", "s"}

var (
	uid          = regexp.MustCompile(`^entrepot-[a-z-]{1,31}$`)
	usedVariable = regexp.MustCompile(`\$\{?(\w+)`)
)

// faults says what is wrong with a board that its types do not show.
func faults(b board) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if !uid.MatchString(b.UID) || b.Title == "" || !slices.Contains(b.Tags, "entrepot") {
		say("the board has uid %q, title %q, tags %q", b.UID, b.Title, b.Tags)
	}
	if b.Schema != 42 {
		say("schemaVersion is %d, and Grafana 12 and 13 have 42", b.Schema)
	}
	known := map[string]bool{"__rate_interval": true, "__range": true}
	for _, v := range b.Templating.List {
		known[v.Name] = true
	}
	ids := map[int]string{}
	for i, p := range b.Panels {
		if other, taken := ids[p.ID]; taken || p.ID <= 0 {
			say("%q has the id %d of %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		for _, other := range b.Panels[:i] {
			if p.Grid.overlaps(other.Grid) {
				say("%q lies over %q", p.Title, other.Title)
			}
		}
		all = append(all, p.faults(known)...)
	}
	return all
}

func (p panel) faults(known map[string]bool) []string {
	var all []string
	say := func(format string, args ...any) {
		all = append(all, fmt.Sprintf("%q ", p.Title)+fmt.Sprintf(format, args...))
	}
	if g := p.Grid; p.Title == "" || g.W <= 0 || g.H <= 0 || g.X < 0 || g.X+g.W > 24 {
		say("is at %+v", g)
	}
	if p.Type == "row" {
		return all
	}
	if len(p.Description) < 10 || !strings.HasSuffix(p.Description, ".") {
		say("has the description %q", p.Description)
	}
	if !slices.Contains(units, p.Fields.Defaults.Unit) {
		say("has the unit %q", p.Fields.Defaults.Unit)
	}
	if p.Fields.Defaults.NoValue == "" {
		say("says nothing where there is no value")
	}
	if p.Source == nil || p.Source.Type != "prometheus" || p.Source.UID != "${datasource}" || len(p.Targets) == 0 {
		say("asks %+v %d questions", p.Source, len(p.Targets))
	}
	for _, q := range p.Targets {
		for _, m := range usedVariable.FindAllStringSubmatch(q.Expr, -1) {
			if !known[m[1]] {
				say("uses $%s, which is no variable", m[1])
			}
		}
		if !strings.Contains(q.Expr, `instance=~"$instance"`) && !strings.Contains(q.Expr, "ALERTS") {
			say("does not heed the choice of servers: %s", q.Expr)
		}
	}
	return all
}

func (g grid) overlaps(o grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

func TestBoardsAreSound(t *testing.T) {
	uids := map[string]string{}
	for _, name := range boardFiles {
		b, _ := readBoard(t, name)
		for _, fault := range faults(b) {
			t.Errorf("%s: %s", name, fault)
		}
		if other, taken := uids[b.UID]; taken {
			t.Errorf("%s has the uid of %s", name, other)
		}
		uids[b.UID] = name
	}
	files, err := filepath.Glob(filepath.Join(server.Root(), "deploy", "grafana", "boards", "*"))
	if err != nil || len(files) != len(boardFiles) {
		t.Errorf("%q: these tests look at %q (%v)", files, boardFiles, err)
	}
}

func TestFaultsOfBoardsAreFound(t *testing.T) {
	_, sound := readBoard(t, "overview")
	for _, c := range []struct{ name, old, new, want string }{
		{"an id twice", `"id": 3,`, `"id": 2,`, "has the id"},
		{"a panel over another", `"gridPos": {"x": 4,`, `"gridPos": {"x": 3,`, "lies over"},
		{"a panel beyond the edge", `"gridPos": {"x": 20, "y": 1, "w": 4`, `"gridPos": {"x": 20, "y": 1, "w": 5`, "is at"},
		{"no description", `"description": "Servers that`, `"description": "", "x": "`, "has the description"},
		{"no such unit", `"unit": "bytes"`, `"unit": "octets"`, "has the unit"},
		{"no unit", `"unit": "bytes"`, `"unit": ""`, "has the unit"},
		{"nothing for no value", `"noValue": "no pulls"`, `"noValue": ""`, "says nothing"},
		{"a data source of one's own", `"datasource": {"type": "prometheus", "uid": "${datasource}"},
      "fieldConfig"`, `"datasource": {"type": "prometheus", "uid": "mine"},
      "fieldConfig"`, "asks"},
		{"a variable that is none", `registry=~\"$registry\"`, `registry=~\"$upstream\"`, "no variable"},
		{"all servers, whichever are chosen", `up{instance=~\"$instance\"} == 0`, `up == 0`, "does not heed"},
		{"an older schema", `"schemaVersion": 42`, `"schemaVersion": 39`, "schemaVersion"},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken := strings.Replace(sound, c.old, c.new, 1)
			if broken == sound {
				t.Fatalf("the board has no %s", c.old)
			}
			if found := faults(parseBoard(t, broken)); !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}
