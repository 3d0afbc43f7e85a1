package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Scrub counts what is read again to see whether it still is what it was, behind the work or by command.
type Scrub struct {
	cached, hosted prometheus.Counter
	damaged        prometheus.Counter
	last           *prometheus.GaugeVec // has no series before the first time: a 0 would be long ago
}

// NewScrub registers the metrics of that. Damaged hosted contents are counted by Hosted, whoever finds them.
func NewScrub(r prometheus.Registerer) *Scrub {
	bytes := counters(r, "scrub", "bytes_total", "Bytes read again and compared with their digests, by kind: cached, hosted.", "kind")
	return &Scrub{
		cached:  bytes.WithLabelValues("cached"),
		hosted:  bytes.WithLabelValues("hosted"),
		damaged: counter(r, "cache", "damaged_total", "Cached blobs found not to match their digest. They are fetched again when they are asked for."),
		last:    gauges(r, "scrub", "last_timestamp_seconds", "When everything had last been read again, by kind: cached, hosted. It has no series before the first time.", "kind"),
	}
}

func (s *Scrub) ReadCached(bytes int) { s.cached.Add(float64(bytes)) }
func (s *Scrub) ReadHosted(bytes int) { s.hosted.Add(float64(bytes)) }

// CachedDamaged counts cached blobs that were dropped.
func (s *Scrub) CachedDamaged(n int) { s.damaged.Add(float64(n)) }

// AllCachedRead and AllHostedRead are told when a reading has come to its end.
func (s *Scrub) AllCachedRead(at time.Time) { s.last.WithLabelValues("cached").Set(seconds(at)) }
func (s *Scrub) AllHostedRead(at time.Time) { s.last.WithLabelValues("hosted").Set(seconds(at)) }
