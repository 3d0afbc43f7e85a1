package metrics

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/access"
)

func TestAnswers(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	h := NewHTTP(r, []string{"docker.io"})
	blob := proxy.Answer{Kind: proxy.KindBlob, Registry: "docker.io", Status: 200, Tier: cache.TierDisk, Bytes: 1000, FirstByte: time.Millisecond, Duration: time.Second}
	h.Answered(blob)
	h.Answered(blob)
	blob.Tier, blob.Cut, blob.Bytes = cache.TierUpstream, true, 7
	h.Answered(blob)
	blob.FirstByte, blob.Bytes = -1, 0 // none came
	h.Answered(blob)
	blob.Replica, blob.Bytes = true, 3000
	h.Answered(blob)
	h.Answered(proxy.Answer{Kind: proxy.KindUpload, Hosted: true, Status: 201, Received: 5000, Allowed: true, Action: access.Push})
	h.Answered(proxy.Answer{Kind: proxy.KindUpload, Hosted: true, Status: 416, Received: 11})
	h.Answered(proxy.Answer{Kind: proxy.KindPing, Status: 200, Bytes: 2})
	h.Answered(proxy.Answer{Kind: proxy.KindManifest, Registry: "made.up.example", Status: 404, Bytes: 30})
	expect(t, r, `
		# HELP entrepot_http_requests_total Requests of clients answered, by route, upstream (or hosted, or none), status and the tier that the content came from.
		# TYPE entrepot_http_requests_total counter
		entrepot_http_requests_total{registry="docker.io",route="blob",status="200",tier="disk"} 2
		entrepot_http_requests_total{registry="docker.io",route="blob",status="200",tier="upstream"} 2
		entrepot_http_requests_total{registry="none",route="ping",status="200",tier="none"} 1
		entrepot_http_requests_total{registry="hosted",route="upload",status="201",tier="none"} 1
		entrepot_http_requests_total{registry="hosted",route="upload",status="416",tier="none"} 1
		entrepot_http_requests_total{registry="other",route="manifest",status="404",tier="none"} 1
		# HELP entrepot_http_sent_bytes_total Body bytes sent to clients, by upstream (or hosted, or none) and the tier that they came from, counted as each answer ends.
		# TYPE entrepot_http_sent_bytes_total counter
		entrepot_http_sent_bytes_total{registry="docker.io",tier="disk"} 2000
		entrepot_http_sent_bytes_total{registry="docker.io",tier="memory"} 0
		entrepot_http_sent_bytes_total{registry="docker.io",tier="upstream"} 7
		entrepot_http_sent_bytes_total{registry="hosted",tier="none"} 0
		entrepot_http_sent_bytes_total{registry="none",tier="none"} 2
		entrepot_http_sent_bytes_total{registry="other",tier="none"} 30
		# HELP entrepot_http_received_bytes_total Body bytes received from clients: what they push.
		# TYPE entrepot_http_received_bytes_total counter
		entrepot_http_received_bytes_total{route="upload"} 5011
		# HELP entrepot_http_cut_total Answers whose body ended early: the client left, or the content failed.
		# TYPE entrepot_http_cut_total counter
		entrepot_http_cut_total{route="blob"} 2
		entrepot_http_cut_total{route="manifest"} 0
		# HELP entrepot_access_allowed_total Requests for a repository by users and robots that the policy let, by action: pull, push, delete.
		# TYPE entrepot_access_allowed_total counter
		entrepot_access_allowed_total{action="delete"} 0
		entrepot_access_allowed_total{action="pull"} 0
		entrepot_access_allowed_total{action="push"} 1
		# HELP entrepot_replica_served_requests_total Requests of other servers of the bucket answered, by status. They are not among those of clients.
		# TYPE entrepot_replica_served_requests_total counter
		entrepot_replica_served_requests_total{status="200"} 1
		# HELP entrepot_replica_served_bytes_total Body bytes sent to other servers of the bucket, by upstream.
		# TYPE entrepot_replica_served_bytes_total counter
		entrepot_replica_served_bytes_total{registry="docker.io"} 3000
	`)
	if n, err := testutil.GatherAndCount(r, "entrepot_http_request_duration_seconds"); err != nil || n != 4 {
		t.Errorf("%d duration histograms, %v, want 4", n, err)
	}
	for key, want := range map[string]uint64{"blob disk": 2, "blob upstream": 1, "upload none": 2, "ping none": 1, "manifest none": 1} {
		route, tier, _ := strings.Cut(key, " ")
		if got := histogram(t, r, "entrepot_http_first_byte_seconds", route, tier); got.GetSampleCount() != want || got.GetSchema() != 3 || len(got.GetBucket()) < 10 {
			t.Errorf("%s: %v, want %d samples in classic and native buckets", key, got, want)
		}
	}
}

func TestCountingAnAnswerAllocatesNothing(t *testing.T) {
	h := NewHTTP(prometheus.NewRegistry(), []string{"docker.io"})
	a := proxy.Answer{Kind: proxy.KindManifest, Registry: "docker.io", Status: 200, Tier: cache.TierMemory, Bytes: 1500, Duration: time.Microsecond, Allowed: true}
	if n := testing.AllocsPerRun(100, func() { h.Answered(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// histogram gives the child that has these label values, in the order of the labels' names.
func histogram(t *testing.T, g prometheus.Gatherer, name string, values ...string) *dto.Histogram {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if family.GetName() == name && slices.Equal(got, values) {
				return m.GetHistogram()
			}
		}
	}
	return nil
}

func BenchmarkAnswered(b *testing.B) {
	h := NewHTTP(prometheus.NewRegistry(), []string{"docker.io"})
	a := proxy.Answer{Kind: proxy.KindManifest, Registry: "docker.io", Status: 200, Tier: cache.TierMemory, Bytes: 1500, Duration: time.Microsecond}
	b.ReportAllocs()
	for b.Loop() {
		h.Answered(a)
	}
}
