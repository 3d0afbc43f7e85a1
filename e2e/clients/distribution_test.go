package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// A real registry stands for quay.io, filled by crane, and is gone at the end. crane takes no token from a server on a
// private address, so the source asks for none.
func TestDistributionUpstream(t *testing.T) {
	source := newUpstream(t, fakehub.Options{NoAuth: true}, "docker.io", "library/app", 18)
	registry := newDistribution(t)
	for _, tag := range []string{"1", "multi"} {
		registry.run("crane", "copy", source.Addr()+"/library/app:"+tag, registry.addr+"/team/app:"+tag)
	}
	s := server.Start(t, server.Options{
		Upstreams: []server.Upstream{{Host: "quay.io", URL: "http://" + registry.addr}},
		Env:       map[string]string{"TAG_TTL": "1ms", "DEFAULT_UPSTREAM": "none"},
	})
	m := mirror{newRelay(t, s.Addr), s}
	c := newContainerd(t, m, "quay.io")

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
		if r := c.pull("quay.io/team/app:absent"); r.err == nil || !strings.Contains(r.all, "not found") {
			t.Errorf("%v\n%s", r.err, r.all)
		}
	})
	registry.end()
	t.Run("without the upstream", pulls)
}

// distribution is the reference registry.
type distribution struct {
	*sandbox
	addr string
	end  func()
}

func newDistribution(t *testing.T) distribution {
	t.Helper()
	b := newSandbox(t, tools.Distribution(), tools.Crane())
	b.env = append(b.env, "OTEL_TRACES_EXPORTER=none")
	d := distribution{sandbox: b, addr: server.FreeAddr(t)}
	config := b.file("registry.yml", fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: %q}\n", b.dir, d.addr))
	ready := func() error {
		resp, err := http.Get("http://" + d.addr + "/v2/")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	d.end = b.daemon(ready, "registry", "serve", config)
	return d
}
