package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
)

// none is the label of answers that no upstream, or no tier of the cache, had a part in.
const none = "none"

// hostedHere is the registry label of answers about hosted repositories.
const hostedHere = "hosted"

// HTTP counts the answers to clients.
type HTTP struct {
	registries registries

	requests *children[answerKey, prometheus.Counter]
	seconds  *children[proxy.Kind, prometheus.Observer]
	bytes    *children[cache.Tier, prometheus.Counter]
	received *children[proxy.Kind, prometheus.Counter]
	cut      *children[proxy.Kind, prometheus.Counter]
}

type answerKey struct {
	route    proxy.Kind
	registry string
	status   int
	tier     cache.Tier
}

// NewHTTP registers the metrics of answers. upstreams are the registry labels that may occur.
func NewHTTP(r prometheus.Registerer, upstreams []string) *HTTP {
	requests := counters(r, "http", "requests_total", "Requests answered, by route, upstream (or hosted, or none), status and the tier that the content came from.", "route", "registry", "status", "tier")
	seconds := promauto.With(r).NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: "http", Name: "request_duration_seconds",
		Help:    "Time from a request to the last byte of its answer.",
		Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 10, 60, 600},
	}, []string{"route"})
	bytes := counters(r, "http", "sent_bytes_total", "Body bytes sent to clients, by the tier that they came from.", "tier")
	received := counters(r, "http", "received_bytes_total", "Body bytes received from clients: what they push.", "route")
	cut := counters(r, "http", "cut_total", "Answers whose body ended early: the client left, or the content failed.", "route")
	return &HTTP{
		registries: newRegistries(upstreams),
		requests: newChildren(func(k answerKey) prometheus.Counter {
			return requests.WithLabelValues(k.route.String(), k.registry, strconv.Itoa(k.status), tierLabel(k.tier))
		}),
		seconds: newChildren(func(route proxy.Kind) prometheus.Observer {
			return seconds.WithLabelValues(route.String())
		}),
		bytes: newChildren(func(t cache.Tier) prometheus.Counter {
			return bytes.WithLabelValues(tierLabel(t))
		}),
		received: newChildren(func(route proxy.Kind) prometheus.Counter {
			return received.WithLabelValues(route.String())
		}),
		cut: newChildren(func(route proxy.Kind) prometheus.Counter {
			return cut.WithLabelValues(route.String())
		}),
	}
}

// Answered counts one answer. It is called for every request, so it neither locks nor allocates.
func (h *HTTP) Answered(a proxy.Answer) {
	registry := none
	switch {
	case a.Hosted:
		registry = hostedHere
	case a.Registry != "":
		registry = h.registries.label(a.Registry)
	}
	h.requests.get(answerKey{a.Kind, registry, a.Status, a.Tier}).Inc()
	h.seconds.get(a.Kind).Observe(a.Duration.Seconds())
	h.bytes.get(a.Tier).Add(float64(a.Bytes))
	if a.Received > 0 {
		h.received.get(a.Kind).Add(float64(a.Received))
	}
	if a.Cut {
		h.cut.get(a.Kind).Inc()
	}
}

func tierLabel(t cache.Tier) string {
	if t == "" {
		return none
	}
	return string(t)
}
