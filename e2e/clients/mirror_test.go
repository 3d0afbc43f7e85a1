package clients

import (
	"encoding/json"
	"strings"
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

// configFiles gives the files, by their paths, that client-config prints for a client of the mirror. What people are told to
// write is what these tests prove.
func (m mirror) configFiles(t *testing.T, client string) map[string]string {
	t.Helper()
	out, code := m.server.Run("client-config", client, "--url", "http://"+m.addr, "--json")
	if code != 0 {
		t.Fatalf("client-config %s: %d\n%s", client, code, out)
	}
	files := map[string]string{}
	for line := range strings.Lines(out) {
		var step struct{ Path, Content string }
		if err := json.Unmarshal([]byte(line), &step); err != nil {
			t.Fatalf("client-config %s: %v\n%s", client, err, out)
		}
		if step.Path != "" {
			files[step.Path] = step.Content
		}
	}
	return files
}

// configFile is the one of them with that path.
func (m mirror) configFile(t *testing.T, client, path string) string {
	t.Helper()
	content := m.configFiles(t, client)[path]
	if content == "" {
		t.Fatalf("client-config %s has no %s", client, path)
	}
	return content
}
