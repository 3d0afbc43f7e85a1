package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// images are two states of one tag.
func images() (before, after fakehub.Image) {
	return fakehub.NewImage(fakehub.Spec{Layers: []int64{300_000}, Seed: 1}), fakehub.NewImage(fakehub.Spec{Layers: []int64{300_000}, Seed: 2})
}

// serves gives the digest that the tag has for clients.
func (s site) serves(repo, tag string) string {
	return s.client.do(s.Context(), "HEAD", manifestPath(repo, tag), nil).header.Get("Docker-Content-Digest")
}

func TestTagMovesAfterItsTTL(t *testing.T) {
	s := newSite(t, fakehub.Options{}, "TAG_TTL", "1h", "TAG_TTLS", "live*=1ms")
	before, after := images()
	repo := s.hub.Repo("library/app")
	for _, tag := range []string{"1", "live-1"} {
		repo.AddImage(before, tag)
		s.wantPull("library/app", tag, before)
		repo.AddImage(after, tag)
	}
	if got := s.serves("library/app", "1"); got != before.Manifest.Digest.String() {
		t.Errorf("within its TTL the tag is %s, want the one before", got)
	}
	if got := s.serves("library/app", "live-1"); got != after.Manifest.Digest.String() {
		t.Errorf("after its TTL the tag is %s, want the one after", got)
	}
	s.wantPull("library/app", "live-1", after)
}

func TestRevalidationCostsOneHeadAndNoPull(t *testing.T) {
	const ttl = 2 * time.Second
	s := newSite(t, fakehub.Options{Latency: 100 * time.Millisecond}, "TAG_TTL", ttl.String())
	img, _ := images()
	s.hub.Repo("library/app").AddImage(img, "1")
	s.wantPull("library/app", "1", img)
	time.Sleep(ttl + 100*time.Millisecond)
	s.hub.ResetCounters()
	done := make(chan answer)
	for range 50 {
		go func() { done <- s.client.get(manifestPath("library/app", "1"), fakehub.Bytes(img.Manifest.Bytes)) }() // as podman: by GET
	}
	for range 50 {
		if a := <-done; a.right(fakehub.Bytes(img.Manifest.Bytes)) != nil {
			t.Errorf("%v", a.right(fakehub.Bytes(img.Manifest.Bytes)))
		}
	}
	if heads, gets := s.hub.Count(fakehub.KindManifestHead), s.hub.Count(fakehub.KindManifestGet); heads != 1 || gets != 0 {
		t.Errorf("50 clients cost %d HEADs and %d GETs, want 1 and 0", heads, gets)
	}
}

func TestManyClientsShareOneToken(t *testing.T) {
	s := newSite(t, fakehub.Options{Latency: 100 * time.Millisecond})
	img, _ := images()
	s.hub.Repo("library/app").AddImage(img, "1")
	s.pullMany(20, img)
	if n := s.hub.Count(fakehub.KindToken); n != 1 {
		t.Errorf("%d tokens were fetched, want 1", n)
	}
	if n := s.hub.Count(fakehub.KindManifestGet); n != 1 {
		t.Errorf("%d pulls were spent, want 1", n)
	}
}

func TestRateLimitIsExportedAndSpared(t *testing.T) {
	s := newSite(t, fakehub.Options{RateLimit: 100}, "RATE_FLOOR", "50")
	s.hub.SetRemaining(20)
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{200_000, 2 << 20}})
	s.hub.Repo("library/app").AddImage(img, "1")
	s.client.get(manifestPath("library/app", "1"), nil)
	m := s.server.Metrics()
	limit, left := m.Sum("entrepot_upstream_ratelimit_limit", "registry", "docker.io"), m.Sum("entrepot_upstream_ratelimit_remaining", "registry", "docker.io")
	if limit != 100 || left != 19 {
		t.Errorf("exported %v of %v, want 19 of 100", left, limit)
	}
	s.wantBlob("library/app", img.Layers[0])
	s.eventually(10*time.Second, "the prefetch is dropped", func() bool {
		return s.server.Metrics().Sum("entrepot_cache_prefetches_total", "result", "dropped") > 0
	})
	if n := s.hub.Served(img.Layers[1].Digest).Bytes; n != 0 {
		t.Errorf("%d bytes of a layer that nobody asked for were fetched below the floor", n)
	}
}

func TestPurgeAndList(t *testing.T) {
	s := newSite(t, fakehub.Options{}, "TAG_TTL", "1h")
	before, after := images()
	repo := s.hub.Repo("library/app")
	repo.AddImage(before, "1")
	s.wantPull("library/app", "1", before)
	list := func() string {
		t.Helper()
		out, code := s.server.Run("ls")
		if code != 0 {
			t.Fatalf("entrepot ls ends with %d: %s", code, out)
		}
		return out
	}
	s.eventually(10*time.Second, "ls lists the repository", func() bool { return strings.Contains(list(), "docker.io/library/app") })
	repo.AddImage(after, "1")
	if out, code := s.server.Run("purge", "docker.io/library/app:1"); code != 0 {
		t.Fatalf("purge ends with %d: %s", code, out)
	}
	if got := s.serves("library/app", "1"); got != after.Manifest.Digest.String() {
		t.Errorf("after the purge of its tag it is %s, want the one after", got)
	}
	s.wantPull("library/app", "1", after)

	pinned := fakehub.NewImage(fakehub.Spec{Layers: []int64{300_000}, Seed: 3})
	repo.AddImage(pinned)
	s.wantPull("library/app", pinned.Manifest.Digest.String(), pinned)
	s.hub.ResetCounters()
	if out, code := s.server.Run("purge", "docker.io/library/app@"+pinned.Manifest.Digest.String()); code != 0 {
		t.Fatalf("purge of a digest ends with %d: %s", code, out)
	}
	s.wantPull("library/app", pinned.Manifest.Digest.String(), pinned)
	s.wantOnce(pinned.Blobs()...)

	if out, code := s.server.Run("purge", "docker.io/library/app"); code != 0 {
		t.Fatalf("purge of a repository ends with %d: %s", code, out)
	}
	if out := list(); strings.Contains(out, "library/app") {
		t.Errorf("ls lists what was purged: %s", out)
	}
	if out, code := s.server.Run("purge", "docker.io/library/absent:1"); code == 0 {
		t.Errorf("purge of what is not cached ends with 0: %s", out)
	}
}
