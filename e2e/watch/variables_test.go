package watch

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// choices are the values of a board's variables, as they stand in a query.
type choices map[string]string

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// everything asks Prometheus for the variables' values, as Grafana does, and chooses all.
func (p *prometheus) everything(b board) choices {
	p.t.Helper()
	c := choices{"__rate_interval": rateInterval.String(), "__range": fmt.Sprintf("%.0fs", time.Since(p.began).Seconds())}
	for _, v := range b.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		var asked struct {
			Query string `json:"query"`
		}
		if err := json.Unmarshal(v.Query, &asked); err != nil {
			p.t.Fatal(err)
		}
		m := labelValues.FindStringSubmatch(c.in(asked.Query))
		if m == nil {
			p.t.Fatalf("$%s asks %s", v.Name, asked.Query)
		}
		var values []string
		p.get("label/"+m[2]+"/values?"+url.Values{"match[]": {m[1]}}.Encode(), &values)
		if len(values) == 0 {
			p.t.Fatalf("$%s has no values: %s", v.Name, m[0])
		}
		c[v.Name] = oneOf(values...)
	}
	return c
}

// oneOf writes values for =~, inside a string of a query: there a backslash is written twice.
func oneOf(values ...string) string {
	for i, v := range values {
		values[i] = strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`)
	}
	if len(values) == 1 {
		return values[0]
	}
	return "(" + strings.Join(values, "|") + ")"
}

// in puts the values into a query.
func (c choices) in(expr string) string {
	return usedVariable.ReplaceAllStringFunc(expr, func(used string) string {
		if value, ok := c[strings.TrimLeft(used, "${")]; ok {
			return value
		}
		return used
	})
}

func TestVariablesAreReplacedAsGrafanaDoesIt(t *testing.T) {
	c := choices{"instance": oneOf("127.0.0.1:5001", "b:5001"), "registry": oneOf("docker.io"), "__range": "20s"}
	got := c.in(`sum(increase(x{instance=~"$instance",registry=~"$registry"}[$__range])) $unknown`)
	want := `sum(increase(x{instance=~"(127\\.0\\.0\\.1:5001|b:5001)",registry=~"docker\\.io"}[20s])) $unknown`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
