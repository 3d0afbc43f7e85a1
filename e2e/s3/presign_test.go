package s3

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

func TestAURLEndsWithItsLife(t *testing.T) {
	endpoint := versitygw(t)
	now := time.Now()
	s := open(t, endpoint, "one", func(o *s3.Options) { o.Now = func() time.Time { return now } })
	if err := s.Put(t.Context(), "a", strings.NewReader("content"), 7); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fact   string
		made   time.Duration // before now
		change func(url string) string
		want   int
	}{
		{"young", 14 * time.Minute, same, http.StatusOK},
		{"old", 16 * time.Minute, same, http.StatusForbidden},
		{"made to last", 16 * time.Minute, func(url string) string { return strings.Replace(url, "Expires=900", "Expires=9000", 1) }, http.StatusForbidden},
		{"of another object", 0, func(url string) string { return strings.Replace(url, "/one/a?", "/one/b?", 1) }, http.StatusForbidden},
	} {
		now = time.Now().Add(-c.made)
		url, err := s.Presign(t.Context(), "a", 15*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.Get(c.change(url))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.fact, response.StatusCode, c.want)
		}
	}
}

func same(url string) string { return url }

func (s streams) Presign(ctx context.Context, key string, life time.Duration) (string, error) {
	return storage.Presign(ctx, s.Store, key, life)
}
