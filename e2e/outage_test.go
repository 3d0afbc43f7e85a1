package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// warm is a site with one image, pulled, whose tag is checked at upstream on every pull.
func warm(t *testing.T, o fakehub.Options) (site, fakehub.Image) {
	s := newSite(t, o, "TAG_TTL", "1ms", "NEGATIVE_TTL", "0s")
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{3 << 20, 2 << 20, 1000}})
	s.hub.Repo("library/app").AddImage(img, "1")
	s.wantPull("library/app", "1", img)
	return s, img
}

// What makes an upstream useless, and how long the first stale answer may take: only silence needs a time-out to be known.
func TestWarmPullsGoOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		fail  func(*fakehub.Hub)
		first time.Duration
	}{
		{"upstream refuses connections", func(h *fakehub.Hub) { h.Down() }, 2 * time.Second},
		{"upstream is silent", func(h *fakehub.Hub) { h.Inject(fakehub.Fault{Do: fakehub.Hang()}) }, 12 * time.Second},
		{"upstream answers 503", func(h *fakehub.Hub) { h.Inject(fakehub.Fault{Do: fakehub.Status(503, "")}) }, 2 * time.Second},
		{"upstream answers 429", func(h *fakehub.Hub) { h.Inject(fakehub.Fault{Do: fakehub.Status(429, "60")}) }, 2 * time.Second},
		{"the pull limit is reached", func(h *fakehub.Hub) {
			h.Set(func(o *fakehub.Options) { o.RateLimit, o.LimitHEAD = 10, true })
			h.SetRemaining(0)
		}, 2 * time.Second},
		{"the token server is down", func(h *fakehub.Hub) { h.Down(fakehub.Token); h.RevokeTokens() }, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, img := warm(t, fakehub.Options{})
			c.fail(s.hub)
			began := time.Now()
			a := s.client.do(t.Context(), http.MethodHead, manifestPath("library/app", "1"), nil)
			t.Logf("the first stale answer: %d after %v, Warning %q", a.status, a.took.Round(time.Millisecond), a.header.Get("Warning"))
			if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Warning"), `299 - "`) {
				t.Errorf("status %d, Warning %q; want 200 and 299", a.status, a.header.Get("Warning"))
			}
			if took := time.Since(began); took > c.first {
				t.Errorf("the first stale answer took %v", took)
			}
			for range 12 { // until a breaker knows
				s.wantPull("library/app", "1", img)
			}
			took := s.wantPull("library/app", "1", img).took
			t.Logf("a warm pull takes %v", took)
			if took > time.Second {
				t.Errorf("a warm pull still takes %v", took)
			}
			if n := s.server.Metrics().Sum("entrepot_cache_stale_total", "registry", "docker.io"); n == 0 {
				t.Error("no stale answer was counted")
			}
		})
	}
}

func TestPullsByDigestNeedNoUpstream(t *testing.T) {
	s, img := warm(t, fakehub.Options{})
	s.hub.Down()
	a := s.client.get(manifestPath("library/app", img.Manifest.Digest.String()), fakehub.Bytes(img.Manifest.Bytes))
	if err := a.right(fakehub.Bytes(img.Manifest.Bytes)); err != nil || a.header.Get("Warning") != "" {
		t.Errorf("by digest: %v, Warning %q; want no warning: a digest does not age", err, a.header.Get("Warning"))
	}
}

func TestUpstreamIsBack(t *testing.T) {
	s, _ := warm(t, fakehub.Options{})
	s.hub.Down()
	for range 12 {
		s.client.get(manifestPath("library/app", "1"), nil)
	}
	moved := fakehub.NewImage(fakehub.Spec{Layers: []int64{2000}, Seed: 9})
	s.hub.Repo("library/app").AddImage(moved, "1")
	if err := s.hub.Up(); err != nil {
		t.Fatal(err)
	}
	s.eventually(60*time.Second, "the tag is checked again", func() bool {
		_, err := s.client.pull(t.Context(), "library/app", "1", moved)
		return err == nil
	})
}

func TestUpstreamsNoIsAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		no   func(*fakehub.Hub)
		want int
	}{
		{"the tag is deleted", func(h *fakehub.Hub) { h.Repo("library/app").Delete("1") }, 404},
		{"the repository became private", func(h *fakehub.Hub) { h.Repo("library/app").Private("ann"); h.RevokeTokens() }, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := warm(t, fakehub.Options{})
			c.no(s.hub)
			a := s.client.get(manifestPath("library/app", "1"), nil)
			s.wantError(a, c.want)
			if a.header.Get("Www-Authenticate") != "" {
				t.Error("upstream's challenge was handed on")
			}
		})
	}
}

func TestColdPullsWhileUpstreamIsDown(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	s.hub.Down()
	b := fakehub.RandomBlob(1, 100)
	for range 3 {
		a := s.client.get(manifestPath("library/app", "1"), nil)
		s.wantError(a, 502, 503, 504)
		if a.status == 503 && a.header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		s.wantError(s.client.get(blobPath("library/app", b.Digest), b.Content), 502, 503, 504)
	}
}

func TestAbsentThings(t *testing.T) {
	s, img := warm(t, fakehub.Options{})
	absent := fakehub.RandomBlob(99, 100).Digest
	for path, code := range map[string]string{
		manifestPath("library/app", "absent"):                       "MANIFEST_UNKNOWN",
		manifestPath("library/absent", "1"):                         "",
		manifestPath("library/app", absent.String()):                "MANIFEST_UNKNOWN",
		blobPath("library/app", absent):                             "BLOB_UNKNOWN",
		blobPath("library/other", img.Layers[0].Digest):             "BLOB_UNKNOWN", // cached, but not there
		manifestPath("library/other", img.Manifest.Digest.String()): "",
	} {
		a := s.client.get(path, nil)
		s.wantError(a, 404)
		if !strings.Contains(string(a.body), code) {
			t.Errorf("%s: %s; want %s", path, a.body, code)
		}
	}
}

func TestOneTimeOutIsEnoughForAllTags(t *testing.T) {
	s, img := warm(t, fakehub.Options{})
	var tags []string
	for _, tag := range strings.Split("abcdefgh", "") {
		s.hub.Repo("library/app").AddImage(img, tag)
		s.wantPull("library/app", tag, img)
		tags = append(tags, tag)
	}
	s.hub.Inject(fakehub.Fault{Do: fakehub.Hang()})
	began := time.Now()
	for _, tag := range tags {
		if got := s.serves("library/app", tag); got != img.Manifest.Digest.String() {
			t.Errorf("tag %s is %q", tag, got)
		}
	}
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("%d stale tags took %v while upstream is silent", len(tags), took)
	} else {
		t.Logf("%d stale tags took %v while upstream is silent", len(tags), took)
	}
}
