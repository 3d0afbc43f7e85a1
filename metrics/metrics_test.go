package metrics

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/upstream"
)

// expect compares the named metrics of a registry with their text form.
func expect(t *testing.T, r prometheus.Gatherer, want string) {
	t.Helper()
	var names []string
	var text strings.Builder
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		text.WriteString(line + "\n")
		if name, found := strings.CutPrefix(line, "# TYPE "); found {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if len(names) == 0 {
		t.Fatal("nothing is compared")
	}
	if err := testutil.GatherAndCompare(r, strings.NewReader(text.String()), names...); err != nil {
		t.Error(err)
	}
}

func TestCacheEvents(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	c := NewCache(r, []string{"docker.io"})
	c.FillStarted()
	c.FillStarted()
	c.FillJoined()
	c.FillResumed()
	c.FillEnded(cache.FillComplete, "")
	c.FillEnded(cache.FillFailed, cache.CauseTimeout)
	c.Streamed("full")
	c.Streamed("a reason nobody knows")
	c.Evicted(100)
	c.Evicted(11)
	c.Unverified()
	c.Stale("docker.io", string(cache.CauseLimited))
	c.Stale("evil.example", string(cache.CauseLimited))
	c.Prefetched(true)
	c.Prefetched(false)
	c.BucketStored(true)
	c.BucketStored(false)
	c.BucketStored(false)
	c.BucketFailed()
	c.Borrowed(true)
	c.Borrowed(true)
	c.Borrowed(false)
	expect(t, r, `
		# HELP entrepot_fill_running Fills under way.
		# TYPE entrepot_fill_running gauge
		entrepot_fill_running 0
		# HELP entrepot_fill_started_total Fills that were begun.
		# TYPE entrepot_fill_started_total counter
		entrepot_fill_started_total 2
		# HELP entrepot_fill_joined_total Readers that followed a fill which another one had begun.
		# TYPE entrepot_fill_joined_total counter
		entrepot_fill_joined_total 1
		# HELP entrepot_fill_resumed_total Broken upstream connections after which a fill went on at its offset.
		# TYPE entrepot_fill_resumed_total counter
		entrepot_fill_resumed_total 1
		# HELP entrepot_fill_ended_total Fills that ended, by outcome: complete, corrupt, failed, paused.
		# TYPE entrepot_fill_ended_total counter
		entrepot_fill_ended_total{outcome="complete"} 1
		entrepot_fill_ended_total{outcome="corrupt"} 0
		entrepot_fill_ended_total{outcome="failed"} 1
		entrepot_fill_ended_total{outcome="paused"} 0
		# HELP entrepot_fill_failures_total Fills that failed or brought wrong bytes, by cause: those of outages (limited is a 429, failed a 5xx or no connection, breaker a known outage), not-found and denied (upstream's answers), corrupt, disk, no-room, other.
		# TYPE entrepot_fill_failures_total counter
		entrepot_fill_failures_total{cause="breaker"} 0
		entrepot_fill_failures_total{cause="corrupt"} 0
		entrepot_fill_failures_total{cause="credential"} 0
		entrepot_fill_failures_total{cause="denied"} 0
		entrepot_fill_failures_total{cause="disk"} 0
		entrepot_fill_failures_total{cause="failed"} 0
		entrepot_fill_failures_total{cause="limited"} 0
		entrepot_fill_failures_total{cause="no-room"} 0
		entrepot_fill_failures_total{cause="not-found"} 0
		entrepot_fill_failures_total{cause="other"} 0
		entrepot_fill_failures_total{cause="timeout"} 1
		# HELP entrepot_cache_streamed_total Blobs that went past the cache, by reason: full, disk (it failed), busy, foreign (hosted, while an upstream's is fetched, or the other way round), none (there is no disk tier).
		# TYPE entrepot_cache_streamed_total counter
		entrepot_cache_streamed_total{reason="busy"} 0
		entrepot_cache_streamed_total{reason="disk"} 0
		entrepot_cache_streamed_total{reason="foreign"} 0
		entrepot_cache_streamed_total{reason="full"} 1
		entrepot_cache_streamed_total{reason="none"} 0
		entrepot_cache_streamed_total{reason="other"} 1
		# HELP entrepot_cache_evictions_total Objects that were evicted from the disk tier.
		# TYPE entrepot_cache_evictions_total counter
		entrepot_cache_evictions_total 2
		# HELP entrepot_cache_evicted_bytes_total Bytes that were evicted from the disk tier.
		# TYPE entrepot_cache_evicted_bytes_total counter
		entrepot_cache_evicted_bytes_total 111
		# HELP entrepot_cache_unverified_total Partial answers (206) sent before their blob was verified.
		# TYPE entrepot_cache_unverified_total counter
		entrepot_cache_unverified_total 1
		# HELP entrepot_cache_stale_total Stale answers, by the cause of upstream's silence.
		# TYPE entrepot_cache_stale_total counter
		entrepot_cache_stale_total{cause="breaker",registry="docker.io"} 0
		entrepot_cache_stale_total{cause="credential",registry="docker.io"} 0
		entrepot_cache_stale_total{cause="failed",registry="docker.io"} 0
		entrepot_cache_stale_total{cause="timeout",registry="docker.io"} 0
		entrepot_cache_stale_total{cause="limited",registry="docker.io"} 1
		entrepot_cache_stale_total{cause="limited",registry="other"} 1
		# HELP entrepot_cache_prefetches_total Layers that were to be fetched ahead, by result: queued, dropped.
		# TYPE entrepot_cache_prefetches_total counter
		entrepot_cache_prefetches_total{result="queued"} 1
		entrepot_cache_prefetches_total{result="dropped"} 1
		# HELP entrepot_cache_s3_stores_total Blobs that were to go to S3, by result: stored, lost (another server will fetch them from upstream).
		# TYPE entrepot_cache_s3_stores_total counter
		entrepot_cache_s3_stores_total{result="lost"} 2
		entrepot_cache_s3_stores_total{result="stored"} 1
		# HELP entrepot_cache_s3_failures_total Times that S3 failed or kept silent and was left alone for some seconds. The pulls go on.
		# TYPE entrepot_cache_s3_failures_total counter
		entrepot_cache_s3_failures_total 1
		# HELP entrepot_cache_replica_reads_total Blobs and manifests read from the server that was fetching them, by result: begun, failed (upstream was asked then).
		# TYPE entrepot_cache_replica_reads_total counter
		entrepot_cache_replica_reads_total{result="begun"} 2
		entrepot_cache_replica_reads_total{result="failed"} 1
	`)
}

func TestUpstreamEvents(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	u := NewUpstream(r, []string{"docker.io", "gcr.io"})
	expect(t, r, startOfUpstream())
	u.Requested("docker.io", upstream.KindBlob, "200", 30*time.Millisecond)
	u.Requested("docker.io", upstream.KindBlob, "timeout", time.Second)
	u.Received("docker.io", upstream.KindBlob, 1000)
	u.Retried("docker.io", upstream.KindManifest)
	u.BreakerChanged("docker.io", "open")
	u.RateLimit("docker.io", upstream.AccountAnonymous, 100, 76)
	u.RateLimit("docker.io", upstream.AccountCredential, 200, 199)
	u.CredentialRefused("gcr.io", true)
	expect(t, r, `
		# HELP entrepot_upstream_breaker_state 0 closed, 1 half-open, 2 open: upstream is known to be down and not asked.
		# TYPE entrepot_upstream_breaker_state gauge
		entrepot_upstream_breaker_state{registry="docker.io"} 2
		entrepot_upstream_breaker_state{registry="gcr.io"} 0
		# HELP entrepot_upstream_ratelimit_limit Pulls that upstream allows an account, as it said last. account: anonymous (by our address), credential.
		# TYPE entrepot_upstream_ratelimit_limit gauge
		entrepot_upstream_ratelimit_limit{account="anonymous",registry="docker.io"} 100
		entrepot_upstream_ratelimit_limit{account="credential",registry="docker.io"} 200
		# HELP entrepot_upstream_ratelimit_remaining Pulls that an account has left, as upstream said last.
		# TYPE entrepot_upstream_ratelimit_remaining gauge
		entrepot_upstream_ratelimit_remaining{account="anonymous",registry="docker.io"} 76
		entrepot_upstream_ratelimit_remaining{account="credential",registry="docker.io"} 199
		# HELP entrepot_upstream_credential_refused 1 while upstream refuses our credential for everything.
		# TYPE entrepot_upstream_credential_refused gauge
		entrepot_upstream_credential_refused{registry="docker.io"} 0
		entrepot_upstream_credential_refused{registry="gcr.io"} 1
	`)
	for name, c := range map[string]prometheus.Counter{
		"answered":  u.requests.get(outcomeKey{kindKey{"docker.io", upstream.KindBlob}, "200"}),
		"timed out": u.requests.get(outcomeKey{kindKey{"docker.io", upstream.KindBlob}, "timeout"}),
		"again":     u.retries.get(kindKey{"docker.io", upstream.KindManifest}),
	} {
		if got := testutil.ToFloat64(c); got != 1 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := testutil.ToFloat64(u.bytes.get(kindKey{"docker.io", upstream.KindBlob})); got != 1000 {
		t.Errorf("%v bytes", got)
	}
	if n, err := testutil.GatherAndCount(r, "entrepot_upstream_request_duration_seconds"); err != nil || n != 1 {
		t.Errorf("%d duration histograms, want 1", n)
	}
}

// startOfUpstream is what there is before anything was asked: failures of what a pull needs, and what it brings.
func startOfUpstream() string {
	var text strings.Builder
	series := func(name, kind, labels string) {
		for _, registry := range []string{"docker.io", "gcr.io"} {
			fmt.Fprintf(&text, "entrepot_upstream_%s{kind=%q,%sregistry=%q} 0\n", name, kind, labels, registry)
		}
	}
	text.WriteString("# HELP entrepot_upstream_requests_total Requests to upstreams, by what was asked and status, or timeout, failed, canceled.\n# TYPE entrepot_upstream_requests_total counter\n")
	for _, kind := range []string{"blob", "manifest", "token"} {
		for _, outcome := range []string{"429", "failed", "timeout"} {
			series("requests_total", kind, fmt.Sprintf("outcome=%q,", outcome))
		}
	}
	for name, help := range map[string]string{"received_bytes_total": "Body bytes received from upstreams, counted as each body ends.", "retries_total": "Requests that were sent again."} {
		fmt.Fprintf(&text, "# HELP entrepot_upstream_%s %s\n# TYPE entrepot_upstream_%s counter\n", name, help, name)
		for _, kind := range []string{"blob", "manifest"} {
			series(name, kind, "")
		}
	}
	return text.String()
}

func TestTiersAreReadAtTheScrape(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	usage := cache.Usage{Limit: 100}
	RegisterTiers(r, func() (used, limit int64) { return 4, 10 }, func() cache.Usage { return usage })
	RegisterBuild(r, "v1", "abc", "go1")
	usage = cache.Usage{Blobs: 3, Used: 42, Reserved: 7, Records: 1, Limit: 100}
	expect(t, r, `
		# HELP entrepot_tier_limit_bytes Size limit of a tier of the cache.
		# TYPE entrepot_tier_limit_bytes gauge
		entrepot_tier_limit_bytes{tier="disk"} 100
		entrepot_tier_limit_bytes{tier="memory"} 10
		# HELP entrepot_tier_used_bytes Bytes that a tier of the cache holds, with what their entries cost in memory, and with partial blobs and records on the disk.
		# TYPE entrepot_tier_used_bytes gauge
		entrepot_tier_used_bytes{tier="disk"} 50
		entrepot_tier_used_bytes{tier="memory"} 4
		# HELP entrepot_disk_used_bytes Bytes in the disk tier: complete blobs, partial ones, records (manifests, tags and the like).
		# TYPE entrepot_disk_used_bytes gauge
		entrepot_disk_used_bytes{kind="blobs"} 42
		entrepot_disk_used_bytes{kind="partial"} 7
		entrepot_disk_used_bytes{kind="records"} 1
		# HELP entrepot_disk_blobs Complete blobs in the disk tier.
		# TYPE entrepot_disk_blobs gauge
		entrepot_disk_blobs 3
		# HELP entrepot_build_info 1, with the version of this binary.
		# TYPE entrepot_build_info gauge
		entrepot_build_info{commit="abc",goversion="go1",version="v1"} 1
	`)
}

func TestEventsOfARunningSystemAllocateNothing(t *testing.T) {
	r := prometheus.NewRegistry()
	c, u := NewCache(r, []string{"docker.io"}), NewUpstream(r, []string{"docker.io"})
	allocations := testing.AllocsPerRun(100, func() {
		c.FillStarted()
		c.FillEnded(cache.FillFailed, cache.CauseDisk)
		c.Stale("docker.io", "timeout")
		c.Streamed("busy")
		u.Requested("docker.io", upstream.KindBlob, "206", time.Second)
		u.Received("docker.io", upstream.KindBlob, 1)
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestOneChildPerKeyHoweverManyAsk(t *testing.T) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x"}, []string{"l"})
	c := newChildren(func(l string) prometheus.Counter { return vec.WithLabelValues(l) })
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for _, label := range []string{"a", "b", "c", "d"}[i%4:] {
				c.get(label).Inc()
			}
		})
	}
	all.Wait()
	if got := testutil.ToFloat64(c.get("d")); got != 8 {
		t.Errorf("d was counted %v times, want 8", got)
	}
	if n := testutil.CollectAndCount(vec); n != 4 {
		t.Errorf("%d children, want 4", n)
	}
}
