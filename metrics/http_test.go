package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
)

func TestAnswers(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	h := NewHTTP(r, []string{"docker.io"})
	blob := proxy.Answer{Kind: proxy.KindBlob, Registry: "docker.io", Status: 200, Tier: cache.TierDisk, Bytes: 1000, Duration: time.Millisecond}
	h.Answered(blob)
	h.Answered(blob)
	blob.Tier, blob.Cut, blob.Bytes = cache.TierUpstream, true, 7
	h.Answered(blob)
	h.Answered(proxy.Answer{Kind: proxy.KindUpload, Hosted: true, Status: 201, Received: 5000})
	h.Answered(proxy.Answer{Kind: proxy.KindUpload, Hosted: true, Status: 416, Received: 11})
	h.Answered(proxy.Answer{Kind: proxy.KindPing, Status: 200, Bytes: 2})
	h.Answered(proxy.Answer{Kind: proxy.KindManifest, Registry: "made.up.example", Status: 404, Bytes: 30})
	expect(t, r, `
		# HELP entrepot_http_requests_total Requests answered, by route, upstream (or hosted, or none), status and the tier that the content came from.
		# TYPE entrepot_http_requests_total counter
		entrepot_http_requests_total{registry="docker.io",route="blob",status="200",tier="disk"} 2
		entrepot_http_requests_total{registry="docker.io",route="blob",status="200",tier="upstream"} 1
		entrepot_http_requests_total{registry="none",route="ping",status="200",tier="none"} 1
		entrepot_http_requests_total{registry="hosted",route="upload",status="201",tier="none"} 1
		entrepot_http_requests_total{registry="hosted",route="upload",status="416",tier="none"} 1
		entrepot_http_requests_total{registry="other",route="manifest",status="404",tier="none"} 1
		# HELP entrepot_http_sent_bytes_total Body bytes sent to clients, by the tier that they came from.
		# TYPE entrepot_http_sent_bytes_total counter
		entrepot_http_sent_bytes_total{tier="disk"} 2000
		entrepot_http_sent_bytes_total{tier="none"} 32
		entrepot_http_sent_bytes_total{tier="upstream"} 7
		# HELP entrepot_http_received_bytes_total Body bytes received from clients: what they push.
		# TYPE entrepot_http_received_bytes_total counter
		entrepot_http_received_bytes_total{route="upload"} 5011
		# HELP entrepot_http_cut_total Answers whose body ended early: the client left, or the content failed.
		# TYPE entrepot_http_cut_total counter
		entrepot_http_cut_total{route="blob"} 1
	`)
	if n, err := testutil.GatherAndCount(r, "entrepot_http_request_duration_seconds"); err != nil || n != 4 {
		t.Errorf("%d duration histograms, %v, want 4", n, err)
	}
}

func TestCountingAnAnswerAllocatesNothing(t *testing.T) {
	h := NewHTTP(prometheus.NewRegistry(), []string{"docker.io"})
	a := proxy.Answer{Kind: proxy.KindManifest, Registry: "docker.io", Status: 200, Tier: cache.TierMemory, Bytes: 1500, Duration: time.Microsecond}
	if n := testing.AllocsPerRun(100, func() { h.Answered(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAnswered(b *testing.B) {
	h := NewHTTP(prometheus.NewRegistry(), []string{"docker.io"})
	a := proxy.Answer{Kind: proxy.KindManifest, Registry: "docker.io", Status: 200, Tier: cache.TierMemory, Bytes: 1500, Duration: time.Microsecond}
	b.ReportAllocs()
	for b.Loop() {
		h.Answered(a)
	}
}
