package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// changes are all requests of a push and of a deletion.
func changes(repo string, m fakehub.Manifest) []struct{ method, path string } {
	d := m.Digest
	return []struct{ method, path string }{
		{http.MethodPost, uploadsPath(repo)},
		{http.MethodPost, withDigest(uploadsPath(repo), d)},
		{http.MethodPost, uploadsPath(repo) + "?mount=" + d.String()},
		{http.MethodGet, uploadsPath(repo) + "AAAA"},
		{http.MethodPatch, uploadsPath(repo) + "AAAA"},
		{http.MethodPut, withDigest(uploadsPath(repo)+"AAAA", d)},
		{http.MethodDelete, uploadsPath(repo) + "AAAA"},
		{http.MethodPut, manifestPath(repo, "latest")},
		{http.MethodPut, manifestPath(repo, d.String())},
		{http.MethodDelete, manifestPath(repo, "latest")},
		{http.MethodDelete, manifestPath(repo, d.String())},
		{http.MethodDelete, blobPath(repo, d)},
	}
}

func TestNothingIsPushedToAnUpstreamsName(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakehub.Options{}, "HOSTED", "team")
	m := fakehub.NewManifest("application/vnd.oci.image.index.v1+json", []byte(`{"schemaVersion":2,"manifests":[]}`))
	for name, remedy := range map[string]string{
		"library/app":           "ENTREPOT_HOSTED=library",
		"mine/app":              "ENTREPOT_HOSTED=mine",
		"mine/deep/app":         "ENTREPOT_HOSTED=mine",
		"docker.io/library/app": "docker.io",
		"docker.io/team/app":    "docker.io",
		"evil.example/app":      "evil.example",
	} {
		for _, q := range changes(name, m) {
			a := s.ask(q.method, q.path, m.Bytes, "Content-Type", m.MediaType)
			s.refused(q.method+" "+q.path, a, http.StatusForbidden, "DENIED")
			if !strings.Contains(string(a.body), remedy) {
				t.Errorf("%s %s: %s; want the remedy %s", q.method, q.path, a.body, remedy)
			}
		}
	}
	s.refused("by ns", s.ask(http.MethodPost, uploadsPath("mine/app")+"?ns=docker.io", nil), http.StatusForbidden, "DENIED")
	if n := s.hub.Count(); n != 0 {
		t.Errorf("upstream was asked %d times: %v", n, s.hub.Requests())
	}
}

// Upstream has the very names, with other content.
func TestHostedNamesAreNeverAskedUpstream(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakehub.Options{}, "HOSTED", "team,corp")
	theirs := fakehub.NewImage(fakehub.Spec{Layers: []int64{1000}})
	for _, name := range []string{"team/app", "team/none", "library/single", "single"} {
		s.hub.Repo(name).AddImage(theirs, "latest", "theirs")
	}
	ours := map[string]fakehub.Manifest{}
	for _, name := range []string{"team/app", "team/deep/er/app", "corp/app", "single"} {
		ours[name] = s.pushImage(name, "latest", 1)
	}
	layer, d := digest.FromBytes(noise(1, 100)), theirs.Manifest.Digest
	for _, name := range []string{"team/app", "team/none", "corp/none", "single"} {
		for _, ns := range []string{"", "?ns=docker.io", "?ns=registry-1.docker.io"} {
			if name == "single" && ns != "" {
				continue // library/single, of upstream
			}
			s.absent(manifestPath(name, "theirs")+ns, manifestPath(name, d.String())+ns, blobPath(name, theirs.Layers[0].Digest)+ns)
			s.ask(http.MethodGet, "/v2/"+name+"/tags/list"+ns, nil)
			s.ask(http.MethodGet, "/v2/"+name+"/referrers/"+d.String()+ns, nil)
			if m, pushed := ours[name]; pushed {
				s.keeps(manifestPath(name, "latest")+ns, m.Digest, m.Bytes)
				s.keeps(blobPath(name, layer)+ns, layer, noise(1, 100))
			}
		}
		for _, q := range changes(name, ours["team/app"]) {
			s.ask(q.method, q.path, ours["team/app"].Bytes, "Content-Type", ours["team/app"].MediaType)
		}
	}
	s.list("/v2/_catalog")
	if n := s.hub.Count(); n != 0 {
		t.Errorf("upstream was asked %d times: %v", n, s.hub.Requests())
	}
	a := s.ask(http.MethodGet, manifestPath("none", "latest"), nil)
	s.refused("a single element", a, http.StatusNotFound, "MANIFEST_UNKNOWN")
	if !strings.Contains(string(a.body), "library/none") {
		t.Errorf("the answer names no way to ask upstream: %s", a.body)
	}
}

