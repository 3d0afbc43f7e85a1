package storagetest

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// presignFacts are skipped as conditionalDeleteFacts are. What comes of following a URL, the store's own tests say.
var presignFacts = able(canPresign, []fact{
	{"each object has a URL of its own, whether it is there or not", func(s *suite) {
		s.put("a/b", "content")
		seen := map[string]string{}
		for _, key := range []string{"a/b", "a/c", "none", "a b+c", "a%20b+c", "q?x=1&y", "q", "ä#b"} {
			given, err := storage.Presign(s.Context(), s.Store, key, time.Minute)
			if err != nil {
				s.Fatalf("Presign(%q): %v", key, err)
			}
			u, err := url.Parse(given)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
				s.Fatalf("Presign(%q) is no URL: %v", key, err)
			}
			if other, double := seen[u.EscapedPath()]; double {
				s.Errorf("%q and %q have one URL", key, other)
			}
			seen[u.EscapedPath()] = key
		}
		s.wantKeys("", "", "a/b")
	}},
	{"no bad key and no ended context is presigned", func(s *suite) {
		ended, cancel := context.WithCancel(s.Context())
		cancel()
		if given, err := storage.Presign(ended, s.Store, "a", time.Minute); given != "" || !errors.Is(err, context.Canceled) {
			s.Errorf("Presign gives a URL: %t, %v, want context.Canceled", given != "", err)
		}
		for _, key := range []string{"", "../a", "a/", "/a"} {
			if given, err := storage.Presign(s.Context(), s.Store, key, time.Minute); given != "" || !errors.Is(err, storage.ErrInvalidKey) {
				s.Errorf("Presign(%q) gives a URL: %t, %v, want ErrInvalidKey", key, given != "", err)
			}
		}
	}},
})

func canPresign(s *suite) error {
	_, err := storage.Presign(s.Context(), s.Store, "none", time.Minute)
	return err
}
