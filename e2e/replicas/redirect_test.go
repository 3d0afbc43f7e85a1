package replicas

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// newRedirecting is a replica that sends who comes from 127.0.0.1 to S3, and tells all that it tells anybody.
func newRedirecting(t *testing.T, env map[string]string) (*set, *server.Server) {
	t.Helper()
	s := newSet(t, 0, env)
	r := s.newReplica(map[string]string{
		"S3_REDIRECT": "127.0.0.1", "ACCESS_LOG": "on", "LOG_LEVEL": "DEBUG",
		"S3_ENDPOINT": strings.Replace(s.gateway.url, "127.0.0.1", "localhost", 1), // clients keep what they log in with from another host
	})
	t.Cleanup(func() {
		if told := r.Log() + metricsPage(t, r); strings.Contains(told, "X-Amz-") {
			t.Error("a log, or a metric, has a URL that is a credential")
		}
	})
	return s, r
}

func metricsPage(t *testing.T, r *server.Server) string {
	t.Helper()
	a := newClient(t, strings.TrimPrefix(r.Admin, "http://")).get("/metrics")
	return string(a.want(t, "read metrics", http.StatusOK).body)
}

// sent is how many bytes went out through a server.
func sent(r *server.Server) int64 { return int64(r.Metrics().Sum("entrepot_http_sent_bytes_total")) }

// from makes a client's connections come from that address.
func (c *client) from(address string) *client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c.http.Transport.(*http.Transport).DialContext = dialer.DialContext
	return c
}

func TestLargeBlobsAreFetchedFromS3Itself(t *testing.T) {
	_, r := newRedirecting(t, nil)
	near, far := newClient(t, r.Addr), newClient(t, r.Addr).from("127.0.0.9")
	var redirects []string
	note := func(req *http.Request, _ []*http.Request) error {
		redirects = append(redirects, req.Response.Header.Get("Location"))
		return nil
	}
	near.http.CheckRedirect, far.http.CheckRedirect = note, note

	large, small, inParts := fakehub.RandomBlob(70, 3_000_001), fakehub.RandomBlob(71, 1<<20-1), fakehub.RandomBlob(72, 2_500_000)
	for _, b := range []fakehub.Blob{large, small} {
		near.pushBlob("app", b).want(t, "push a blob", http.StatusCreated)
	}
	at := near.send(t.Context(), http.MethodPost, "/v2/app/blobs/uploads/", nil).want(t, "begin", http.StatusAccepted).location(t)
	at = near.send(t.Context(), http.MethodPatch, at, part(inParts, 0, 1_500_000)).want(t, "send a chunk", http.StatusAccepted).location(t)
	near.send(t.Context(), http.MethodPut, withDigest(at, inParts.Digest), part(inParts, 1_500_000, inParts.Size)).want(t, "close", http.StatusCreated)

	for _, c := range []struct {
		fact       string
		client     *client
		method     string
		blob       fakehub.Blob
		from, to   int64 // 0, 0: all
		redirected bool
	}{
		{"a large blob", near, "GET", large, 0, 0, true},
		{"a range", near, "GET", large, 1_000_000, 2_000_000, true},
		{"the end", near, "GET", large, 3_000_000, 3_000_001, true},
		{"a head", near, "HEAD", large, 0, 0, false},
		{"a small blob", near, "GET", small, 0, 0, false},
		{"a blob of two parts", near, "GET", inParts, 0, 0, false},
		{"from another network", far, "GET", large, 0, 0, false},
		{"a range from another network", far, "GET", large, 1_000_000, 2_000_000, false},
	} {
		redirects = nil
		status, want, header := http.StatusOK, whole(t, c.blob), []string(nil)
		if c.to > 0 {
			status, want = http.StatusPartialContent, want[c.from:c.to]
			header = []string{"Range", fmt.Sprintf("bytes=%d-%d", c.from, c.to-1)}
		}
		got := c.client.send(t.Context(), c.method, "/v2/app/blobs/"+c.blob.Digest.String(), nil, header...).want(t, c.fact, status)
		if c.method == "GET" && digest.FromBytes(got.body) != digest.FromBytes(want) {
			t.Errorf("%s: %d other bytes", c.fact, len(got.body))
		}
		if (len(redirects) > 0) != c.redirected {
			t.Errorf("%s: redirects %q", c.fact, redirects)
		}
	}
	if log := r.Log(); strings.Count(log, "status=307") != 3 {
		t.Errorf("the access log does not tell of three redirects:\n%s", log)
	}
}

// A client that has logged in sends what it logged in with to no other host, where S3 would refuse it.
func TestClientsFollowToS3(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, r := newRedirecting(t, map[string]string{"HTPASSWD": users})
	out, code := r.Run("robot", "add", "--json", "ci")
	var robot struct{ User, Secret string }
	if err := json.Unmarshal([]byte(out), &robot); err != nil || code != 0 {
		t.Fatalf("robot add: %d %v\n%s", code, err, out)
	}
	img := fakehub.NewImage(fakehub.Spec{
		Layers: []int64{3_000_000, 2_000_000}, Seed: 9_000_070, Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
	})
	s.hub.Repo("library/base").AddImage(img, "1")
	b := sandbox.New(t, tools.Crane(), tools.Containerd())
	ref := r.Addr + "/team/app:1"
	b.Run("crane", "auth", "login", r.Addr, "--username", robot.User, "--password", robot.Secret)
	b.Run("crane", "copy", r.Addr+"/library/base:1", ref)
	config, err := os.ReadFile(b.Dir + "/.docker/config.json")
	if err != nil {
		t.Fatal(err)
	}
	b.File("auth.json", string(config))
	socket := containerd(b)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"crane", []string{"validate", "--remote", ref}},
		{"podman", []string{"--root", b.Dir + "/store", "--runroot", b.Dir + "/run", "--tmpdir", b.Dir + "/libpod", "--storage-driver", "vfs",
			"--cgroup-manager", "cgroupfs", "--events-backend", "none", "pull", "--tls-verify=false", "--authfile", b.Dir + "/auth.json", ref}},
		{"ctr", []string{"--address", socket, "content", "fetch", "--plain-http", "--user", robot.User + ":" + robot.Secret, ref}},
	} {
		asked, before := s.gateway.asked.count(), sent(r)
		b.Run(c.name, c.args...)
		fetched, through := s.gateway.asked.since(asked, "GET", "/hosted/parts/"), sent(r)-before
		if len(fetched) < len(img.Layers) || through == 0 || through > 100_000 {
			t.Errorf("%s: asked S3 for %q, and %d bytes went through the server", c.name, fetched, through)
		}
	}
}

// containerd runs the daemon with no more than pulls take.
func containerd(b *sandbox.Sandbox) (socket string) {
	socket = b.Dir + "/containerd.sock"
	config := b.File("containerd.toml", `version = 3
root = "`+b.Dir+`/root"
state = "`+b.Dir+`/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
  address = "`+socket+`"
[ttrpc]
  address = "`+socket+`.ttrpc"
`)
	b.Daemon(func() error { return b.Quiet("ctr", "--address", socket, "version").Err }, "containerd", "--config", config)
	return socket
}
