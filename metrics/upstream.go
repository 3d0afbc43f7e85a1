package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/proxy/upstream"
)

// breakerStates are the values of the breaker's gauge: the worse, the higher.
var breakerStates = map[string]float64{"closed": 0, "half-open": 1, "open": 2}

// Upstream counts what passes between this process and upstreams.
type Upstream struct {
	registries registries

	requests *children[outcomeKey, prometheus.Counter]
	seconds  *children[kindKey, prometheus.Observer]
	bytes    *children[kindKey, prometheus.Counter]
	retries  *children[kindKey, prometheus.Counter]

	breaker, limit, remaining, refused *prometheus.GaugeVec
}

var _ upstream.Events = (*Upstream)(nil)

type kindKey struct {
	registry string
	kind     upstream.Kind
}

type outcomeKey struct {
	kindKey
	outcome string
}

// NewUpstream registers the metrics of requests to upstreams. upstreams are the registry labels that may occur; their
// breakers start closed and their credentials accepted.
func NewUpstream(r prometheus.Registerer, upstreams []string) *Upstream {
	requests := counters(r, "upstream", "requests_total", "Requests to upstreams, by what was asked and status, or timeout, failed, canceled.", "registry", "kind", "outcome")
	seconds := histograms(r, "upstream", "request_duration_seconds", "Time from a request to the headers of its answer.",
		[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "registry", "kind")
	bytes := counters(r, "upstream", "received_bytes_total", "Body bytes received from upstreams, counted as each body ends.", "registry", "kind")
	retries := counters(r, "upstream", "retries_total", "Requests that were sent again.", "registry", "kind")
	u := &Upstream{
		registries: newRegistries(upstreams),

		requests: newChildren(func(k outcomeKey) prometheus.Counter {
			return requests.WithLabelValues(k.registry, string(k.kind), k.outcome)
		}),
		seconds: newChildren(func(k kindKey) prometheus.Observer {
			return seconds.WithLabelValues(k.registry, string(k.kind))
		}),
		bytes: newChildren(func(k kindKey) prometheus.Counter {
			return bytes.WithLabelValues(k.registry, string(k.kind))
		}),
		retries: newChildren(func(k kindKey) prometheus.Counter {
			return retries.WithLabelValues(k.registry, string(k.kind))
		}),

		breaker:   gauges(r, "upstream", "breaker_state", "0 closed, 1 half-open, 2 open: upstream is known to be down and not asked.", "registry"),
		limit:     gauges(r, "upstream", "ratelimit_limit", "Pulls that upstream allows an account, as it said last. account: anonymous (by our address), credential.", "registry", "account"),
		remaining: gauges(r, "upstream", "ratelimit_remaining", "Pulls that an account has left, as upstream said last.", "registry", "account"),
		refused:   gauges(r, "upstream", "credential_refused", "1 while upstream refuses our credential for everything.", "registry"),
	}
	u.begin(upstreams)
	return u
}

// begin makes the series that alerts look at. Of requests those are the failures of what a pull needs.
func (u *Upstream) begin(upstreams []string) {
	for _, name := range upstreams {
		u.BreakerChanged(name, "closed")
		u.CredentialRefused(name, false)
		for _, kind := range []upstream.Kind{upstream.KindManifest, upstream.KindBlob, upstream.KindToken} {
			for _, outcome := range []string{"timeout", "failed", "429"} {
				u.requests.get(outcomeKey{kindKey{name, kind}, outcome})
			}
		}
		for _, kind := range []upstream.Kind{upstream.KindManifest, upstream.KindBlob} {
			u.bytes.get(kindKey{name, kind})
			u.retries.get(kindKey{name, kind})
		}
	}
}

func (u *Upstream) key(host string, kind upstream.Kind) kindKey {
	return kindKey{u.registries.label(host), kind}
}

func (u *Upstream) Requested(host string, kind upstream.Kind, outcome string, took time.Duration) {
	key := u.key(host, kind)
	u.requests.get(outcomeKey{key, outcome}).Inc()
	u.seconds.get(key).Observe(took.Seconds())
}

func (u *Upstream) Received(host string, kind upstream.Kind, bytes int64) {
	u.bytes.get(u.key(host, kind)).Add(float64(bytes))
}

func (u *Upstream) Retried(host string, kind upstream.Kind) { u.retries.get(u.key(host, kind)).Inc() }

func (u *Upstream) BreakerChanged(host, state string) {
	u.breaker.WithLabelValues(u.registries.label(host)).Set(breakerStates[state])
}

func (u *Upstream) RateLimit(host, account string, limit, remaining int64) {
	registry := u.registries.label(host)
	account = word(account, upstream.AccountAnonymous, upstream.AccountCredential)
	u.limit.WithLabelValues(registry, account).Set(float64(limit))
	u.remaining.WithLabelValues(registry, account).Set(float64(remaining))
}

func (u *Upstream) CredentialRefused(host string, refused bool) {
	value := 0.0
	if refused {
		value = 1
	}
	u.refused.WithLabelValues(u.registries.label(host)).Set(value)
}
