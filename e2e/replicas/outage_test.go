package replicas

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// long: E2E_LONG=1 starts a server anew in each kind of outage, which takes long where S3 keeps silent.
var long = os.Getenv("E2E_LONG") != ""

type outage struct {
	name       string
	begin, end func(*gateway)
}

func outages() []outage {
	return []outage{
		{"stopped", func(g *gateway) { g.Stop() }, func(g *gateway) { g.Start() }},
		{"silent", func(g *gateway) { g.Signal(syscall.SIGSTOP) }, func(g *gateway) { g.Signal(syscall.SIGCONT) }},
		{"busy", func(g *gateway) { g.busy.Store(true) }, func(g *gateway) { g.busy.Store(false) }},
	}
}

func TestWithoutS3TheCacheGoesOnAndPushesWait(t *testing.T) {
	t.Parallel()
	for i, outage := range outages() {
		t.Run(outage.name, func(t *testing.T) {
			t.Parallel() // they wait, mostly
			s := newSet(t, 1, nil)
			seed := uint64(30 + 10*i)
			cached, cold, own := newImage(seed, 200_000), newImage(seed+1, 200_000), newImage(seed+2, 200_000)
			s.hub.Repo("library/cached").AddImage(cached, "1")
			s.hub.Repo("library/cold").AddImage(cold, "1")
			s.client().pushImage(t, "app", "1", own)
			for _, r := range s.replicas {
				newClient(t, r.Addr).wantImage(t, "library/cached", "1", cached)
			}

			outage.begin(s.gateway)
			ended := false
			defer func() {
				if !ended {
					outage.end(s.gateway)
				}
			}()
			late, half := fakehub.RandomBlob(seed, 100_000), variant(t, own, i)
			for _, r := range s.replicas {
				c := newClient(t, r.Addr)
				c.wantImage(t, "library/cached", "1", cached)
				c.wantImage(t, "library/cold", "1", cold)
				refused(t, "push a blob", c.pushBlob("app", late))
				for range 3 { // by then it is known that S3 does not answer, if not before
					refused(t, "push a manifest", c.pushManifest("app", "half", half))
				}
				if a := c.get("/v2/app/manifests/1"); a.took > 5*time.Second {
					t.Errorf("a pull was refused after %v", a.took)
				} else {
					refused(t, "pull what is hosted", a)
				}
				c.wantImage(t, "library/cached", "1", cached)
				if !r.Ready() {
					t.Error("a replica is not ready")
				}
			}
			r := s.replicas[0]
			if long || outage.name == "stopped" {
				if code := r.Stop(); code != 0 {
					t.Errorf("a replica ended with %d", code)
				}
				r.Start()
				c := newClient(t, r.Addr)
				c.wantImage(t, "library/cached", "1", cached)
				refused(t, "push to a replica that has never seen S3", c.pushBlob("app", late))
			}

			outage.end(s.gateway)
			ended = true
			for _, r := range s.replicas {
				c := newClient(t, r.Addr)
				eventually(t, "push a blob after the outage", func() answer { return c.pushBlob("app", late) }, http.StatusCreated)
				eventually(t, "push a manifest after the outage", func() answer { return c.pushManifest("app", "whole", half) }, http.StatusCreated)
				c.wantImage(t, "app", "1", own)
				c.get("/v2/app/manifests/whole").want(t, "pull what was pushed after the outage", http.StatusOK)
			}
			for _, command := range [][]string{{"verify"}, {"gc", "--grace", "0s"}, {"verify"}} {
				if out, code := r.Run(command...); code != 0 {
					t.Errorf("%v after the outage: %d\n%s", command, code, out)
				}
			}
			s.client().wantImage(t, "app", "1", own)
		})
	}
}

// refused wants an answer that tells clients to come back.
func refused(t *testing.T, what string, a answer) {
	t.Helper()
	t.Logf("%s: %d after %v", what, a.status, a.took.Round(time.Millisecond))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("%s: %v, Retry-After %q", what, a, a.header.Get("Retry-After"))
	}
}

// eventually asks until it gets the status, for as long as an outage may be noticed after its end.
func eventually(t *testing.T, what string, ask func() answer, status int) {
	t.Helper()
	var a answer
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if a = ask(); a.err == nil && a.status == status {
			return
		}
	}
	t.Fatalf("%s: %v, want %d", what, a, status)
}
