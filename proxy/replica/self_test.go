package replica

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAnAddressLeadsHereOrNot(t *testing.T) {
	for fact, c := range map[string]struct {
		answer func(n int) int // status of the n-th answer
		here   bool
	}{
		"this server":                          {func(int) int { return http.StatusMisdirectedRequest }, true},
		"another one":                          {func(int) int { return http.StatusOK }, false},
		"another one with users":               {func(int) int { return http.StatusUnauthorized }, false},
		"a load balancer before several":       {func(n int) int { return []int{421, 421, 200, 421}[n%4] }, false},
		"something else":                       {func(int) int { return http.StatusNotFound }, false},
		"something that sends clients further": {func(int) int { return http.StatusMovedPermanently }, false},
	} {
		n := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" || r.Header.Get(Header) != "me" {
				t.Errorf("%s: asked for %s by %q", fact, r.URL, r.Header.Get(Header))
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.answer(n))
			n++
		}))
		client := New(Options{ID: "me"})
		if err := client.Self(t.Context(), s.URL); (err == nil) != c.here {
			t.Errorf("%s: %v", fact, err)
		}
		client.Close()
		s.Close()
		if err := client.Self(t.Context(), s.URL); err == nil {
			t.Errorf("%s: nobody is there any more", fact)
		}
	}
	if err := New(Options{ID: "me"}).Self(t.Context(), "http://user@host"); err == nil {
		t.Error("that is no address")
	}
}
