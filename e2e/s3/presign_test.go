package s3

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

func (s streams) Presign(ctx context.Context, key string, life time.Duration) (string, error) {
	return storage.Presign(ctx, s.Store, key, life)
}

// follow is a plain GET, which knows nothing of the store.
func follow(t *testing.T, url, ranged string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranged != "" {
		request.Header.Set("Range", ranged)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func TestAURLGivesItsObject(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := storage.Under(open(t, start(t), "one"), "two")
			for _, key := range []string{"parts/AB/CDEF", "a b/c+d", "ä/%41", "q?x=1&y", "a#b"} {
				given, err := storage.Presign(t.Context(), s, key, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				if status, _ := follow(t, given, ""); status != http.StatusNotFound {
					t.Errorf("%s before it is there: %d", key, status)
				}
				content := "0123456789 of " + key
				if err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
					t.Fatal(err)
				}
				if status, got := follow(t, given, ""); status != http.StatusOK || got != content {
					t.Errorf("%s: %d %.200q", key, status, got)
				}
				for ranged, want := range map[string]string{"bytes=2-5": "2345", "bytes=11-": content[11:], "bytes=-3": content[len(content)-3:]} {
					if status, got := follow(t, given, ranged); status != http.StatusPartialContent || got != want {
						t.Errorf("%s, %s: %d %.200q", key, ranged, status, got)
					}
				}
			}
		})
	}
}

func TestAURLEndsWithItsLife(t *testing.T) {
	now := time.Now()
	s := open(t, versitygw(t), "one", func(o *s3.Options) { o.Now = func() time.Time { return now } })
	for _, key := range []string{"a", "b"} {
		if err := s.Put(t.Context(), key, strings.NewReader("content"), 7); err != nil {
			t.Fatal(err)
		}
	}
	change := strings.NewReplacer
	for _, c := range []struct {
		fact   string
		made   time.Duration // ago
		change *strings.Replacer
		want   int
	}{
		{"young", 14 * time.Minute, change(), http.StatusOK},
		{"old", 16 * time.Minute, change(), http.StatusForbidden},
		{"made to last", 16 * time.Minute, change("Expires=900", "Expires=9000"), http.StatusForbidden},
		{"of another object", 0, change("/one/a?", "/one/b?"), http.StatusForbidden},
	} {
		now = time.Now().Add(-c.made)
		given, err := s.Presign(t.Context(), "a", 15*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if status, got := follow(t, c.change.Replace(given), ""); status != c.want {
			t.Errorf("%s: %d %.200q, want %d", c.fact, status, got, c.want)
		}
	}
}
