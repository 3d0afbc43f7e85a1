package metrics

import (
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/upstream"
)

func TestFigures(t *testing.T) {
	r := prometheus.NewRegistry()
	upstreams := []string{"gcr.io", "docker.io"}
	h, c, u := NewHTTP(r, upstreams), NewCache(r, upstreams), NewUpstream(r, upstreams)
	since := time.Unix(1e9, 0)
	figures := NewFigures(h, c, u, since)
	expect := func(fact string, want proxy.Figures) {
		t.Helper()
		if got := figures(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", fact, got, want)
		}
	}
	expect("nothing yet", proxy.Figures{Since: since, Registries: []proxy.RegistryFigures{{Host: "docker.io"}, {Host: "gcr.io"}}})
	for _, a := range []proxy.Answer{
		{Kind: proxy.KindBlob, Registry: "docker.io", Status: 200, Tier: cache.TierDisk, Bytes: 100},
		{Kind: proxy.KindBlob, Registry: "docker.io", Status: 206, Tier: cache.TierUpstream, Bytes: 20},
		{Kind: proxy.KindManifest, Registry: "gcr.io", Status: 304, Tier: cache.TierMemory},
		{Kind: proxy.KindManifest, Registry: "gcr.io", Status: 200, Tier: cache.TierS3, Bytes: 3},
		// None of these is a hit or a miss.
		{Kind: proxy.KindManifest, Registry: "gcr.io", Status: 404, Bytes: 4000},
		{Kind: proxy.KindBlob, Registry: "gcr.io", Status: 416, Tier: cache.TierDisk},
		{Kind: proxy.KindTags, Registry: "gcr.io", Status: 200, Tier: cache.TierUpstream, Bytes: 50_000},
		{Kind: proxy.KindBlob, Hosted: true, Status: 200, Tier: cache.TierDisk, Bytes: 1e6},
		{Kind: proxy.KindBlob, Registry: "docker.io", Status: 200, Tier: cache.TierDisk, Bytes: 1e6, Replica: true},
		{Kind: proxy.KindBlob, Registry: "made.up.example", Status: 200, Tier: cache.TierDisk, Bytes: 1e6},
		{Kind: proxy.KindPing, Status: 200, Bytes: 2},
	} {
		h.Answered(a)
	}
	u.Received("docker.io", upstream.KindBlob, 30)
	u.Received("docker.io", upstream.KindToken, 5)
	u.Received("made.up.example", upstream.KindBlob, 1e6)
	c.Stale("docker.io", "timeout")
	c.Stale("gcr.io", "limited")
	expect("after some traffic", proxy.Figures{
		Since: since, Hits: 3, Misses: 1, Stale: 2,
		Registries: []proxy.RegistryFigures{{Host: "docker.io", Sent: 120, Fetched: 35}, {Host: "gcr.io", Sent: 50_003}},
	})
}
