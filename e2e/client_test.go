// Package e2e holds what the real program must do on the wire, in front of a fake Docker Hub. E2E_LONG=1 runs the full
// sizes and counts.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/bucket"
	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

const acceptAll = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	fakehub.DockerList + ", " + fakehub.DockerManifest

// long reports whether full sizes and counts are wanted.
var long = os.Getenv("E2E_LONG") != ""

// full is the first value in the long form, and the second in the short one.
func full[T any](inLong, inShort T) T {
	if long {
		return inLong
	}
	return inShort
}

// client asks one server as registry clients do.
type client struct {
	base string
	http *http.Client
}

func newClient(t *testing.T, s *server.Server) *client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 512}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{s.URL, &http.Client{Transport: transport, Timeout: 3 * time.Minute}}
}

// answer is what came of a request. Bodies are compared while they arrive and only short ones are kept.
type answer struct {
	status int // 0 when none came
	header http.Header
	body   []byte // its first MiB
	n      int64  // bytes of the body
	err    error  // the connection broke; nil when the body was whole by the rules of HTTP
	wrong  int64  // where the first byte stands that is not the one wanted; -1 for none
	head   time.Duration
	first  time.Duration // until the first byte of the body
	took   time.Duration
}

// get is do with GET.
func (c *client) get(path string, want fakehub.Content, header ...string) answer {
	return c.do(context.Background(), http.MethodGet, path, want, header...)
}

// do asks and reads the whole answer. Bytes are compared with want (nil for not at all) from where Content-Range says.
func (c *client) do(ctx context.Context, method, path string, want fakehub.Content, header ...string) answer {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return answer{err: err, wrong: -1}
	}
	req.Header.Set("Accept", acceptAll)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err, wrong: -1, took: time.Since(began)}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, wrong: -1, head: time.Since(began)}
	a.read(resp.Body, want, began)
	a.took = time.Since(began)
	return a
}

func (a *answer) read(body io.Reader, want fakehub.Content, began time.Time) {
	if a.status != http.StatusOK && a.status != http.StatusPartialContent {
		want = nil
	}
	var off int64
	fmt.Sscanf(a.header.Get("Content-Range"), "bytes %d-", &off)
	buffer, expected := make([]byte, 128<<10), make([]byte, 128<<10)
	for a.err == nil {
		n, err := body.Read(buffer)
		if n > 0 && a.n == 0 {
			a.first = time.Since(began)
		}
		if a.n < 1<<20 {
			a.body = append(a.body, buffer[:n]...)
		}
		if want != nil && a.wrong < 0 {
			m, _ := want.ReadAt(expected[:n], off+a.n)
			a.wrong = difference(buffer[:n], expected[:m], off+a.n)
		}
		a.n += int64(n)
		a.err = err
	}
	if errors.Is(a.err, io.EOF) {
		a.err = nil
	}
}

func difference(got, want []byte, off int64) int64 {
	if bytes.Equal(got, want) {
		return -1
	}
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			return off + int64(i)
		}
	}
	return -1
}

// right reports whether the answer is the whole content, or why not.
func (a answer) right(want fakehub.Content) error {
	switch {
	case a.err != nil:
		return fmt.Errorf("status %d, %d of %d bytes in %v: %w", a.status, a.n, want.Size(), a.took.Round(time.Millisecond), a.err)
	case a.status != http.StatusOK:
		return fmt.Errorf("status %d: %.300s", a.status, a.body)
	case a.wrong >= 0:
		return fmt.Errorf("a wrong byte at %d", a.wrong)
	case a.n != want.Size():
		return fmt.Errorf("a body of %d bytes that ends in order; want %d", a.n, want.Size())
	}
	return nil
}

// lies reports whether the answer looks whole and is not: what must never happen.
func (a answer) lies(want fakehub.Content) bool {
	return a.err == nil && a.status == http.StatusOK && (a.wrong >= 0 || a.n != want.Size())
}

func manifestPath(repo, ref string) string { return "/v2/" + repo + "/manifests/" + ref }

func blobPath(repo string, d digest.Digest) string { return "/v2/" + repo + "/blobs/" + d.String() }

// pulled is how long a pull's parts took.
type pulled struct {
	firstLayer time.Duration // from the pull's first request to the first byte of a layer
	took       time.Duration
}

// pull pulls an image as dockerd does: the tag by HEAD, the manifest by digest, the config, three layers at once; and
// compares every byte.
func (c *client) pull(ctx context.Context, repo, ref string, img fakehub.Image) (pulled, error) {
	began := time.Now()
	head := c.do(ctx, http.MethodHead, manifestPath(repo, ref), nil)
	if got := head.header.Get("Docker-Content-Digest"); head.err != nil || head.status != 200 || got != img.Manifest.Digest.String() {
		return pulled{}, fmt.Errorf("HEAD of %s: status %d, digest %q, %v; want %s", ref, head.status, got, head.err, img.Manifest.Digest)
	}
	bytes := fakehub.Bytes(img.Manifest.Bytes)
	manifest := c.do(ctx, http.MethodGet, manifestPath(repo, img.Manifest.Digest.String()), bytes)
	if err := manifest.right(bytes); err != nil {
		return pulled{}, fmt.Errorf("manifest: %w", err)
	}
	if got := manifest.header.Get("Content-Type"); got != img.Manifest.MediaType {
		return pulled{}, fmt.Errorf("manifest has type %q, want %q", got, img.Manifest.MediaType)
	}
	first, err := c.pullBlobs(ctx, repo, img, began)
	return pulled{first, time.Since(began)}, err
}

