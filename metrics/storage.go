package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/cache"
)

// RegisterTiers exports the size limits of both tiers, and what the disk tier holds at the time of a scrape.
func RegisterTiers(r prometheus.Registerer, memoryLimit int64, disk func() cache.Usage) {
	limits := gauges(r, "tier", "limit_bytes", "Size limit of a tier of the cache.", "tier")
	limits.WithLabelValues(string(cache.TierMemory)).Set(float64(memoryLimit))
	limits.WithLabelValues(string(cache.TierDisk)).Set(float64(disk().Limit))
	r.MustRegister(&diskUsage{
		usage: disk,
		bytes: prometheus.NewDesc(namespace+"_disk_used_bytes", "Bytes in the disk tier: complete blobs, partial ones, records (manifests, tags and the like).", []string{"kind"}, nil),
		blobs: prometheus.NewDesc(namespace+"_disk_blobs", "Complete blobs in the disk tier.", nil, nil),
	})
}

// diskUsage asks once for each scrape, so that its numbers belong together.
type diskUsage struct {
	usage        func() cache.Usage
	bytes, blobs *prometheus.Desc
}

func (d *diskUsage) Describe(to chan<- *prometheus.Desc) {
	to <- d.bytes
	to <- d.blobs
}

func (d *diskUsage) Collect(to chan<- prometheus.Metric) {
	u := d.usage()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(d.bytes, float64(u.Used), "blobs")
	gauge(d.bytes, float64(u.Reserved), "partial")
	gauge(d.bytes, float64(u.Records), "records")
	gauge(d.blobs, float64(u.Blobs))
}
