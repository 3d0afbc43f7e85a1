package metrics

import (
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/storage/hosted"
)

// results are how a collection ends. A dry one deletes nothing.
var results = []string{"complete", "dry", "failed"}

// Hosted counts what happens to hosted repositories.
type Hosted struct {
	collections  *children[string, prometheus.Counter]
	last, took   prometheus.Gauge
	freed        prometheus.Counter
	freedBytes   prometheus.Counter
	damagedFound prometheus.Counter
	damagedLeft  *prometheus.GaugeVec // has no series before the first verification: a 0 would say that all is well
}

var _ hosted.Events = (*Hosted)(nil)

// NewHosted registers the metrics of hosted repositories, but for what they hold.
func NewHosted(r prometheus.Registerer) *Hosted {
	collections := counters(r, "hosted", "collections_total", "Collections of what nothing names any more, by result: complete, dry, failed.", "result")
	h := &Hosted{
		collections: newChildren(func(result string) prometheus.Counter {
			return collections.WithLabelValues(result)
		}),
		last:         gauges(r, "hosted", "last_collection_timestamp_seconds", "When the last complete collection began.").WithLabelValues(),
		took:         gauges(r, "hosted", "last_collection_duration_seconds", "How long the last complete collection took.").WithLabelValues(),
		freed:        counter(r, "hosted", "freed_blobs_total", "Blobs that collections deleted."),
		freedBytes:   counter(r, "hosted", "freed_bytes_total", "Bytes of the blobs that collections deleted."),
		damagedFound: counter(r, "hosted", "damaged_total", "Hosted contents found not to match their digest. They are not served until they are pushed again."),
		damagedLeft:  gauges(r, "hosted", "damaged_contents", "Hosted contents that the last complete verification found damaged, known ones included."),
	}
	for _, result := range results {
		h.collections.get(result)
	}
	return h
}

// Damaged counts content that does not match its digest any more.
func (h *Hosted) Damaged(digest.Digest) { h.damagedFound.Inc() }

// DamagedLeft is told what a verification has found that looked at everything.
func (h *Hosted) DamagedLeft(n int) { h.damagedLeft.WithLabelValues().Set(float64(n)) }

// Collected counts a collection that came to its end.
func (h *Hosted) Collected(r hosted.CollectReport) {
	if r.DryRun {
		h.collections.get("dry").Inc()
		return
	}
	h.collections.get("complete").Inc()
	h.last.Set(seconds(r.Started))
	h.took.Set(r.Took.Seconds())
	h.freed.Add(float64(r.Freed))
	h.freedBytes.Add(float64(r.FreedBytes))
}

// CollectionFailed counts a collection that did not.
func (h *Hosted) CollectionFailed() { h.collections.get("failed").Inc() }

// RegisterHosted exports what the hosted repositories hold. Before the first collection has counted it there are no series:
// a 0 would say that everything is lost.
func RegisterHosted(r prometheus.Registerer, usage func() hosted.Usage) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_hosted_"+name, help+", as the last collection counted.", nil, nil)
	}
	r.MustRegister(&hostedUsage{
		usage:        usage,
		repositories: desc("repositories", "Hosted repositories"),
		manifests:    desc("manifests", "Manifests in hosted repositories, those without a tag included"),
		blobs:        desc("blobs", "Different blobs that hosted manifests name"),
		bytes:        desc("bytes", "Bytes of hosted manifests and blobs, each blob once"),
		uploads:      desc("uploads_open", "Uploads that were begun and have not ended"),
	})
}

// hostedUsage asks once for each scrape, so that its numbers belong together.
type hostedUsage struct {
	usage                                          func() hosted.Usage
	repositories, manifests, blobs, bytes, uploads *prometheus.Desc
}

func (h *hostedUsage) Describe(to chan<- *prometheus.Desc) {
	to <- h.repositories
	to <- h.manifests
	to <- h.blobs
	to <- h.bytes
	to <- h.uploads
}

func (h *hostedUsage) Collect(to chan<- prometheus.Metric) {
	u := h.usage()
	if u.Counted.IsZero() {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(h.repositories, float64(len(u.Repositories)))
	gauge(h.manifests, float64(u.Manifests))
	gauge(h.blobs, float64(u.Blobs))
	gauge(h.bytes, float64(u.Bytes))
	gauge(h.uploads, float64(u.Uploads))
}
