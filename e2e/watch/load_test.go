package watch

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"

// site is two servers with users, each with what it holds, in front of one fake Hub that names a limit.
type site struct {
	t        *testing.T
	hub      *fakehub.Hub
	old, new fakehub.Image // of library/app, tags 1 and 2
	busy     *server.Server
	other    *server.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, hub: fakehub.New(t, fakehub.Options{RateLimit: 100}), old: fakehub.NewImage(fakehub.Spec{Layers: []int64{3 << 20, 70_000}}),
		new: fakehub.NewImage(fakehub.Spec{Layers: []int64{1 << 20, 5_000}, Seed: 1})}
	s.hub.Repo("library/app").AddImage(s.old, "1")
	s.hub.Repo("library/app").AddImage(s.new, "2")
	users := filepath.Join(t.TempDir(), "users")
	cmd := exec.Command(server.Binary(t), "htpasswd", "--file", users, "alice")
	cmd.Env, cmd.Stdin = []string{"PATH=" + os.Getenv("PATH")}, strings.NewReader("right\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("entrepot htpasswd: %v\n%s", err, out)
	}
	options := server.Options{
		Upstreams: []server.Upstream{{Host: "docker.io", URL: s.hub.URL()}},
		Env:       map[string]string{"HTPASSWD": users, "HOSTED": "team", "TAG_TTL": "1ms", "NEGATIVE_TTL": "0s"},
	}
	s.busy, s.other = server.Start(t, options), server.Start(t, options)
	return s
}

// do asks a server as alice and checks the status.
func (s *site) do(at *server.Server, method, path string, body []byte, want int, header ...string) *http.Response {
	s.t.Helper()
	resp, answer := s.ask(at, method, path, body, header...)
	if resp.StatusCode != want {
		s.t.Fatalf("%s %s: status %d, want %d: %.300s", method, path, resp.StatusCode, want, answer)
	}
	return resp
}

// ask reads the body to its end.
func (s *site) ask(at *server.Server, method, path string, body []byte, header ...string) (*http.Response, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, at.URL+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth("alice", "right")
	req.Header.Set("Accept", accept)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, answer
}

// pull asks for a tag and what its image is made of.
func (s *site) pull(at *server.Server, repo, tag string, img fakehub.Image) *http.Response {
	s.t.Helper()
	head := s.do(at, http.MethodHead, "/v2/"+repo+"/manifests/"+tag, nil, http.StatusOK)
	s.do(at, http.MethodGet, "/v2/"+repo+"/manifests/"+img.Manifest.Digest.String(), nil, http.StatusOK)
	for _, b := range img.Blobs() {
		s.do(at, http.MethodGet, "/v2/"+repo+"/blobs/"+b.Digest.String(), nil, http.StatusOK)
	}
	return head
}

// push sends an image as docker does: blobs by POST, PATCH and PUT, then the manifest.
func (s *site) push(at *server.Server, repo, tag string, img fakehub.Image) {
	s.t.Helper()
	for _, b := range img.Blobs() {
		content := make([]byte, b.Size)
		if _, err := b.Content.ReadAt(content, 0); err != nil && err != io.EOF {
			s.t.Fatal(err)
		}
		begun := s.do(at, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil, http.StatusAccepted)
		sent := s.do(at, http.MethodPatch, s.location(begun), content, http.StatusAccepted, "Content-Type", "application/octet-stream")
		s.do(at, http.MethodPut, withDigest(s.location(sent), b.Digest), nil, http.StatusCreated)
	}
	s.do(at, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, img.Manifest.Bytes, http.StatusCreated, "Content-Type", img.Manifest.MediaType)
}

func (s *site) location(resp *http.Response) string {
	s.t.Helper()
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || u.Path == "" {
		s.t.Fatalf("Location %q: %v", resp.Header.Get("Location"), err)
	}
	return u.RequestURI()
}

func withDigest(path string, d digest.Digest) string {
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	return path + separator + "digest=" + url.QueryEscape(d.String())
}

// run runs a command beside the busy server.
func (s *site) run(args ...string) {
	s.t.Helper()
	if out, code := s.busy.Run(args...); code != 0 {
		s.t.Fatalf("entrepot %q: exit code %d\n%s", args, code, out)
	}
}

// load is a short day: each step is scraped before the next one. What is to be seen in a rate happens twice, for a series
// that begins at its first event shows none.
func (s *site) load(scraped func()) {
	s.t.Helper()
	for _, step := range []func(){
		func() { s.pull(s.busy, "library/app", "1", s.old); s.pull(s.other, "library/app", "2", s.new) }, // cold
		func() { s.pull(s.busy, "library/app", "1", s.old) },                                             // warm
		func() { s.push(s.busy, "team/app", "1", s.new) },
		func() { s.push(s.busy, "team/app", "2", s.old) },
		func() { s.pull(s.busy, "team/app", "1", s.new); s.delete("2"); s.failures() },
		func() { s.pull(s.busy, "team/app", "1", s.new); s.delete("1"); s.failures() },
		s.outage,
		func() { s.run("gc") },
		func() { s.run("verify") },
		func() { s.pull(s.busy, "library/app", "1", s.old) },
	} {
		step()
		scraped()
	}
}

func (s *site) delete(tag string) {
	s.t.Helper()
	s.do(s.busy, http.MethodDelete, "/v2/team/app/manifests/"+tag, nil, http.StatusAccepted)
}

func (s *site) failures() {
	s.t.Helper()
	s.do(s.busy, http.MethodGet, "/v2/team/app/manifests/none", nil, http.StatusNotFound)
	s.do(s.busy, http.MethodGet, "/v2/library/app/manifests/none", nil, http.StatusNotFound)
	s.do(s.busy, http.MethodGet, "/v2/team/app/manifests/1", nil, http.StatusUnauthorized, "Authorization", "Basic YWxpY2U6d3Jvbmc=") // alice:wrong
}

// outage is an upstream that is down for a moment.
func (s *site) outage() {
	s.t.Helper()
	s.hub.Down()
	stale := s.pull(s.busy, "library/app", "1", s.old)
	if !strings.HasPrefix(stale.Header.Get("Warning"), "299") {
		s.t.Errorf("while upstream is down: Warning %q", stale.Header.Get("Warning"))
	}
	if missing, answer := s.ask(s.busy, http.MethodGet, "/v2/library/app/manifests/2", nil); missing.StatusCode < 500 {
		s.t.Errorf("what is not cached, while upstream is down: status %d: %.300s", missing.StatusCode, answer)
	}
	if err := s.hub.Up(); err != nil {
		s.t.Fatal(err)
	}
}
