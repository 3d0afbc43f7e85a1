package proxy

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// shared is a buffer that the server's goroutines write to.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestAccessLogHoldsNoSecrets(t *testing.T) {
	var out shared
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := start(t, filled(), func(o *Options) { o.AccessLog, o.Log = AccessLogOn, log })
	s.do(t, "GET", "/v2/library/nginx/blobs/"+sha512+"?ns=docker.io&token=planted", "Authorization", "Bearer planted", "Cookie", "planted")
	s.ask(t, "GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer planted\r\nbroken line\r\n\r\n")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if strings.Contains(got, "planted") {
		t.Errorf("a secret was logged: %s", got)
	}
	for _, want := range []string{`"query":"ns=docker.io"`, `"bytes":2000`, `"status":200`, `"tier":"upstream"`, `"registry":"docker.io"`, `"status":400`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestAccessLogNamesTheRegistry(t *testing.T) {
	var out shared
	s := startPush(t, func(o *Options) { o.AccessLog, o.Log = AccessLogOn, slog.New(slog.NewJSONHandler(&out, nil)) })
	for _, path := range []string{"/v2/team/img/blobs/uploads/1", "/v2/gcr.io/a/manifests/x", "/v2/"} {
		s.do(t, "GET", path)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"status":404,.*"registry":"hosted"`, `"status":404,.*"registry":"gcr.io"`, `"status":200,.*"registry":""`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}

func TestAccessLogSamples(t *testing.T) {
	l := accessLog{mode: AccessLogSampled}
	var ordinary, failures int
	for range 10 * sampleOf {
		if l.wants(200) {
			ordinary++
		}
		if l.wants(502) {
			failures++
		}
	}
	if ordinary != 10 || failures != 10*sampleOf {
		t.Errorf("logged %d ordinary answers and %d failures", ordinary, failures)
	}
	if off := (&accessLog{mode: AccessLogOff}); off.wants(500) {
		t.Error("logs while off")
	}
}
