package replicas

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

func TestAWarmPullAsksS3Nothing(t *testing.T) {
	t.Parallel()
	for tier, env := range map[string]map[string]string{"memory": {}, "disk": {"MEMORY_SIZE": "0"}} {
		t.Run(tier, func(t *testing.T) {
			t.Parallel()
			maps.Copy(env, leases)
			s := newSet(t, 1, env)
			r := s.newRelease("library/app", 500, 4_000, 300_000)
			c := newClient(t, s.replicas[0].Addr)
			c.wantPull(t, r)
			c.wantPull(t, r)
			s.gateway.wantStored(t, r)
			s.gateway.wantQuiet(t)
			before, served := s.gateway.asked.count(), tiers(s.replicas[0], tier)
			for range 100 {
				c.wantPull(t, r)
			}
			if asked := s.gateway.asked.since(before); len(asked) > 0 {
				t.Errorf("100 warm pulls asked S3 %d times:\n%s", len(asked), strings.Join(asked[:min(len(asked), 20)], "\n"))
			}
			if got := tiers(s.replicas[0], tier) - served; got < 300 {
				t.Errorf("%v of 600 answers came from the %s tier", got, tier)
			}
		})
	}
}

func TestATagIsWrittenToTheBucketWhenItMoves(t *testing.T) {
	t.Parallel()
	s := newSet(t, 2, map[string]string{"TAG_TTL": "1ms"})
	old := s.newRelease("library/app", 510, 4_000)
	c := newClient(t, s.replicas[0].Addr)
	c.wantPull(t, old)
	s.gateway.wantStored(t, old)
	s.gateway.wantQuiet(t)

	s.hub.ResetCounters()
	before := s.gateway.asked.count()
	c.get(old.manifestPath(old.tag)).want(t, "pull a tag past its time", http.StatusOK)
	if heads, gets := s.hub.Count(fakehub.KindManifestHead), s.hub.Count(fakehub.KindManifestGet); heads != 1 || gets != 0 {
		t.Errorf("a tag that did not move: %d HEADs and %d GETs upstream", heads, gets)
	}
	s.gateway.wantQuiet(t)
	if puts := s.gateway.asked.since(before, "PUT "); len(puts) > 0 {
		t.Errorf("a tag that did not move was written: %s", puts)
	}

	moved := s.newRelease("library/app", 511, 5_000)
	before = s.gateway.asked.count()
	for range 3 {
		c.wantPull(t, moved)
	}
	s.gateway.wantStored(t, moved)
	s.gateway.wantQuiet(t)
	if puts := s.gateway.asked.since(before, "PUT ", "/cache/tags/"); len(puts) != 1 {
		t.Errorf("a tag that moved was written %d times: %s", len(puts), puts)
	}
	newClient(t, s.replicas[1].Addr).wantPull(t, moved)
	s.hub.Down()
	newClient(t, s.newReplica(nil).Addr).wantPull(t, moved)
}
