package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Tier is one tier of the cache as it is at the time of a scrape.
type Tier struct {
	Name  string
	Limit int64        // bytes
	Used  func() int64 // bytes; called by every scrape, so it must be cheap
}

// RegisterTiers exports how full each tier is.
func RegisterTiers(r prometheus.Registerer, tiers ...Tier) {
	limits := gauges(r, "tier", "limit_bytes", "Size limit of a tier of the cache.", "tier")
	for _, tier := range tiers {
		limits.WithLabelValues(tier.Name).Set(float64(tier.Limit))
		promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "tier", Name: "used_bytes", Help: "Bytes kept in a tier of the cache.",
			ConstLabels: prometheus.Labels{"tier": tier.Name},
		}, func() float64 { return float64(tier.Used()) })
	}
}
