package clients

import (
	"testing"

	"github.com/entrepot/entrepot/e2e/server"
)

// mirror is a running server as clients see it: through a relay that counts.
type mirror struct {
	*relay
	server *server.Server
}

// newMirror runs the server in front of upstreams. It asks for a tag anew every time, so that a pull without its upstream is
// a stale answer, not a fresh one.
func newMirror(t *testing.T, upstreams ...upstream) mirror {
	t.Helper()
	o := server.Options{Env: map[string]string{"TAG_TTL": "1ms", "NEGATIVE_TTL": "0s", "ACCESS_LOG": "on"}}
	for _, u := range upstreams {
		o.Upstreams = append(o.Upstreams, server.Upstream{Host: u.host, URL: u.URL(), CA: u.CAFile()})
	}
	s := server.Start(t, o)
	return mirror{newRelay(t, s.Addr), s}
}

// wantMoved checks that the client had the image's blobs from the server, and not from some store of its own.
func (m mirror) wantMoved(t *testing.T, img image) {
	t.Helper()
	if moved := m.moved.Load(); moved < img.Size() {
		t.Errorf("the client took %d bytes from the server; the image's blobs are %d", moved, img.Size())
	}
}
