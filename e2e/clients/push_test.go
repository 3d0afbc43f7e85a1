package clients

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// hosting is a running server as clients see it that push to it: through a recorder. It hosts the names of one element and
// those below team.
type hosting struct {
	*recorder
	server *server.Server
	as     account // who looks at what was pushed
}

// newHosting runs the server. Without upstreams it stands in front of a Docker Hub that must never be asked. The server may
// fail no request of the test.
func newHosting(t *testing.T, upstreams ...upstream) hosting {
	t.Helper()
	o := server.Options{Env: map[string]string{"HOSTED": "team", "ACCESS_LOG": "on", "TAG_TTL": "1ms"}}
	for _, u := range upstreams {
		o.Upstreams = append(o.Upstreams, server.Upstream{Host: u.host, URL: u.URL(), CA: u.CAFile()})
	}
	if len(upstreams) == 0 {
		hub := fakehub.New(t, fakehub.Options{})
		o.Upstreams = []server.Upstream{{Host: "docker.io", URL: hub.URL()}}
		t.Cleanup(func() {
			if asked := hub.Requests(); len(asked) > 0 {
				t.Errorf("docker.io was asked %d times, first %s %s", len(asked), asked[0].Method, asked[0].URI)
			}
		})
	}
	s := server.Start(t, o)
	h := hosting{recorder: newRecorder(t, s.Addr), server: s}
	t.Cleanup(func() { h.wantNoFailures(t) })
	return h
}

// ref is the full name of "team/app:1".
func (h hosting) ref(name string) string { return h.addr + "/" + name }

// mirror is the server for clients that are set up to pull through it as well.
func (h hosting) mirror() mirror { return mirror{h.relay, h.server} }

// wantNoFailures reads the server's log, and prints the conversation of a test that failed.
func (h hosting) wantNoFailures(t *testing.T) {
	t.Helper()
	failed := regexp.MustCompile(`(?m)^.*( status=5\d\d |level=ERROR).*$`)
	if lines := failed.FindAllString(h.server.Log(), 5); lines != nil {
		t.Errorf("the server failed:\n%s", strings.Join(lines, "\n"))
	}
	if !t.Failed() {
		return
	}
	for _, e := range h.exchanges(t) {
		t.Logf("%s %s?%s Content-Range=%q, %d bytes: %d", e.method, e.path, e.query.Encode(), e.header.Get("Content-Range"), e.sent, e.status)
	}
}

// pushes are the blobs that came by uploads and by mounts since the last reset, and how often each did.
func (h hosting) pushes(t *testing.T) (uploaded, mounted map[digest.Digest]int) {
	t.Helper()
	uploaded, mounted = map[digest.Digest]int{}, map[digest.Digest]int{}
	for _, e := range h.exchanges(t) {
		if e.status != http.StatusCreated || !strings.Contains(e.path, "/blobs/uploads/") {
			continue
		}
		if d := e.query.Get("mount"); d != "" {
			mounted[digest.Digest(d)]++
		} else {
			uploaded[digest.Digest(e.query.Get("digest"))]++
		}
	}
	return uploaded, mounted
}

// wantUploaded checks that exactly these blobs were uploaded since the last reset, each once.
func (h hosting) wantUploaded(t *testing.T, want ...ocispec.Descriptor) {
	t.Helper()
	uploaded, _ := h.pushes(t)
	for _, d := range want {
		if n := uploaded[d.Digest]; n != 1 {
			t.Errorf("%s was uploaded %d times, want once", d.Digest, n)
		}
		delete(uploaded, d.Digest)
	}
	for d, n := range uploaded {
		t.Errorf("%s was uploaded %d times, want never", d, n)
	}
}

// wantMounted checks that these blobs were mounted since the last reset, and not uploaded.
func (h hosting) wantMounted(t *testing.T, want ...ocispec.Descriptor) {
	t.Helper()
	uploaded, mounted := h.pushes(t)
	for _, d := range want {
		if mounted[d.Digest] == 0 || uploaded[d.Digest] > 0 {
			t.Errorf("%s was mounted %d times and uploaded %d times", d.Digest, mounted[d.Digest], uploaded[d.Digest])
		}
	}
}

// wantTags checks the tags of a repository.
func (h hosting) wantTags(t *testing.T, repo string, want ...string) {
	t.Helper()
	var list struct {
		Name string
		Tags []string
	}
	h.get(t, "/v2/"+repo+"/tags/list", http.StatusOK, &list)
	if list.Name != repo || !slices.Equal(list.Tags, want) {
		t.Errorf("%s has tags %q of %q, want %q", repo, list.Tags, list.Name, want)
	}
}

// wantReferrers checks the artifact types of what refers to a manifest.
func (h hosting) wantReferrers(t *testing.T, repo string, subject digest.Digest, want ...string) {
	t.Helper()
	var index ocispec.Index
	h.get(t, "/v2/"+repo+"/referrers/"+subject.String(), http.StatusOK, &index)
	types := map[string]bool{}
	for _, d := range index.Manifests {
		types[d.ArtifactType] = true
	}
	if got := slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Errorf("%s has referrers of types %q, want %q", subject, got, want)
	}
}

// wantGone checks that a manifest is not there.
func (h hosting) wantGone(t *testing.T, repo, ref string) {
	t.Helper()
	h.get(t, "/v2/"+repo+"/manifests/"+ref, http.StatusNotFound, nil)
}

// wantLines checks what a client printed.
func wantLines(t *testing.T, got string, want ...string) {
	t.Helper()
	if lines := strings.Fields(got); !slices.Equal(lines, want) {
		t.Errorf("the client printed %q, want %q", lines, want)
	}
}