func (c *client) pullBlobs(ctx context.Context, repo string, img fakehub.Image, began time.Time) (first time.Duration, err error) {
	if err := c.pullBlob(ctx, repo, img.Config).right(img.Config.Content); err != nil {
		return 0, fmt.Errorf("config: %w", err)
	}
	var group errgroup.Group
	group.SetLimit(3)
	firsts := make([]time.Duration, len(img.Layers))
	for i, layer := range img.Layers {
		group.Go(func() error {
			waited := time.Since(began)
			a := c.pullBlob(ctx, repo, layer)
			firsts[i] = waited + a.first
			if err := a.right(layer.Content); err != nil {
				return fmt.Errorf("layer %d (%s): %w", i, layer.Digest, err)
			}
			return nil
		})
	}
	err = group.Wait()
	for _, f := range firsts {
		if first == 0 || f < first {
			first = f
		}
	}
	return first, err
}

func (c *client) pullBlob(ctx context.Context, repo string, b fakehub.Blob) answer {
	return c.do(ctx, http.MethodGet, blobPath(repo, b.Digest), b.Content)
}

// site is a Hub and a server in front of it.
type site struct {
	*testing.T
	hub    *fakehub.Hub
	server *server.Server
	client *client

	others []*server.Server // on the same bucket, where there is one
	bucket *bucket.Server
}

// memorySize is what each server of these tests may keep in memory, and ceiling what the process may take: the tier and
// 64 MiB.
const (
	memorySize = 64 << 20
	ceiling    = memorySize + 64<<20
)

// newSite starts both. settings are names and values of the server's variables.
func newSite(t *testing.T, o fakehub.Options, settings ...string) site {
	t.Helper()
	hub := fakehub.New(t, o)
	s := server.Start(t, siteOptions(hub, settings...))
	t.Cleanup(func() { checkMemory(t, s) })
	return site{T: t, hub: hub, server: s, client: newClient(t, s)}
}

func siteOptions(hub *fakehub.Hub, settings ...string) server.Options {
	env := map[string]string{"MEMORY_SIZE": fmt.Sprint(memorySize), "ACCESS_LOG": "on"}
	for i := 0; i+1 < len(settings); i += 2 {
		env[settings[i]] = settings[i+1]
	}
	return server.Options{Upstreams: []server.Upstream{{Host: "docker.io", URL: hub.URL(), CA: hub.CAFile()}}, Env: env}
}

func checkMemory(t *testing.T, s *server.Server) {
	if !s.Running() || os.Getenv("E2E_RACE") != "" {
		return
	}
	if peak := s.PeakRSS(); peak > ceiling {
		t.Errorf("the server took %d MiB of memory, more than %d", peak>>20, ceiling>>20)
	}
}

// wantPull fails the test unless the image can be pulled, right to the last byte.
func (s site) wantPull(repo, ref string, img fakehub.Image) pulled {
	s.Helper()
	took, err := s.client.pull(context.Background(), repo, ref, img)
	if err != nil {
		s.Fatalf("pull %s:%s: %v", repo, ref, err)
	}
	return took
}

// wantBlob fails the test unless the blob can be pulled.
func (s site) wantBlob(repo string, b fakehub.Blob) answer {
	s.Helper()
	a := s.client.get(blobPath(repo, b.Digest), b.Content)
	if err := a.right(b.Content); err != nil {
		s.Fatalf("blob %s of %d bytes: %v", b.Digest, b.Size, err)
	}
	return a
}

// wantOnce fails the test if upstream sent any byte of these blobs twice, or not at all.
func (s site) wantOnce(blobs ...fakehub.Blob) {
	s.Helper()
	for _, b := range blobs {
		if served := s.hub.Served(b.Digest); served.Twice() != 0 || served.Unique() != b.Size {
			s.Errorf("upstream sent %d different bytes of %d, and %d twice: %v", served.Unique(), b.Size, served.Twice(), served.Ranges)
		}
	}
}

// eventually waits for something that happens behind the answers.
func (s site) eventually(within time.Duration, what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(within); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("not within %v: %s", within, what)
		}
	}
}

// wantError fails the test unless the answer is one of these statuses, in the registry's JSON.
func (s site) wantError(a answer, statuses ...int) {
	s.Helper()
	for _, status := range statuses {
		if a.status == status {
			if !strings.Contains(string(a.body), `"errors"`) || !strings.Contains(string(a.body), `"code"`) {
				s.Errorf("status %d without the registry's JSON: %.300s", a.status, a.body)
			}
			return
		}
	}
	s.Errorf("status %d, %v, body %.300s; want %v", a.status, a.err, a.body, statuses)
}
