// Package replicas holds what several servers on one bucket must do together: a real S3 server behind them, and before them
// a relay that gives each request to another of them.
package replicas

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/bucket"
	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// TestMain lets parallel tests be more than the processors: they wait for S3, mostly. The SDK finds the bucket's credentials
// and nothing of the machine's.
func TestMain(m *testing.M) {
	err := flag.Set("test.parallel", "8")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": bucket.AccessKey, "AWS_SECRET_ACCESS_KEY": bucket.SecretKey, "AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		err = errors.Join(err, os.Setenv(name, value))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// set is several replicas, what stands before them, and what stands behind.
type set struct {
	t        *testing.T
	hub      *fakehub.Hub
	gateway  *gateway
	env      map[string]string
	replicas []*server.Server
	front    string // address of the relay
	turns    atomic.Int64
	excuses  float64      // of fetches beyond the promise
	only     atomic.Int64 // -1, or the one that gets all requests
}

func newSet(t *testing.T, n int, env map[string]string) *set {
	t.Helper()
	s := &set{t: t, hub: fakehub.New(t, fakehub.Options{}), gateway: newGateway(t), env: env}
	s.only.Store(-1)
	for range n {
		s.replicas = append(s.replicas, s.newReplica(nil))
	}
	s.front = newRelay(t, s.next, nil)
	return s
}

// itself stands for the address of a replica in its own environment.
const itself = "(itself)"

// newReplica starts another server on the bucket, which the relay does not know, with env over that of the set.
func (s *set) newReplica(env map[string]string) *server.Server {
	s.t.Helper()
	vars, others := s.gateway.env()
	vars["HOSTED"], vars["GC_INTERVAL"], vars["SCRUB_RATE"] = "team", "0", "0"
	maps.Copy(vars, s.env)
	maps.Copy(vars, env)
	addr := server.FreeAddr(s.t)
	for name, value := range vars {
		vars[name] = strings.ReplaceAll(value, itself, addr)
	}
	r := server.New(s.t, server.Options{
		Upstreams: []server.Upstream{{Host: "docker.io", URL: s.hub.URL()}}, Env: vars, Others: others, Listen: addr,
	})
	r.Start()
	s.t.Cleanup(func() {
		if strings.Contains(r.Log(), secretKey) {
			s.t.Error("a log has the secret key of S3")
		}
	})
	return r
}

// next is the replica whose turn it is.
func (s *set) next() *url.URL {
	i := s.only.Load()
	if i < 0 {
		i = s.turns.Add(1) % int64(len(s.replicas))
	}
	return &url.URL{Scheme: "http", Host: s.replicas[i].Addr}
}

// ref is the name of an image at the relay.
func (s *set) ref(name string) string { return s.front + "/" + name }

// client asks one address.
type client struct {
	base string
	http http.Client
}

func newClient(t *testing.T, addr string) *client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{"http://" + addr, http.Client{Transport: transport, Timeout: 2 * time.Minute}}
}

func (s *set) client() *client { return newClient(s.t, s.front) }

// answer is what came of a request, with its body whole. status is 0 where none came.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
	took   time.Duration
}

func (a answer) String() string { return fmt.Sprintf("%d %v %.300s", a.status, a.err, a.body) }

func (c *client) send(ctx context.Context, method, path string, body io.Reader, header ...string) (a answer) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	a = answer{status: resp.StatusCode, header: resp.Header}
	a.body, a.err = io.ReadAll(resp.Body)
	return a
}

func (c *client) get(path string) answer {
	return c.send(context.Background(), http.MethodGet, path, nil)
}

// want fails the test unless the status is the one wanted.
func (a answer) want(t *testing.T, what string, status int) answer {
	t.Helper()
	if a.err != nil || a.status != status {
		t.Fatalf("%s: %v; want %d", what, a, status)
	}
	return a
}

// location is where an upload goes on.
func (a answer) location(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Path == "" {
		t.Fatalf("no Location: %v", a)
	}
	return u.RequestURI()
}

func withDigest(location string, d digest.Digest) string {
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	return location + separator + "digest=" + url.QueryEscape(d.String())
}

func part(b fakehub.Blob, from, to int64) io.Reader {
	return io.NewSectionReader(b.Content, from, to-from)
}

func whole(t *testing.T, b fakehub.Blob) []byte {
	t.Helper()
	content, err := io.ReadAll(part(b, 0, b.Size))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// pushBlob pushes in one request.
func (c *client) pushBlob(repo string, b fakehub.Blob) answer {
	content, err := io.ReadAll(part(b, 0, b.Size))
	if err != nil {
		return answer{err: err}
	}
	return c.send(context.Background(), http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+b.Digest.String(), bytes.NewReader(content),
		"Content-Type", "application/octet-stream")
}

func (c *client) pushManifest(repo, ref string, m fakehub.Manifest) answer {
	return c.send(context.Background(), http.MethodPut, "/v2/"+repo+"/manifests/"+ref, bytes.NewReader(m.Bytes), "Content-Type", m.MediaType)
}

func (c *client) pushImage(t *testing.T, repo, ref string, img fakehub.Image) {
	t.Helper()
	for _, b := range img.Blobs() {
		c.pushBlob(repo, b).want(t, "push a blob", http.StatusCreated)
	}
	c.pushManifest(repo, ref, img.Manifest).want(t, "push a manifest", http.StatusCreated)
}

// wantImage pulls every byte of an image.
func (c *client) wantImage(t *testing.T, repo, ref string, img fakehub.Image) {
	t.Helper()
	m := c.get("/v2/"+repo+"/manifests/"+ref).want(t, "pull "+repo+":"+ref, http.StatusOK)
	if !bytes.Equal(m.body, img.Manifest.Bytes) {
		t.Errorf("%s:%s is %.100q", repo, ref, m.body)
	}
	for _, b := range img.Blobs() {
		got := c.get("/v2/"+repo+"/blobs/"+b.Digest.String()).want(t, "pull a blob", http.StatusOK)
		if digest.FromBytes(got.body) != b.Digest {
			t.Errorf("blob %s of %s has other bytes", b.Digest, repo)
		}
	}
}

func newImage(seed uint64, layers ...int64) fakehub.Image {
	return fakehub.NewImage(fakehub.Spec{Layers: layers, Seed: 9_000_000 + seed})
}
