package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/cache"
)

// RegisterTiers exports the size limits of both tiers, and what they hold at the time of a scrape.
func RegisterTiers(r prometheus.Registerer, memory func() (used, limit int64), disk func() cache.Usage) {
	tier := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_tier_"+name, help, []string{"tier"}, nil)
	}
	r.MustRegister(&tierUsage{
		memory: memory, disk: disk,
		limit: tier("limit_bytes", "Size limit of a tier of the cache."),
		used:  tier("used_bytes", "Bytes that a tier of the cache holds, with what their entries cost in memory, and with partial blobs and records on the disk."),
		bytes: prometheus.NewDesc(namespace+"_disk_used_bytes", "Bytes in the disk tier: complete blobs, partial ones, records (manifests, tags and the like).", []string{"kind"}, nil),
		blobs: prometheus.NewDesc(namespace+"_disk_blobs", "Complete blobs in the disk tier.", nil, nil),
	})
}

// tierUsage asks once for each scrape, so that its numbers belong together.
type tierUsage struct {
	memory                    func() (used, limit int64)
	disk                      func() cache.Usage
	limit, used, bytes, blobs *prometheus.Desc
}

func (d *tierUsage) Describe(to chan<- *prometheus.Desc) {
	to <- d.limit
	to <- d.used
	to <- d.bytes
	to <- d.blobs
}

func (d *tierUsage) Collect(to chan<- prometheus.Metric) {
	u := d.disk()
	used, limit := d.memory()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(d.limit, float64(limit), string(cache.TierMemory))
	gauge(d.limit, float64(u.Limit), string(cache.TierDisk))
	gauge(d.used, float64(used), string(cache.TierMemory))
	gauge(d.used, float64(u.All()), string(cache.TierDisk))
	gauge(d.bytes, float64(u.Used), "blobs")
	gauge(d.bytes, float64(u.Reserved), "partial")
	gauge(d.bytes, float64(u.Records), "records")
	gauge(d.blobs, float64(u.Blobs))
}
