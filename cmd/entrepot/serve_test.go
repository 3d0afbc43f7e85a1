package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// upstreamRegistry holds team/app:1, an image of one blob, and counts what it is asked.
type upstreamRegistry struct {
	*httptest.Server
	blob     []byte
	requests atomic.Int64
}

func newUpstreamRegistry(t *testing.T) *upstreamRegistry {
	u := &upstreamRegistry{blob: bytes.Repeat([]byte("layer"), 300<<10)}
	manifest, err := json.Marshal(ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{
		{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(u.blob), Size: int64(len(u.blob))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	serve := func(path, mediaType string, content []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			u.requests.Add(1)
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Docker-Content-Digest", digest.FromBytes(content).String())
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		})
	}
	serve("/v2/team/app/manifests/1", ocispec.MediaTypeImageManifest, manifest)
	serve("/v2/team/app/manifests/"+digest.FromBytes(manifest).String(), ocispec.MediaTypeImageManifest, manifest)
	serve("/v2/team/app/blobs/"+digest.FromBytes(u.blob).String(), "application/octet-stream", u.blob)
	u.Server = httptest.NewServer(mux)
	t.Cleanup(u.Close)
	return u
}

// running is a server in this process, as main would start it.
type running struct {
	t           *testing.T
	environment map[string]string
	url, admin  string
	stop        func() int // ends the server and gives its exit code
}

func start(t *testing.T, pairs ...string) *running {
	t.Helper()
	env := environment(append([]string{"LISTEN=127.0.0.1:0", "ADMIN_LISTEN=127.0.0.1:0", "LOG_FORMAT=json", "DISK_SIZE=64MiB", "MIN_FREE=0", "MEMORY_SIZE=8MiB"}, pairs...)...)
	log, writer := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() { // until stop
		code <- run(ctx, invocation{environment: env, out: io.Discard, errs: writer})
		writer.Close()
	}()
	r := &running{t: t, environment: env, stop: func() int { cancel(); c := <-code; code <- c; return c }}
	t.Cleanup(func() { r.stop() })
	r.awaitAddresses(log)
	return r
}

// awaitAddresses reads the log up to the line that says where the server listens, and drops the rest as it comes.
func (r *running) awaitAddresses(log io.Reader) {
	r.t.Helper()
	var seen strings.Builder
	lines := json.NewDecoder(io.TeeReader(log, &seen))
	for {
		var line struct{ Msg, Address, Admin string }
		if err := lines.Decode(&line); err != nil {
			go io.Copy(io.Discard, log) // until the server ends, which else would wait for a reader
			r.t.Fatalf("the server did not start: %v\n%s", err, &seen)
		}
		if line.Msg == "serving" {
			r.url, r.admin = "http://"+line.Address, "http://"+line.Admin
			r.environment[prefix+"ADMIN_LISTEN"] = line.Admin // for healthcheck
			go io.Copy(io.Discard, log)                       // until the server ends
			return
		}
	}
}

func (r *running) get(url string) (int, []byte) {
	r.t.Helper()
	response, err := http.Get(url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, body
}

// command runs another command with the server's environment.
func (r *running) command(args ...string) (code int, out, errs string) {
	var o, e strings.Builder
	code = run(context.Background(), invocation{args: args, environment: r.environment, out: &o, errs: &e})
	return code, o.String(), e.String()
}

// want fails unless the command succeeds and prints the text, or prints nothing at all where the text is empty.
func (r *running) want(text string, args ...string) {
	r.t.Helper()
	code, out, errs := r.command(args...)
	if code != exitOK || !strings.Contains(out, text) || (text == "") != (out == "") {
		r.t.Errorf("%v: code %d, printed %q and %q; want %q", args, code, out, errs, text)
	}
}

func (r *running) pull(u *upstreamRegistry) {
	r.t.Helper()
	if code, body := r.get(r.url + "/v2/team/app/manifests/1"); code != 200 {
		r.t.Fatalf("manifest: %d %s", code, body)
	}
	code, body := r.get(r.url + "/v2/team/app/blobs/" + digest.FromBytes(u.blob).String())
	if code != 200 || !bytes.Equal(body, u.blob) {
		r.t.Fatalf("blob: %d, %d bytes", code, len(body))
	}
}

func TestPullListPurge(t *testing.T) {
	u := newUpstreamRegistry(t)
	data := filepath.Join(t.TempDir(), "data")
	r := start(t, "DATA="+data, "UPSTREAMS=docker.io="+u.URL)
	r.pull(u)
	asked := u.requests.Load()
	r.pull(u)
	if again := u.requests.Load(); again != asked {
		t.Errorf("the second pull asked upstream %d times", again-asked)
	}
	if _, text := r.get(r.admin + "/metrics"); !strings.Contains(string(text), `entrepot_http_requests_total{registry="docker.io",route="blob",status="200"`) {
		t.Errorf("the pull is not counted:\n%s", text)
	}
	if info, err := os.Stat(filepath.Join(data, "entrepot.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}

	r.want("docker.io/team/app  1    sha256:", "ls")
	r.want("docker.io/team/app  1    sha256:", "ls", "team/app")
	r.want("", "ls", "--json", "team/other")
	r.want("", "healthcheck")
	r.want(`{"repository":"docker.io/team/app","tags":1,"digests":2}`, "purge", "--json", "team/app:1")
	r.want("", "ls", "--json")
	r.pull(u)
	if u.requests.Load() == asked {
		t.Error("after the purge nothing was fetched again")
	}

	if code := r.stop(); code != exitOK {
		t.Fatalf("the server ended with %d", code)
	}
	if code, _, _ := r.command("healthcheck"); code != exitFailed {
		t.Errorf("healthcheck without a server: %d", code)
	}
	r.want("docker.io/team/app", "ls", "--json") // now from the directory
	r.want("forgot tags: 1, manifests and blobs: 2", "purge", "docker.io/team/app")
	r.want("", "ls", "--json")
}

func TestWhatWasCachedIsServedAfterARestartWithUpstreamGone(t *testing.T) {
	u := newUpstreamRegistry(t)
	data := "DATA=" + t.TempDir()
	r := start(t, data, "UPSTREAMS=docker.io="+u.URL)
	r.pull(u)
	if code := r.stop(); code != exitOK {
		t.Fatalf("the server ended with %d", code)
	}
	u.Close()
	start(t, data, "UPSTREAMS=docker.io="+u.URL).pull(u)
}

func TestWithoutDiskAndMemoryPullsStillPass(t *testing.T) {
	u := newUpstreamRegistry(t)
	start(t, "DATA="+t.TempDir(), "UPSTREAMS=docker.io="+u.URL, "DISK_SIZE=0", "MEMORY_SIZE=0").pull(u)
}

func TestOneServerForOneDirectory(t *testing.T) {
	r := start(t, "DATA="+t.TempDir())
	code, _, errs := r.command("serve")
	if code != exitFailed || !strings.Contains(errs, "in use by another process") {
		t.Errorf("second server: %d %s", code, errs)
	}
	if code, _ := r.get(r.url + "/v2/"); code != 200 {
		t.Errorf("the first server answers %d", code)
	}
}

func TestTheServerSaysWhatItIs(t *testing.T) {
	r := start(t, "DATA="+t.TempDir(), "ADMIN_LISTEN=off")
	r.environment[prefix+"ADMIN_LISTEN"] = "off"
	r.want("", "healthcheck") // over the socket
	r.want(fmt.Sprint(build()), "version")
	r.want("ENTREPOT_ADMIN_LISTEN=off\n", "config")
}

func TestToWhomAnAddressIsOpen(t *testing.T) {
	for name, c := range map[string]struct {
		env        []string
		pull, push bool
	}{
		"this machine":             {[]string{"LISTEN=127.0.0.1:5000"}, false, false},
		"everybody":                {[]string{"LISTEN=:5000"}, true, true},
		"everybody, read-only":     {[]string{"LISTEN=10.0.0.1:5000", "READ_ONLY=true"}, true, false},
		"holders of a certificate": {[]string{"LISTEN=:5000", "TLS_CLIENT_CA=ca.pem", "TLS_CERT=c.pem", "TLS_KEY=k.pem"}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			a := application{log: slog.New(slog.NewTextHandler(&log, nil))}
			a.warnOfClients(load(t, c.env...))
			if got := strings.Contains(log.String(), "may pull"); got != c.pull {
				t.Errorf("warned of pulls: %v\n%s", got, &log)
			}
			if got := strings.Contains(log.String(), "may push"); got != c.push {
				t.Errorf("warned of pushes: %v\n%s", got, &log)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want int
	}{
		"help":                          {[]string{"--help"}, nil, exitOK},
		"an unknown command":            {[]string{"server"}, nil, exitUsage},
		"an argument too many":          {[]string{"serve", "now"}, nil, exitUsage},
		"an unknown flag":               {[]string{"ls", "--yaml"}, nil, exitUsage},
		"purge of nothing":              {[]string{"purge"}, nil, exitUsage},
		"a mistake in a variable":       {[]string{"serve"}, environment("TAG_TTL=5"), exitUsage},
		"a bucket that cannot be one":   {[]string{"serve"}, environment("S3_BUCKET=a/b", "S3_REGION=eu", "DATA="+t.TempDir()), exitUsage},
		"a CA file that is not there":   {[]string{"serve"}, environment("UPSTREAM_0_HOST=gcr.io", "UPSTREAM_0_CA=/does/not/exist"), exitUsage},
		"an address that is not ours":   {[]string{"serve"}, environment("LISTEN=192.0.2.1:5000", "DATA="+t.TempDir()), exitFailed},
		"a certificate that is missing": {[]string{"serve"}, environment("TLS_CERT=/no", "TLS_KEY=/no", "DATA="+t.TempDir()), exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			var errs strings.Builder
			if c.env == nil {
				c.env = environment()
			}
			if got := run(context.Background(), invocation{args: c.args, environment: c.env, out: io.Discard, errs: &errs}); got != c.want {
				t.Errorf("code %d, want %d: %s", got, c.want, &errs)
			}
		})
	}
}
