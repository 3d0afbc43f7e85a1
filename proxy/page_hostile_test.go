package proxy

import (
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Host header is the client's to choose, and is shown in commands to copy.
func TestAHostileHostIsNotShown(t *testing.T) {
	s := startPush(t, withPage(nil))
	c := s.dial(t)
	if _, err := io.WriteString(c, "GET /ui/setup HTTP/1.1\r\nHost: x\"><b>\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || strings.Contains(string(answer), "<b>") {
		t.Errorf("%v %s", err, answer)
	}
}

// What the page says of names does not hold at a name that stands for an upstream: pulled from there, they are that one's.
func TestThereIsNoPageAtANameThatStandsForAnUpstream(t *testing.T) {
	s := startPush(t, withPage(func(o *Options) { o.Names.Hosts = map[string]string{"gcr.corp": "gcr.io"} }))
	pushDirectly(t, s, "team/a", "v1")
	for _, path := range []string{"/", "/login", "/ui/repositories", "/ui/images/team/a:v1", "/ui/setup"} {
		if res, body := s.do(t, "GET", path, "Host", "gcr.corp"); res.StatusCode != 404 || !strings.Contains(body, "stands for gcr.io") || strings.Contains(body, "docker pull") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	form := strings.NewReader(pageForm("team/a", "v1"))
	if res, _ := s.send(t, "POST", "/ui/delete", form, "Host", "gcr.corp", "Origin", "http://gcr.corp", "Content-Type", "application/x-www-form-urlencoded"); res.StatusCode != 404 {
		t.Errorf("a deletion there: %d", res.StatusCode)
	}
}

func TestALinkCannotPutWordsIntoThePage(t *testing.T) {
	s := startPush(t, withPage(nil))
	pushDirectly(t, s, "team/a", "v1")
	for deleted, shown := range map[string]bool{"v2": true, string(sha256): true, "all. Log in at https://evil.example": false, "\u202eevil": false, "<b>": false} {
		_, body := s.do(t, "GET", "/ui/repositories/team/a?deleted="+url.QueryEscape(deleted))
		if strings.Contains(body, "Deleted: ") != shown {
			t.Errorf("%q is shown: %v", deleted, !shown)
		}
	}
}

func TestStrangersReadNoNamesOfUpstreams(t *testing.T) {
	nothing := "hosted: []\nupstream:\n  - {repositories: [\"**\"], pull: [alice]}\n"
	s := startPush(t, withPage(func(o *Options) {
		o.Access = openGuard(t, "", nothing)
		o.Names.Upstreams = append(o.Names.Upstreams, "corp.example")
		o.Registries["corp.example"] = o.Registries["gcr.io"]
	}))
	for _, path := range []string{"/", "/ui/repositories", "/ui/setup", "/ui/setup?client=podman", "/ui/setup?client=containerd"} {
		if _, body := s.do(t, "GET", path); strings.Contains(body, "corp.example") {
			t.Errorf("%s tells of it:\n%s", path, body)
		}
		if _, body := s.do(t, "GET", path, "Authorization", basicAuth("alice", "secret")); path != "/ui/setup?client=containerd" && !strings.Contains(body, "corp.example") {
			t.Errorf("%s does not tell alice of it", path)
		}
	}
}

// A registry chooses what its manifests are called. The page links to them, at the origin to which a browser sends a password.
func TestNoManifestRunsScriptsInABrowser(t *testing.T) {
	f := filled()
	html := []byte(`{"mediaType":"text/html","x":"<script>alert(1)</script>"}`)
	d := digest.FromBytes(html)
	s := startPage(t, f, nil)
	for mediaType, safe := range map[string]bool{
		ocispec.MediaTypeImageManifest: true, "application/vnd.docker.distribution.manifest.list.v2+json": true, "application/x+json": true,
		"text/html": false, "application/xhtml+xml": false, "application/vnd.oci.x+xml": false, "image/svg+xml": false, "text/html;+json": false, "application/xhtml+xml; a=+json": false,
		"application/xhtml+xml,a+json": false, "text/html+json": false, "application/json": false, "": false,
	} {
		m := &cache.Manifest{MediaType: mediaType, Digest: d, Bytes: html}
		f.manifests["docker.io/library/evil:1"] = cache.Answer{Manifest: m, Tier: cache.TierDisk}
		f.hotManifests["docker.io/library/hot:1"] = m
		for _, name := range []string{"evil", "hot"} {
			for _, method := range []string{"GET", "HEAD"} {
				res, _ := s.do(t, method, "/v2/library/"+name+"/manifests/1")
				fenced := res.Header.Get("Content-Security-Policy") == "default-src 'none'; sandbox" && res.Header.Get("X-Content-Type-Options") == "nosniff"
				if res.StatusCode != 200 || fenced == safe {
					t.Errorf("%s %s as %q: %d %v", method, name, mediaType, res.StatusCode, res.Header)
				}
			}
		}
	}
}

// What an upstream lists is shown as far as it can be true.
func TestReferrersThatCannotBeAreNotShown(t *testing.T) {
	f := filled()
	m := &cache.Manifest{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("{}"), Bytes: []byte("{}")}
	f.manifests["docker.io/library/listed:1"] = cache.Answer{Manifest: m}
	f.index = ocispec.Index{Manifests: []ocispec.Descriptor{
		{Digest: "../../delete?x", ArtifactType: "leads-elsewhere"}, {ArtifactType: "of-nothing"},
		{Digest: digest.FromString("right"), ArtifactType: "right" + strings.Repeat("x", 10_000) + "end"},
	}}
	s := startPage(t, f, nil)
	res, body := s.do(t, "GET", "/ui/images/docker.io/library/listed:1")
	if res.StatusCode != 200 || !strings.Contains(body, digest.FromString("right").String()) || !strings.Contains(body, "rightxx") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	for _, text := range []string{"leads-elsewhere", "of-nothing", "delete?x", "xend"} {
		if strings.Contains(body, text) {
			t.Errorf("%s is shown", text)
		}
	}
	if a := <-s.answered; a.Kind != KindPage || a.Registry != "" || a.Hosted {
		t.Errorf("a page counts as content of an upstream: %+v", a)
	}
	if res, _ := s.do(t, "GET", "/ui/setup", "Host", ":5000"); res.StatusCode != 200 {
		t.Errorf("a Host without a name: %d", res.StatusCode)
	}
}
