package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

const (
	scrapeInterval = time.Second
	rateInterval   = 10 * scrapeInterval // Grafana takes four at least, and more for a longer time
)

// prometheus is a running one.
type prometheus struct {
	t     *testing.T
	url   string
	began time.Time
	end   time.Time // of what is asked; zero: now
}

// startPrometheus runs one with the shipped files, of which only the addresses and the interval are others.
func startPrometheus(t *testing.T, servers ...*server.Server) *prometheus {
	t.Helper()
	if err := tools.Debian(t.Context(), "prometheus"); err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, s := range servers {
		targets = append(targets, strconv.Quote(strings.TrimPrefix(s.Admin, "http://")))
	}
	dir := t.TempDir()
	config := shipped(t, "deploy/prometheus/prometheus.yml")
	for old, new := range map[string]string{`["entrepot:5001"]`: "[" + strings.Join(targets, ", ") + "]", "15s": scrapeInterval.String()} {
		if !strings.Contains(config, old) {
			t.Fatalf("prometheus.yml has no %s", old)
		}
		config = strings.ReplaceAll(config, old, new)
	}
	for name, text := range map[string]string{"prometheus.yml": config, "alerts.yml": shipped(t, "deploy/prometheus/alerts.yml")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := &prometheus{t: t, url: "http://" + server.FreeAddr(t), began: time.Now()}
	p.run(dir)
	for _, s := range servers {
		p.awaitScrape(s)
	}
	return p
}

// run starts the process and waits until it answers. It ends with the test.
func (p *prometheus) run(dir string) {
	p.t.Helper()
	var log server.Output
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+strings.TrimPrefix(p.url, "http://"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
		if p.t.Failed() {
			p.t.Logf("Prometheus' log:\n%s", log.Tail(8<<10))
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(p.url + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			p.t.Fatalf("Prometheus is not ready: %v\n%s", err, log.String())
		}
	}
}

// awaitScrape waits until Prometheus knows what the server counts now.
func (p *prometheus) awaitScrape(s *server.Server) {
	p.t.Helper()
	now := time.Now()
	up := fmt.Sprintf(`timestamp(up{instance=%q})`, strings.TrimPrefix(s.Admin, "http://"))
	for end := now.Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, found := range p.instant(up) {
			if at := found.values[0]; at > float64(now.UnixMilli())/1e3 {
				return
			}
		}
	}
	p.t.Fatalf("%s was not scraped within a minute", s.Admin)
}

// series is one line of an answer.
type series struct {
	labels map[string]string
	values []float64
}

// instant asks for values at the end, and over for those of each second since the beginning, as a graph does.
func (p *prometheus) instant(expr string) []series {
	return p.ask("query", url.Values{"query": {expr}, "time": {seconds(p.until())}})
}

func (p *prometheus) over(expr string) []series {
	return p.ask("query_range", url.Values{"query": {expr}, "start": {seconds(p.began)}, "end": {seconds(p.until())}, "step": {"1"}})
}

func (p *prometheus) until() time.Time {
	if p.end.IsZero() {
		return time.Now()
	}
	return p.end
}

func seconds(t time.Time) string { return fmt.Sprintf("%.3f", float64(t.UnixMilli())/1e3) }

func (p *prometheus) ask(what string, form url.Values) []series {
	p.t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string    `json:"metric"`
			Value  [2]json.RawMessage   `json:"value"`
			Values [][2]json.RawMessage `json:"values"`
		} `json:"result"`
	}
	p.get(what+"?"+form.Encode(), &data)
	var all []series
	for _, r := range data.Result {
		s := series{labels: r.Metric}
		if len(r.Values) == 0 {
			r.Values = append(r.Values, r.Value)
		}
		for _, v := range r.Values {
			s.values = append(s.values, number(p.t, v[1]))
		}
		all = append(all, s)
	}
	return all
}

// number reads a value, which is in quotes, since it may be NaN.
func number(t *testing.T, raw json.RawMessage) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// get reads what the API answers below data.
func (p *prometheus) get(path string, data any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error string          `json:"error"`
		Data  json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		p.t.Fatal(err)
	}
	if answer.Error != "" {
		p.t.Fatalf("%s: %s", path, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		p.t.Fatal(err)
	}
}
