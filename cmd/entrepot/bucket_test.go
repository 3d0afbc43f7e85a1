package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// startOn starts a server with a data directory of its own on the bucket.
func (f *fakeS3) startOn(t *testing.T, pairs ...string) *running {
	t.Helper()
	return start(t, append(append(f.environment(), "DATA="+t.TempDir(), "GC_INTERVAL=0", "SCRUB_RATE=0"), pairs...)...)
}

// ask gives the status and the header of an answer.
func (r *running) ask(method, path, body string, header ...string) (int, http.Header) {
	r.t.Helper()
	request, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header
}

// step is one request, to the server of that number.
type step struct {
	server             int
	method, path, body string
	header             []string
	want               int
}

func TestServersShareABucket(t *testing.T) {
	f := newFakeS3(t)
	one := f.startOn(t)
	servers := []*running{one, f.startOn(t)}
	layer, config := "a layer", "{}"
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` +
		digest.FromString(config).String() + `","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + digest.FromString(layer).String() + `","size":7}]}`
	_, begun := one.ask(http.MethodPost, "/v2/app/blobs/uploads/", "")
	upload := begun.Get("Location")
	for _, s := range []step{
		{1, http.MethodPatch, upload, "a la", []string{"Content-Range", "0-3"}, 202},
		{0, http.MethodPatch, upload, "a la", []string{"Content-Range", "0-3"}, 416},
		{0, http.MethodGet, upload, "", nil, 204},
		{0, http.MethodPatch, upload, "yer", []string{"Content-Range", "4-6"}, 202},
		{1, http.MethodPut, upload + "?digest=" + digest.FromString(layer).String(), "", nil, 201},
		{0, http.MethodPost, "/v2/app/blobs/uploads/?digest=" + digest.FromString(config).String(), config, nil, 201},
		{1, http.MethodPut, "/v2/app/manifests/1", manifest, []string{"Content-Type", "application/vnd.oci.image.manifest.v1+json"}, 201},
		{0, http.MethodGet, "/v2/app/manifests/1", "", nil, 200},
		{1, http.MethodPost, "/v2/copy/blobs/uploads/?mount=" + digest.FromString(layer).String() + "&from=app", "", nil, 201},
		{0, http.MethodGet, "/v2/copy/blobs/" + digest.FromString(layer).String(), "", []string{"Range", "bytes=2-"}, 206},
		{0, http.MethodDelete, "/v2/app/manifests/1", "", nil, 202},
		{1, http.MethodGet, "/v2/app/manifests/1", "", nil, 404},
		{1, http.MethodGet, "/v2/app/manifests/" + digest.FromString(manifest).String(), "", nil, 200},
	} {
		if status, header := servers[s.server].ask(s.method, s.path, s.body, s.header...); status != s.want {
			t.Errorf("%s %s at server %d: %d %v, want %d", s.method, s.path, s.server, status, header, s.want)
		}
	}
	for _, r := range servers {
		if files, _ := filepath.Glob(filepath.Join(r.environment[prefix+"DATA"], "objects", "*")); len(files) > 0 {
			for _, file := range files {
				if filepath.Base(file) != "cache" {
					t.Errorf("beside the cache, the data directory has %s", file)
				}
			}
		}
	}
	for info, err := range f.objects.List(t.Context(), "", "") {
		if err != nil || !strings.HasPrefix(info.Key, "entrepot/one/hosted/") || strings.Contains(info.Key, "/probe/") {
			t.Errorf("in the bucket: %s %v", info.Key, err)
		}
	}
}

func TestCommandsWorkOnTheBucketBesideAServer(t *testing.T) {
	f := newFakeS3(t)
	server := f.startOn(t)
	if status := server.pushBlob("app", "layer"); status != http.StatusCreated {
		t.Fatalf("push: %d", status)
	}
	elsewhere := &running{t: t, environment: environment(append(f.environment(), "DATA="+t.TempDir(), "HTPASSWD="+usersFile(t, "alice"))...)}
	elsewhere.want("would free blobs: 1 of 5 B", "gc", "--dry-run", "--grace", "0s")
	elsewhere.want("hosted: sound manifests: 0, sound blobs: 1, 5 B; damaged: 0", "verify")
	elsewhere.want("robot+ci", "robot", "add", "ci")
	if _, _, err := f.objects.Get(t.Context(), "entrepot/one/access/robots/ci"); err != nil {
		t.Errorf("the robot is not in the bucket: %v", err)
	}
	elsewhere.want("freed blobs: 1 of 5 B", "gc", "--grace", "0s")
	if status, _ := server.ask(http.MethodGet, "/v2/app/blobs/"+digest.FromString("layer").String(), ""); status != http.StatusNotFound {
		t.Errorf("what another process has collected: %d", status)
	}
	server.want("freed blobs: 0", "gc") // over the socket
}

func TestNoBucketWherePushesCouldBeLost(t *testing.T) {
	f := newFakeS3(t)
	f.fails(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-Match")
		r.Header.Del("If-None-Match")
		return false
	})
	var errs strings.Builder
	env := environment(append(f.environment(), "DATA="+t.TempDir(), "LISTEN=127.0.0.1:0", "ADMIN_LISTEN=off")...)
	code := run(context.Background(), invocation{environment: env, out: io.Discard, errs: &errs})
	last := errs.String()[strings.LastIndex(strings.TrimSpace(errs.String()), "\n")+1:]
	if code != exitUsage || !strings.Contains(last, "ENTREPOT_S3_BUCKET: ") || !strings.Contains(last, "pushes could be lost") || !strings.Contains(last, "If-None-Match") {
		t.Errorf("code %d, %s", code, last)
	}
}

func TestABucketThatDoesNotAnswerKeepsNobodyFromTheCache(t *testing.T) {
	f, u := newFakeS3(t), newUpstreamRegistry(t)
	f.fails(overloaded)
	r := f.startOn(t, "UPSTREAMS=docker.io="+u.URL)
	r.pull(u)
	status, header := r.ask(http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest.FromString("layer").String(), "layer")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("push: %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	if status, _ := r.ask(http.MethodGet, "/v2/app/manifests/1", ""); status != http.StatusServiceUnavailable {
		t.Errorf("pull of what is hosted: %d", status)
	}
	r.pull(u)

	f.fails(nil)
	for deadline := time.Now().Add(30 * time.Second); status != http.StatusCreated && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		status = r.pushBlob("app", "layer")
	}
	if status != http.StatusCreated {
		t.Errorf("push after S3 came back: %d", status)
	}
}

func TestWhatWasPushedWithoutABucketIsMissed(t *testing.T) {
	f := newFakeS3(t)
	data := t.TempDir()
	open(t, data, func(s *stored) { pushImage(t, s.hosted.Repo("app"), "1", []byte("layer")) })
	c := load(t, append(f.environment(), "DATA="+data, "DISK_SIZE=64MiB")...)
	var log strings.Builder
	s, err := openStored(c, unseenCounts(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "is not served while there is a bucket") {
		t.Errorf("the log says %q", &log)
	}
	if left, err := os.ReadDir(filepath.Join(data, "spool")); err != nil || len(left) > 0 {
		t.Errorf("spool: %v %v", left, err)
	}
}
