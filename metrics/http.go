package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/access"
)

// none is the label of answers that no upstream, or no tier of the cache, had a part in.
const none = "none"

// hostedHere is the registry label of answers about hosted repositories.
const hostedHere = "hosted"

// HTTP counts the answers to clients, and apart from them those to other servers of a bucket, which ask for clients of theirs.
type HTTP struct {
	registries registries

	answers  *children[answerKey, answered]
	sent     *children[sentKey, prometheus.Counter]
	received *children[proxy.Kind, prometheus.Counter]
	cut      *children[proxy.Kind, prometheus.Counter]
	allowed  *children[access.Action, prometheus.Counter]

	served      *children[int, prometheus.Counter]    // other servers, by status
	servedBytes *children[string, prometheus.Counter] // by registry
}

type answerKey struct {
	route    proxy.Kind
	registry string
	status   int
	tier     cache.Tier
}

type sentKey struct {
	registry string
	tier     cache.Tier
}

// answered is what one kind of answer moves: the hot path looks it up once.
type answered struct {
	requests       prometheus.Counter
	sent           prometheus.Counter
	seconds, first prometheus.Observer
}

// NewHTTP registers the metrics of answers. upstreams are the registry labels that may occur.
func NewHTTP(r prometheus.Registerer, upstreams []string) *HTTP {
	requests := counters(r, "http", "requests_total", "Requests of clients answered, by route, upstream (or hosted, or none), status and the tier that the content came from.", "route", "registry", "status", "tier")
	seconds := histograms(r, "http", "request_duration_seconds", "Time from a request's head to the last byte of its answer. Small answers and what is in memory count as sent when they are handed to the connection.",
		[]float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 10, 60, 600}, "route")
	first := histograms(r, "http", "first_byte_seconds", "Time from a request's head until the first byte of the answer's body was handed to the connection, or the whole answer where it is in memory or has no body. Uploads include what the client took to send.",
		[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "route", "tier")
	sent := counters(r, "http", "sent_bytes_total", "Body bytes sent to clients, by upstream (or hosted, or none) and the tier that they came from, counted as each answer ends.", "registry", "tier")
	received := counters(r, "http", "received_bytes_total", "Body bytes received from clients: what they push.", "route")
	cut := counters(r, "http", "cut_total", "Answers whose body ended early: the client left, or the content failed.", "route")
	allowed := counters(r, "access", "allowed_total", "Requests for a repository by users and robots that the policy let, by action: pull, push, delete.", "action")
	served := counters(r, "replica", "served_requests_total", "Requests of other servers of the bucket answered, by status. They are not among those of clients.", "status")
	servedBytes := counters(r, "replica", "served_bytes_total", "Body bytes sent to other servers of the bucket, by upstream.", "registry")
	h := &HTTP{
		registries: newRegistries(upstreams),
		sent: newChildren(func(k sentKey) prometheus.Counter {
			return sent.WithLabelValues(k.registry, tierLabel(k.tier))
		}),
		received:    newChildren(func(route proxy.Kind) prometheus.Counter { return received.WithLabelValues(route.String()) }),
		cut:         newChildren(func(route proxy.Kind) prometheus.Counter { return cut.WithLabelValues(route.String()) }),
		allowed:     newChildren(func(a access.Action) prometheus.Counter { return allowed.WithLabelValues(a.String()) }),
		served:      newChildren(func(status int) prometheus.Counter { return served.WithLabelValues(strconv.Itoa(status)) }),
		servedBytes: newChildren(func(registry string) prometheus.Counter { return servedBytes.WithLabelValues(registry) }),
	}
	h.answers = newChildren(func(k answerKey) answered {
		return answered{
			requests: requests.WithLabelValues(k.route.String(), k.registry, strconv.Itoa(k.status), tierLabel(k.tier)),
			sent:     h.sent.get(sentKey{k.registry, k.tier}),
			seconds:  seconds.WithLabelValues(k.route.String()),
			first:    first.WithLabelValues(k.route.String(), tierLabel(k.tier)),
		}
	})
	h.begin(upstreams)
	return h
}

// begin makes series at 0, so that there is a saving to compute and a rate to look at from the start.
func (h *HTTP) begin(upstreams []string) {
	for _, registry := range upstreams {
		for _, tier := range []cache.Tier{cache.TierMemory, cache.TierDisk, cache.TierUpstream} {
			h.sent.get(sentKey{registry, tier})
		}
	}
	for _, route := range []proxy.Kind{proxy.KindBlob, proxy.KindManifest} {
		h.cut.get(route)
	}
	for _, action := range []access.Action{access.Pull, access.Push, access.Delete} {
		h.allowed.get(action)
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
	if a.Replica {
		h.served.get(a.Status).Inc()
		h.servedBytes.get(registry).Add(float64(a.Bytes))
		return
	}
	to := h.answers.get(answerKey{a.Kind, registry, a.Status, a.Tier})
	to.requests.Inc()
	to.sent.Add(float64(a.Bytes))
	to.seconds.Observe(a.Duration.Seconds())
	if a.FirstByte >= 0 {
		to.first.Observe(a.FirstByte.Seconds())
	}
	if a.Received > 0 {
		h.received.get(a.Kind).Add(float64(a.Received))
	}
	if a.Cut {
		h.cut.get(a.Kind).Inc()
	}
	if a.Allowed {
		h.allowed.get(a.Action).Inc()
	}
}

func tierLabel(t cache.Tier) string {
	if t == "" {
		return none
	}
	return string(t)
}
