package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/metrics"
)

// counts is who is told what happens to what is stored, and between this process and upstreams.
type counts struct {
	upstream *metrics.Upstream
	cache    *metrics.Cache
	hosted   *metrics.Hosted
	scrub    *metrics.Scrub
}

// newCounts registers the metrics. upstreams are the registry labels that may occur.
func newCounts(r prometheus.Registerer, upstreams []string) *counts {
	return &counts{
		upstream: metrics.NewUpstream(r, upstreams), cache: metrics.NewCache(r, upstreams),
		hosted: metrics.NewHosted(r), scrub: metrics.NewScrub(r),
	}
}

// unseenCounts is for commands: nobody asks them.
func unseenCounts() *counts { return newCounts(prometheus.NewRegistry(), nil) }
