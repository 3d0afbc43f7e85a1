package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// A real registry stands for quay.io, filled by crane, and is gone at the end. crane takes no token from a server on a
// private address, so the source asks for none.
func TestDistributionUpstream(t *testing.T) {
	source := newUpstream(t, fakehub.Options{NoAuth: true}, "docker.io", "library/app", 18)
	registry := newDistribution(t)
	for _, tag := range []string{"1", "multi"} {
		registry.Run("crane", "copy", source.Addr()+"/library/app:"+tag, registry.addr+"/team/app:"+tag)
	}
	s := server.Start(t, server.Options{
		Upstreams: []server.Upstream{{Host: "quay.io", URL: "http://" + registry.addr}},
		Env:       map[string]string{"TAG_TTL": "1ms", "DEFAULT_UPSTREAM": "none"},
	})
	m := mirror{newRelay(t, s.Addr), s}
	c := newContainerd(t, m)

	pulls := func(t *testing.T) {
		c.forget(t)
		m.moved.Store(0)
		mustPull(t, c, "quay.io/team/app:1", source.tagged)
		m.wantMoved(t, source.tagged)
		mustPull(t, c, "quay.io/team/app@"+source.tagged.Manifest.Digest.String(), source.tagged)
		mustPull(t, c, "quay.io/team/app:multi", source.native)
	}
	t.Run("cold", pulls)
	t.Run("warm", pulls)
	t.Run("an absent tag", func(t *testing.T) {
		if r := c.pull("quay.io/team/app:absent"); r.Err == nil || !strings.Contains(r.All, "not found") {
			t.Errorf("%v\n%s", r.Err, r.All)
		}
	})
	registry.end()
	t.Run("without the upstream", pulls)
}

// distribution is the reference registry.
type distribution struct {
	*sandbox.Sandbox
	addr string
	end  func()
}

func newDistribution(t *testing.T) distribution {
	t.Helper()
	b := sandbox.New(t, tools.Distribution(), tools.Crane())
	b.Env = append(b.Env, "OTEL_TRACES_EXPORTER=none")
	d := distribution{Sandbox: b, addr: server.FreeAddr(t)}
	config := b.File("registry.yml", fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: %q}\n", b.Dir, d.addr))
	ready := func() error {
		resp, err := http.Get("http://" + d.addr + "/v2/")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	d.end = b.Daemon(ready, "registry", "serve", config)
	return d
}