func TestEveryNameIsHosted(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakehub.Options{}, "HOSTED", "*")
	s.hub.Repo("library/app").AddImage(fakehub.NewImage(fakehub.Spec{Layers: []int64{1000}}), "theirs")
	m := s.pushImage("library/app", "latest", 1)
	s.keeps(manifestPath("library/app", "latest"), m.Digest, m.Bytes)
	s.keeps(manifestPath("library/app", "latest")+"?ns=docker.io", m.Digest, m.Bytes)
	s.absent(manifestPath("library/app", "theirs"), manifestPath("library/none", "latest"), manifestPath("library/app", "theirs")+"?ns=docker.io")
	if n := s.hub.Count(); n != 0 {
		t.Errorf("upstream was asked %d times: %v", n, s.hub.Requests())
	}
}

func TestPushesComeFromNearby(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	m := s.pushImage("team/app", "latest", 1)
	for _, header := range [][2]string{
		{"X-Forwarded-For", "8.8.8.8"},
		{"X-Forwarded-For", "10.0.0.1, 8.8.8.8"},
		{"X-Forwarded-For", "8.8.8.8, 10.0.0.1"},
		{"X-Forwarded-For", "2001:4860:4860::8888"},
		{"X-Forwarded-For", "unknown"},
		{"X-Real-Ip", "8.8.8.8"},
		{"Forwarded", "for=8.8.8.8;proto=http"},
		{"Forwarded", `for=10.0.0.1, for="[2001:4860:4860::8888]:80"`},
		{"Sec-Fetch-Site", "cross-site"}, // a page in a browser that is near
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "same-origin"}, // so it seems where the page's name leads here
		{"Origin", "http://evil.example"},
		{"Origin", "null"},
	} {
		for _, q := range changes("team/app", m) {
			a := s.ask(q.method, q.path, m.Bytes, "Content-Type", m.MediaType, header[0], header[1])
			s.refused(q.method+" from "+header[1], a, http.StatusForbidden, "DENIED")
		}
		a := s.ask(http.MethodGet, manifestPath("team/app", "latest"), nil, header[0], header[1])
		s.accepted("a pull from "+header[1], a, http.StatusOK)
	}
	for _, header := range [][2]string{
		{"X-Forwarded-For", "10.1.2.3, 192.168.0.1:1234, fd00::1"},
		{"X-Real-Ip", "127.0.0.1"},
		{"Sec-Fetch-Site", "none"},
		{"Forwarded", `for="[::1]:80";proto=https, by=8.8.8.8;for=172.16.0.1`},
	} {
		s.accepted("a push from "+header[1], s.ask(http.MethodPost, uploadsPath("team/app"), nil, header[0], header[1]), http.StatusAccepted)
	}
	s.keeps(manifestPath("team/app", "latest"), m.Digest, m.Bytes)
}

func TestLocationsKeepTheNamespace(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakehub.Options{}, "HOSTED", "team")
	content := noise(1, 100)
	d := digest.FromBytes(content)
	a := s.accepted("begin", s.ask(http.MethodPost, uploadsPath("team/app")+"?ns=docker.io", nil), http.StatusAccepted)
	s.has("begin", a, "OCI-Namespace", "docker.io")
	a = s.accepted("chunk", s.ask(http.MethodPatch, s.at(a), content), http.StatusAccepted)
	a = s.accepted("commit", s.ask(http.MethodPut, withDigest(s.at(a), d), nil), http.StatusCreated)
	s.keeps(s.at(a), d, content)
	s.keepsBlob("team/app", d, content)
	if !strings.HasSuffix(s.at(a), "?ns=docker.io") {
		t.Errorf("Location %s", s.at(a))
	}
}
