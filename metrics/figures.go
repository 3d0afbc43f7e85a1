package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
)

// NewFigures gives what the page shows, read from the counters that are exported too. since is when they began.
func NewFigures(h *HTTP, c *Cache, u *Upstream, since time.Time) func() proxy.Figures {
	var hosts []string
	for host := range h.registries {
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return func() proxy.Figures {
		f := proxy.Figures{Since: since}
		at := map[string]int{}
		for i, host := range hosts {
			at[host] = i
			f.Registries = append(f.Registries, proxy.RegistryFigures{Host: host})
		}
		for key, answers := range *h.answers.known.Load() {
			if _, ofUpstream := at[key.registry]; !ofUpstream || !isContent(key) {
				continue
			}
			switch key.tier {
			case cache.TierMemory, cache.TierDisk, cache.TierS3:
				f.Hits += value(answers.requests)
			case cache.TierUpstream:
				f.Misses += value(answers.requests)
			}
		}
		for key, n := range *h.sent.known.Load() {
			if i, ok := at[key.registry]; ok && key.tier != "" { // lists and errors are no content
				f.Registries[i].Sent += value(n)
			}
		}
		for key, n := range *u.bytes.known.Load() {
			if i, ok := at[key.registry]; ok {
				f.Registries[i].Fetched += value(n)
			}
		}
		for _, n := range *c.stale.known.Load() {
			f.Stale += value(n)
		}
		return f
	}
}

// isContent: the answer is a blob or a manifest, a part of one, or that the client has it.
func isContent(k answerKey) bool {
	return (k.route == proxy.KindBlob || k.route == proxy.KindManifest) && slices.Contains([]int{200, 206, 304}, k.status)
}

// value reads a counter, which cannot fail.
func value(c prometheus.Counter) int64 {
	var m dto.Metric
	_ = c.Write(&m)
	return int64(m.GetCounter().GetValue())
}
