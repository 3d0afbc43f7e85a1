// Package metrics holds every Prometheus name: each file turns the events of one package into counters. What is counted
// reaches it by interfaces that the counted packages declare, so none of them knows Prometheus.
//
// Label values are bounded: registries are those of the configuration, and everything else is a word of a closed list.
package metrics

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const namespace = "entrepot"

// other is the registry label of everything that the configuration does not name.
const other = "other"

// RegisterBuild exports the version as labels of a constant 1, the Prometheus custom for build information.
func RegisterBuild(r prometheus.Registerer, version, commit, goVersion string) {
	gauges(r, "", "build_info", "1, with the version of this binary.", "version", "commit", "goversion").
		WithLabelValues(version, commit, goVersion).Set(1)
}

func counter(r prometheus.Registerer, subsystem, name, help string) prometheus.Counter {
	return promauto.With(r).NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
}

func counters(r prometheus.Registerer, subsystem, name, help string, labels ...string) *prometheus.CounterVec {
	return promauto.With(r).NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
}

func gauges(r prometheus.Registerer, subsystem, name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.With(r).NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
}

// histograms are of seconds, with classic buckets and native ones, which a Prometheus that knows them takes.
func histograms(r prometheus.Registerer, subsystem, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return promauto.With(r).NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

// registries is the closed list of registry labels.
type registries map[string]string

func newRegistries(names []string) registries {
	known := registries{}
	for _, name := range names {
		known[name] = name
	}
	return known
}

// label gives the list's own copy of a name: the one that was asked about may live in a request's buffer.
func (r registries) label(name string) string {
	if own, ok := r[name]; ok {
		return own
	}
	return other
}

// children resolves a metric's child once per combination of label values. After that, finding it takes no lock and no
// allocation, unlike WithLabelValues. K must be made of bounded values, for nothing is ever forgotten.
type children[K comparable, C any] struct {
	resolve func(K) C
	known   atomic.Pointer[map[K]C] // replaced, never changed
	mu      sync.Mutex              // held while known is replaced
}

func newChildren[K comparable, C any](resolve func(K) C) *children[K, C] {
	c := &children[K, C]{resolve: resolve}
	c.known.Store(&map[K]C{})
	return c
}

func (c *children[K, C]) get(key K) C {
	if child, ok := (*c.known.Load())[key]; ok {
		return child
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	child := c.resolve(key)
	next := maps.Clone(*c.known.Load())
	next[key] = child
	c.known.Store(&next)
	return child
}

// word bounds a label that another package chose from a closed list.
func word(s string, known ...string) string {
	if slices.Contains(known, s) {
		return s
	}
	return other
}
