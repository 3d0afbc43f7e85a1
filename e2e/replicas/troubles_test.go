package replicas

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// slowly waits before each answer and each piece of its body.
func slowly(next http.Handler, w http.ResponseWriter, r *http.Request) {
	const pause = 300 * time.Millisecond
	time.Sleep(pause)
	next.ServeHTTP(writer{w, func(p []byte) ([]byte, error) { time.Sleep(pause); return p, nil }}, r)
}

// breakingOff ends bodies of blobs in their middle, and hanging falls silent there.
func breakingOff(next http.Handler, w http.ResponseWriter, r *http.Request) {
	halfway(next, w, r, func() { panic(http.ErrAbortHandler) })
}

func hanging(next http.Handler, w http.ResponseWriter, r *http.Request) {
	halfway(next, w, r, func() { <-r.Context().Done() })
}

func halfway(next http.Handler, w http.ResponseWriter, r *http.Request, then func()) {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/cache/blobs/") {
		next.ServeHTTP(w, r)
		return
	}
	left := 100_000
	next.ServeHTTP(writer{w, func(p []byte) ([]byte, error) {
		if left -= len(p); left < 0 {
			_ = http.NewResponseController(w).Flush()
			then()
			return nil, http.ErrHandlerTimeout
		}
		return p, nil
	}}, r)
}

// refusing is a server that does not know the credentials any more.
func refusing(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>`)
}

// forgetful has no such bucket.
func forgetful(_ http.Handler, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusNotFound)
	if r.Method != http.MethodHead {
		fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>`)
	}
}

// senseless answers everything with a page of its own, as a captive portal.
func senseless(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, "<html>please log in</html>")
}

// writer hands over what an answer's body becomes.
type writer struct {
	http.ResponseWriter
	piece func([]byte) ([]byte, error)
}

func (w writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w writer) Write(p []byte) (int, error) {
	p, err := w.piece(p)
	if err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

func TestPullsOfABucketInTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrong trouble
		stays bool // what is pulled meanwhile may stay out of the bucket
	}{
		"slow": {slowly, false}, "breaks off": {breakingOff, false}, "hangs": {hanging, false},
		"refuses": {refusing, true}, "gone": {forgetful, true}, "another server": {senseless, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSet(t, 1, leases)
			stored, fresh := s.newRelease("library/stored", 210, 4_000, 300_000), s.newRelease("library/fresh", 211, 4_000, 300_000)
			newClient(t, s.replicas[0].Addr).wantPull(t, stored)
			s.gateway.wantStored(t, stored)
			wrong := newClient(t, s.newReplica(nil).Addr)
			s.gateway.wrong.Store(&c.wrong)
			t.Logf("what the bucket has: %v", wrong.wantPull(t, stored).Round(time.Millisecond))
			t.Logf("what it has not: %v", wrong.wantPull(t, fresh).Round(time.Millisecond))
			s.gateway.wrong.Store(nil)
			late := s.newRelease("library/late", 212, 4_000)
			wrong.wantPull(t, late)
			s.gateway.wantStored(t, late)
			if !c.stays {
				s.gateway.wantStored(t, fresh)
			}
		})
	}
}
