package metrics

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/upstream"
	"github.com/entrepot/entrepot/storage/hosted"
)

// anUpstream stands for the host of any that is configured.
const anUpstream = "(an upstream's host)"

// everything registers all metrics and tells them of everything that may happen, so that every series is there.
func everything(r prometheus.Registerer) {
	hosts := []string{anUpstream}
	RegisterBuild(r, "(version)", "(commit)", "(Go's version)")
	RegisterTiers(r, func() (used, limit int64) { return 1, 2 }, func() cache.Usage { return cache.Usage{} })
	RegisterHosted(r, func() hosted.Usage { return hosted.Usage{Counted: time.Unix(1e9, 0)} })
	tellAccess(NewAccess(r))
	tellHTTP(NewHTTP(r, hosts))
	tellCache(NewCache(r, hosts))
	tellUpstream(NewUpstream(r, hosts))
	h, s := NewHosted(r), NewScrub(r)
	h.DamagedLeft(0)
	s.AllCachedRead(time.Unix(1e9, 0))
	s.AllHostedRead(time.Unix(1e9, 0))
}

func tellAccess(a *Access) {
	a.Reloaded("users", errors.New("a mistake"))
}

func tellHTTP(h *HTTP) {
	for _, route := range proxy.Kinds() {
		for _, tier := range []cache.Tier{"", cache.TierMemory, cache.TierDisk, cache.TierS3, cache.TierUpstream} {
			for _, registry := range []string{"", anUpstream, "any other"} {
				h.Answered(proxy.Answer{Kind: route, Registry: registry, Status: 200, Tier: tier, Received: 1, Cut: true})
				h.Answered(proxy.Answer{Kind: route, Registry: registry, Status: 200, Replica: true})
			}
			h.Answered(proxy.Answer{Kind: route, Hosted: true, Status: 200, Tier: tier})
		}
	}
}

func tellCache(c *Cache) {
	for _, cause := range cache.Outages() {
		c.Stale("any other", string(cause))
	}
}

func tellUpstream(u *Upstream) {
	for _, host := range []string{anUpstream, "any other"} {
		for _, kind := range upstream.Kinds() {
			for _, outcome := range []string{"200", "timeout", "failed", "canceled"} {
				u.Requested(host, kind, outcome, time.Second)
			}
			if kind != upstream.KindToken && kind != upstream.KindPing { // whose bodies are not counted
				u.Received(host, kind, 1)
			}
			u.Retried(host, kind)
		}
		for _, account := range []string{upstream.AccountAnonymous, upstream.AccountCredential} {
			u.RateLimit(host, account, 100, 1)
		}
		u.BreakerChanged(host, "open")
		u.CredentialRefused(host, true)
	}
}

// noted is a registry that notes the names of all that is registered, whether it has series or not.
type noted struct {
	*prometheus.Registry
	names map[string]bool
}

func newNoted() noted { return noted{prometheus.NewPedanticRegistry(), map[string]bool{}} }

var nameOfDesc = regexp.MustCompile(`fqName: "([a-z0-9_]+)"`)

func (n noted) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		descs := make(chan *prometheus.Desc)
		go func() { // ends when everything is described
			c.Describe(descs)
			close(descs)
		}()
		for d := range descs {
			n.names[nameOfDesc.FindStringSubmatch(d.String())[1]] = true
		}
	}
	n.Registry.MustRegister(all...)
}

func TestNamesFollowTheConventionsOfPrometheus(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	everything(r)
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestThePageOfMetricsIsCurrent(t *testing.T) {
	r := newNoted()
	everything(r)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		delete(r.names, f.GetName())
	}
	if len(r.names) > 0 {
		t.Errorf("everything() leaves these without series: %v", slices.Sorted(maps.Keys(r.names)))
	}
	want := pageHead
	for _, f := range families {
		want += row(f)
	}
	const path = "../docs/metrics.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("docs/metrics.md is not what the code exports (%v): run make docs", err)
	}
}

const pageHead = `# Metrics

<!-- Written by "make docs" from what the package metrics registers. Edit the help texts there. -->

` + "`/metrics`" + ` of ` + "`ENTREPOT_ADMIN_LISTEN`" + ` exports these, and Go's own ` + "`go_*` and `process_*`" + `. [runbooks.md](runbooks.md) says which of them alerts watch, and what to do.

- Every histogram has classic buckets and is a [native histogram](https://prometheus.io/docs/specs/native_histograms/) too: a Prometheus that scrapes those keeps them instead, unless ` + "`always_scrape_classic_histograms`" + ` is set.
- Label values come from closed lists and from the configuration; what neither names is ` + "`other`" + `. Series that alerts look at are there from the start.
- What other servers of the same bucket read is in ` + "`entrepot_replica_served_*`" + ` and not in ` + "`entrepot_http_*`" + `, so over all servers the traffic that upstreams were spared is
  ` + "`1 - sum(entrepot_upstream_received_bytes_total) / sum(entrepot_http_sent_bytes_total{registry!~\"hosted|none|other\",tier!=\"none\"})`" + `.

| name | type | labels | meaning |
|---|---|---|---|
`

func row(f *dto.MetricFamily) string {
	values := map[string][]string{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if v := shown(l.GetValue()); !slices.Contains(values[l.GetName()], v) {
				values[l.GetName()] = append(values[l.GetName()], v)
			}
		}
	}
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		slices.Sort(values[name])
		labels = append(labels, fmt.Sprintf("`%s`: %s", name, strings.Join(values[name], ", ")))
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, "<br>"), f.GetHelp())
}

// shown is a label value as the page names it: as it is, or in words where it stands for many.
func shown(value string) string {
	switch _, err := strconv.Atoi(value); {
	case err == nil:
		return "(an HTTP status)"
	case strings.HasPrefix(value, "("):
		return value
	}
	return "`" + value + "`"
}
