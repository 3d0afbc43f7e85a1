package storagetest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// presignFacts are skipped as conditionalDeleteFacts are.
var presignFacts = able(canPresign, []fact{
	{"a URL gives an object and its ranges", func(s *suite) {
		s.put("a/b", "0123456789")
		url := s.presign("a/b")
		s.wantGet(url, "", http.StatusOK, "0123456789")
		s.wantGet(url, "bytes=2-5", http.StatusPartialContent, "2345")
		s.wantGet(url, "bytes=-3", http.StatusPartialContent, "789")
	}},
	{"a URL of a key that takes escaping", func(s *suite) {
		for _, key := range []string{"a b/c+d", "ä/%41", "q?x=1&y", "a#b"} {
			s.put(key, key)
			s.wantGet(s.presign(key), "", http.StatusOK, key)
		}
	}},
	{"a URL made before its object", func(s *suite) {
		url := s.presign("a")
		s.wantGet(url, "", http.StatusNotFound, "")
		s.put("a", "content")
		s.wantGet(url, "", http.StatusOK, "content")
		s.delete("a")
		s.wantGet(url, "", http.StatusNotFound, "")
	}},
	{"no bad key and no ended context is presigned", func(s *suite) {
		ended, cancel := context.WithCancel(s.Context())
		cancel()
		if url, err := storage.Presign(ended, s.Store, "a", time.Minute); url != "" || !errors.Is(err, context.Canceled) {
			s.Errorf("Presign = %t, %v, want context.Canceled", url != "", err)
		}
		for _, key := range []string{"", "../a", "a/", "/a"} {
			if url, err := storage.Presign(s.Context(), s.Store, key, time.Minute); url != "" || !errors.Is(err, storage.ErrInvalidKey) {
				s.Errorf("Presign(%q) = %t, %v, want ErrInvalidKey", key, url != "", err)
			}
		}
	}},
})

func canPresign(s *suite) error {
	_, err := storage.Presign(s.Context(), s.Store, "none", time.Minute)
	return err
}

func (s *suite) presign(key string) (url string) {
	s.Helper()
	url, err := storage.Presign(s.Context(), s.Store, key, time.Minute)
	if err != nil {
		s.Fatalf("Presign(%q): %v", key, err)
	}
	return url
}

// wantGet follows a URL as a client does that knows nothing of the store. What a refusal says is the store's matter.
func (s *suite) wantGet(url, ranged string, status int, want string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.Fatal(err)
	}
	if ranged != "" {
		request.Header.Set("Range", ranged)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status || status < http.StatusBadRequest && string(got) != want {
		s.Fatalf("GET, range %q: %d %.60q, %v; want %d %.60q", ranged, response.StatusCode, got, err, status, want)
	}
}
