package e2e

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

func TestEveryMistakeOfTheConfigurationIsNamed(t *testing.T) {
	mistakes := map[string]string{
		"LISTEN": "nonsense", "DISK_SIZE": "ten", "MEMORY_SIZE": "-1", "TAG_TTL": "30", "PREFETCH": "perhaps", "UPSTREAMS": "http://",
		"UPSTREAM_0_HOST": "gcr.io", "UPSTREAM_0_AUTH": "magic", "TAG_TTLL": "1m", "LOG_FORMAT": "xml", "DRAIN_TIMEOUT": "soon",
	}
	out, code := server.New(t, server.Options{Env: mistakes}).Run()
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for name := range mistakes {
		if name != "UPSTREAM_0_HOST" && !strings.Contains(out, "ENTREPOT_"+name) {
			t.Errorf("ENTREPOT_%s=%s is not named in:\n%s", name, mistakes[name], out)
		}
	}
}

func TestConfigPrintsNoSecrets(t *testing.T) {
	s := server.New(t, server.Options{
		Upstreams: []server.Upstream{{Host: "docker.io", URL: "http://127.0.0.1:1", Username: "robot", Password: "pl4nted"}},
	})
	out, code := s.Run("config")
	if code != 0 || !strings.Contains(out, "ENTREPOT_LISTEN="+s.Addr) || !strings.Contains(out, "robot") {
		t.Errorf("ends with %d: %s", code, out)
	}
	if strings.Contains(out, "pl4nted") {
		t.Errorf("the password is in it: %s", out)
	}
}

func TestDefaultsServe(t *testing.T) {
	out, code := server.New(t, server.Options{}).Run("version")
	if code != 0 || strings.TrimSpace(out) == "" {
		t.Errorf("version ends with %d: %q", code, out)
	}
}

// Dashboards and alerts rely on these names.
func TestMetricNames(t *testing.T) {
	s := newSite(t, fakehub.Options{RateLimit: 100})
	img, _ := images()
	s.hub.Repo("library/app").AddImage(img, "1")
	for range 2 {
		s.wantPull("library/app", "1", img)
	}
	m := s.server.Metrics()
	for _, name := range []string{
		"entrepot_build_info", "entrepot_fill_started_total", "entrepot_fill_ended_total", "entrepot_disk_used_bytes", "entrepot_tier_limit_bytes",
		"entrepot_upstream_requests_total", "entrepot_upstream_received_bytes_total", "entrepot_upstream_request_duration_seconds",
		"entrepot_upstream_ratelimit_limit", "entrepot_upstream_ratelimit_remaining", "entrepot_upstream_breaker_state",
		"entrepot_http_requests_total", "go_goroutines", "process_resident_memory_bytes",
	} {
		if m[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	received := m.Sum("entrepot_upstream_received_bytes_total", "kind", "blob")
	if received != float64(img.Size()) {
		t.Errorf("%v bytes of blobs were received by the metrics, %d by upstream", received, img.Size())
	}
}

func TestMemoryAndFilesUnderManyReaders(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	b := fakehub.RandomBlob(1, full[int64](1<<30, 64<<20))
	s.hub.Repo("library/app").AddBlob(b)
	s.wantBlob("library/app", b)
	before := s.server.Files()
	done := make(chan error)
	for range 64 {
		go func() { done <- s.client.get(blobPath("library/app", b.Digest), b.Content).right(b.Content) }()
	}
	for range 64 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s.client.http.CloseIdleConnections()
	s.eventually(20e9, "descriptors are given back", func() bool { return s.server.Files() <= before+4 })
	t.Logf("peak memory %d MiB", s.server.PeakRSS()>>20)
}
