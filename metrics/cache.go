package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/cache"
)

// Cache counts what happens in the cache.
type Cache struct {
	registries registries

	started, joined, resumed prometheus.Counter
	ended                    *children[cache.Outcome, prometheus.Counter]
	failures                 *children[cache.Cause, prometheus.Counter]
	running                  prometheus.Gauge

	streamed     *children[string, prometheus.Counter]
	evictions    prometheus.Counter
	evictedBytes prometheus.Counter
	unverified   prometheus.Counter
	stale        *children[staleKey, prometheus.Counter]
	prefetched   *children[bool, prometheus.Counter]
	records      prometheus.Counter

	stored, borrowed *children[bool, prometheus.Counter]
	bucket           prometheus.Counter
}

var _ cache.Events = (*Cache)(nil)

// streamedReasons are the words that cache.Events says.
var streamedReasons = []string{"full", "disk", "busy", "foreign", "none"}

type staleKey struct{ registry, cause string }

// NewCache registers the cache's metrics. upstreams are the registry labels that may occur.
func NewCache(r prometheus.Registerer, upstreams []string) *Cache {
	ended := counters(r, "fill", "ended_total", "Fills that ended, by outcome: complete, corrupt, failed, paused.", "outcome")
	failures := counters(r, "fill", "failures_total", "Fills that failed or brought wrong bytes, by cause: those of outages (limited is a 429, failed a 5xx or no connection, breaker a known outage), not-found and denied (upstream's answers), corrupt, disk, no-room, other.", "cause")
	streamed := counters(r, "cache", "streamed_total", "Blobs that went past the cache, by reason: full, disk (it failed), busy, foreign (hosted, while an upstream's is fetched, or the other way round), none (there is no disk tier).", "reason")
	stale := counters(r, "cache", "stale_total", "Stale answers, by the cause of upstream's silence.", "registry", "cause")
	prefetched := counters(r, "cache", "prefetches_total", "Layers that were to be fetched ahead, by result: queued, dropped.", "result")
	bucketStored := counters(r, "cache", "s3_stores_total", "Blobs that were to go to S3, by result: stored, lost (another server will fetch them from upstream).", "result")
	borrowed := counters(r, "cache", "replica_reads_total", "Blobs and manifests read from the server that was fetching them, by result: begun, failed (upstream was asked then).", "result")
	c := &Cache{
		registries: newRegistries(upstreams),

		started: counter(r, "fill", "started_total", "Fills that were begun."),
		joined:  counter(r, "fill", "joined_total", "Readers that followed a fill which another one had begun."),
		resumed: counter(r, "fill", "resumed_total", "Broken upstream connections after which a fill went on at its offset."),
		ended: newChildren(func(o cache.Outcome) prometheus.Counter {
			return ended.WithLabelValues(string(o))
		}),
		failures: newChildren(func(cause cache.Cause) prometheus.Counter {
			return failures.WithLabelValues(string(cause))
		}),
		running: gauges(r, "fill", "running", "Fills under way.").WithLabelValues(),

		streamed: newChildren(func(reason string) prometheus.Counter {
			return streamed.WithLabelValues(reason)
		}),
		evictions:    counter(r, "cache", "evictions_total", "Objects that were evicted from the disk tier."),
		evictedBytes: counter(r, "cache", "evicted_bytes_total", "Bytes that were evicted from the disk tier."),
		unverified:   counter(r, "cache", "unverified_total", "Partial answers (206) sent before their blob was verified."),
		stale: newChildren(func(k staleKey) prometheus.Counter {
			return stale.WithLabelValues(k.registry, k.cause)
		}),
		prefetched: newChildren(func(queued bool) prometheus.Counter {
			return prefetched.WithLabelValues(map[bool]string{true: "queued", false: "dropped"}[queued])
		}),
		stored: newChildren(func(stored bool) prometheus.Counter {
			return bucketStored.WithLabelValues(map[bool]string{true: "stored", false: "lost"}[stored])
		}),
		borrowed: newChildren(func(begun bool) prometheus.Counter {
			return borrowed.WithLabelValues(map[bool]string{true: "begun", false: "failed"}[begun])
		}),
		bucket:  counter(r, "cache", "s3_failures_total", "Times that S3 failed or kept silent and was left alone for some seconds. The pulls go on."),
		records: counter(r, "cache", "record_failures_total", "Small records (tags, what was seen where) that could not be read or written. The pull goes on."),
	}
	c.begin(upstreams)
	return c
}

// begin makes the series that alerts look at, at 0: a rate needs a value before the first event.
func (c *Cache) begin(upstreams []string) {
	for _, o := range []cache.Outcome{cache.FillComplete, cache.FillCorrupt, cache.FillFailed, cache.FillPaused} {
		c.ended.get(o)
	}
	for _, cause := range cache.FillCauses() {
		c.failures.get(cause)
	}
	for _, reason := range streamedReasons {
		c.streamed.get(reason)
	}
	for _, registry := range upstreams {
		for _, cause := range cache.Outages() {
			c.stale.get(staleKey{registry, string(cause)})
		}
	}
	for _, good := range []bool{true, false} {
		c.prefetched.get(good)
		c.stored.get(good)
		c.borrowed.get(good)
	}
}

func (c *Cache) FillStarted() {
	c.started.Inc()
	c.running.Inc()
}

func (c *Cache) FillJoined()  { c.joined.Inc() }
func (c *Cache) FillResumed() { c.resumed.Inc() }

func (c *Cache) FillEnded(o cache.Outcome, cause cache.Cause) {
	c.ended.get(o).Inc()
	c.running.Dec()
	if cause != "" {
		c.failures.get(cause).Inc()
	}
}

func (c *Cache) Streamed(reason string) {
	c.streamed.get(word(reason, streamedReasons...)).Inc()
}

func (c *Cache) Evicted(bytes int64) {
	c.evictions.Inc()
	c.evictedBytes.Add(float64(bytes))
}

func (c *Cache) Unverified() { c.unverified.Inc() }

func (c *Cache) Stale(registry, cause string) {
	c.stale.get(staleKey{c.registries.label(registry), cause}).Inc()
}

func (c *Cache) Prefetched(queued bool) { c.prefetched.get(queued).Inc() }

func (c *Cache) RecordFailed() { c.records.Inc() }

func (c *Cache) BucketStored(stored bool) { c.stored.get(stored).Inc() }
func (c *Cache) BucketFailed()            { c.bucket.Inc() }
func (c *Cache) Borrowed(begun bool)      { c.borrowed.get(begun).Inc() }
