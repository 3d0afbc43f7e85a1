package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

func TestWaysToNameAnUpstream(t *testing.T) {
	hub, gcr := fakehub.New(t, fakehub.Options{}), fakehub.New(t, fakehub.Options{TLS: true})
	inHub, inGCR := images()
	hub.Repo("library/app").AddImage(inHub, "1")
	hub.Repo("team/app").AddImage(inHub, "1")
	gcr.Repo("proj/sub/app").AddImage(inGCR, "1")
	o := siteOptions(hub, "HOSTS", "gcr.mirror.corp=gcr.io")
	o.Upstreams = append(o.Upstreams, server.Upstream{Host: "gcr.io", URL: gcr.URL(), CA: gcr.CAFile()})
	s := server.Start(t, o)
	c := newClient(t, s)
	for _, q := range []struct {
		path      string
		host      string
		want      *fakehub.Image // nil: 404
		namespace string
	}{
		{"library/app/manifests/1", "", &inHub, ""},
		{"team/app/manifests/1", "", &inHub, ""},
		{"library/app/manifests/1?ns=docker.io", "", &inHub, "docker.io"},
		{"library/app/manifests/1?ns=registry-1.docker.io", "", &inHub, "*"},
		{"app/manifests/1?ns=docker.io", "", &inHub, "docker.io"},
		{"docker.io/library/app/manifests/1", "", &inHub, ""},
		{"docker.io/app/manifests/1", "", &inHub, ""},
		{"proj/sub/app/manifests/1?ns=gcr.io", "", &inGCR, "gcr.io"},
		{"gcr.io/proj/sub/app/manifests/1", "", &inGCR, ""},
		{"proj/sub/app/manifests/1", "gcr.mirror.corp", &inGCR, ""},
		{"proj/sub/app/manifests/1", "", nil, ""},
		{"app/manifests/1", "", nil, ""},
		{"library/app/manifests/1?ns=evil.example", "", nil, ""},
		{"evil.example/library/app/manifests/1", "", nil, ""},
	} {
		t.Run(q.path+" "+q.host, func(t *testing.T) {
			var header []string
			if q.host != "" {
				header = []string{"Host", q.host}
			}
			a := c.get("/v2/"+q.path, nil, header...)
			if q.want == nil {
				if a.status != 404 {
					t.Errorf("status %d, want 404", a.status)
				}
				return
			}
			if err := a.right(fakehub.Bytes(q.want.Manifest.Bytes)); err != nil || string(a.body) != string(q.want.Manifest.Bytes) {
				t.Errorf("%v", err)
			}
			if got := a.header.Get("OCI-Namespace"); q.namespace == "*" && got == "" || q.namespace != "*" && got != q.namespace && q.namespace != "" {
				t.Errorf("OCI-Namespace %q, want %q", got, q.namespace)
			}
		})
	}
}

func TestPing(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	a := s.client.get("/v2/", nil)
	if a.status != 200 || a.header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if n := s.hub.Count(); n != 0 {
		t.Errorf("a ping cost upstream %d requests", n)
	}
}

func TestPathsOutsideTheGrammarTouchNothing(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	for _, path := range []string{
		"/v2/library/app/blobs/sha256:../../../etc/passwd", "/v2/library/app/blobs/sha256:short", "/v2/library/app/blobs/sha256:" + strings.Repeat("A", 64),
		"/v2/library/%2e%2e/manifests/1", "/v2/library/app/manifests/%00", "/v2/Library/App/manifests/1", "/v2/library//app/manifests/1",
		"/v2/library/app/manifests/" + strings.Repeat("x", 129), "/v2/" + strings.Repeat("a/", 200) + "b/manifests/1", "/nothing", "/v2/..%2f..%2fetc",
	} {
		a := s.client.get(path, nil)
		if a.status != 400 && a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if n := s.hub.Count(); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
}

func TestListsComeFromUpstreamAndFromTheCacheWithoutIt(t *testing.T) {
	s := newSite(t, fakehub.Options{}, "TAG_TTL", "1ms", "NEGATIVE_TTL", "0s")
	img, _ := images()
	repo := s.hub.Repo("library/app")
	repo.AddImage(img, "c", "a", "b")
	tags := func(query string) (string, string) {
		a := s.client.get("/v2/library/app/tags/list"+query, nil)
		var list struct{ Tags []string }
		json.Unmarshal(a.body, &list)
		return fmt.Sprint(list.Tags), a.header.Get("Link")
	}
	if got, link := tags(""); got != "[a b c]" || link != "" {
		t.Errorf("tags %s, Link %q", got, link)
	}
	if got, link := tags("?n=2"); got != "[a b]" || !strings.Contains(link, "last=b") || !strings.Contains(link, `rel="next"`) {
		t.Errorf("first page %s, Link %q", got, link)
	}
	if got, link := tags("?n=2&last=b"); got != "[c]" || link != "" {
		t.Errorf("last page %s, Link %q", got, link)
	}
	s.wantPull("library/app", "b", img)
	s.hub.Down()
	s.eventually(10e9, "the tag list has what is cached", func() bool { got, _ := tags(""); return got == "[b]" })
	a := s.client.get("/v2/_catalog?ns=docker.io", nil)
	if a.status != 200 || !strings.Contains(string(a.body), "library/app") {
		t.Errorf("catalog: %d %s", a.status, a.body)
	}
}

func TestReferrersByAPIAndByFallbackTag(t *testing.T) {
	for name, o := range map[string]fakehub.Options{"API": {}, "fallback tag": {NoReferrers: true}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, o)
			img, _ := images()
			repo := s.hub.Repo("library/app")
			repo.AddImage(img, "1")
			signature := fakehub.NewArtifact(img.Manifest.Descriptor, "application/signature", []byte("signed"))
			repo.AddReferrer(img.Manifest.Digest, signature)
			repo.AddReferrer(img.Manifest.Digest, fakehub.NewArtifact(img.Manifest.Descriptor, "application/sbom", []byte("parts")))
			for query, want := range map[string]int{"": 2, "?artifactType=application/signature": 1, "?artifactType=other": 0} {
				a := s.client.get("/v2/library/app/referrers/"+img.Manifest.Digest.String()+query, nil)
				var index ocispec.Index
				if err := json.Unmarshal(a.body, &index); err != nil || a.status != 200 || len(index.Manifests) != want {
					t.Errorf("%q: %d, %d manifests, %v; want %d", query, a.status, len(index.Manifests), err, want)
				}
				if filtered := a.header.Get("OCI-Filters-Applied"); query != "" && filtered != "artifactType" {
					t.Errorf("%q: OCI-Filters-Applied %q", query, filtered)
				}
			}
			s.wantPull("library/app", signature.Manifest.Digest.String(), signature)
			none := s.client.get("/v2/library/app/referrers/"+signature.Manifest.Digest.String(), nil)
			if none.status != 200 || !strings.Contains(string(none.body), `"manifests"`) {
				t.Errorf("no referrers: %d %s; want 200 and an empty index", none.status, none.body)
			}
		})
	}
}

func TestOnlyTheArchitectureAskedForIsFetched(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	amd := fakehub.NewImage(fakehub.Spec{Layers: []int64{500_000}, Seed: 1})
	arm := fakehub.NewImage(fakehub.Spec{Layers: []int64{500_000}, Seed: 2, Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}})
	both := []fakehub.Image{amd, arm}
	index := fakehub.NewIndex(true, both...)
	s.hub.Repo("library/app").AddIndex(index, both, "1")
	a := s.client.get(manifestPath("library/app", "1"), fakehub.Bytes(index.Bytes))
	if err := a.right(fakehub.Bytes(index.Bytes)); err != nil || a.header.Get("Content-Type") != fakehub.DockerList {
		t.Fatalf("index: %v, %q", err, a.header.Get("Content-Type"))
	}
	s.wantPull("library/app", amd.Manifest.Digest.String(), amd)
	s.wantOnce(amd.Blobs()...)
	if n := s.hub.Served(arm.Manifest.Digest).Bytes + s.hub.BlobBytes(arm.Blobs()...); n != 0 {
		t.Errorf("%d bytes of the other architecture were fetched", n)
	}
}

func TestSHA512(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{500_000, 10_000_000}, Algorithm: "sha512"})
	s.hub.Repo("library/app").AddImage(img)
	s.wantPull("library/app", img.Manifest.Digest.String(), img)
	s.hub.Down()
	s.wantPull("library/app", img.Manifest.Digest.String(), img)
}

func TestPrivateUpstreamRepositories(t *testing.T) {
	for _, c := range []struct {
		name, password, private string
		status                  int
	}{
		{"without credentials", "", "check", 403},
		{"what the anonymous cannot read is not handed to them", "secret", "check", 403},
		{"unless the configuration says so", "secret", "allow", 200},
		{"a credential that is refused for everything is an outage", "wrong", "allow", 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			hub := fakehub.New(t, fakehub.Options{})
			hub.AddUser("robot", "secret")
			img, _ := images()
			hub.Repo("team/app").AddImage(img, "1")
			hub.Repo("team/app").Private("robot")
			hub.Repo("library/app").AddImage(img, "1")
			o := siteOptions(hub, "UPSTREAM_0_PRIVATE", c.private, "UPSTREAM_0_TOKEN_HOSTS", hub.HostAddr(fakehub.Token))
			if c.password != "" {
				o.Upstreams[0].Username, o.Upstreams[0].Password = "robot", c.password
			}
			server := server.Start(t, o)
			s := site{T: t, hub: hub, server: server, client: newClient(t, server)}
			a := s.client.get(manifestPath("team/app", "1"), nil)
			if a.status != c.status || a.header.Get("Www-Authenticate") != "" {
				t.Errorf("status %d, challenge %q: %s; want %d and none", a.status, a.header.Get("Www-Authenticate"), a.body, c.status)
			}
			if c.status == 200 {
				s.wantPull("team/app", "1", img)
			}
			s.wantPull("library/app", "1", img) // a public image comes with any credential, or none
		})
	}
}

// listener notes every request, as whoever fishes for credentials would.
type listener struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newListener(t *testing.T) *listener {
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		l.mu.Lock()
		l.seen = append(l.seen, string(dump))
		l.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"token":"foreign","expires_in":300}`)
	}))
	t.Cleanup(l.Close)
	return l
}

func TestCredentialsGoNowhereElse(t *testing.T) {
	const password = "s3cr3t-planted"
	for name, fault := range map[string]func(address string) fakehub.Fault{
		"a foreign realm":    func(a string) fakehub.Fault { return fakehub.Fault{Do: fakehub.Challenge(a + "/token")} },
		"a redirected token": func(a string) fakehub.Fault { return fakehub.Fault{Kind: fakehub.KindToken, Do: fakehub.Redirect(a)} },
		"a redirected blob":  func(a string) fakehub.Fault { return fakehub.Fault{Kind: fakehub.KindBlobGet, Do: fakehub.Redirect(a)} },
		"redirected manifest": func(a string) fakehub.Fault {
			return fakehub.Fault{Kind: fakehub.KindManifestGet, Do: fakehub.Redirect(a)}
		},
		"a redirected HEAD": func(a string) fakehub.Fault {
			return fakehub.Fault{Kind: fakehub.KindManifestHead, Do: fakehub.Redirect(a)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			thief := newListener(t)
			hub := fakehub.New(t, fakehub.Options{})
			hub.AddUser("robot", password)
			img, _ := images()
			hub.Repo("library/app").AddImage(img, "1")
			o := siteOptions(hub, "UPSTREAM_0_TOKEN_HOSTS", hub.HostAddr(fakehub.Token), "UPSTREAM_0_PRIVATE", "allow", "LOG_LEVEL", "DEBUG")
			o.Upstreams[0].Username, o.Upstreams[0].Password = "robot", password
			s := server.Start(t, o)
			c := newClient(t, s)
			injected := hub.Inject(fault(thief.URL))
			for _, path := range []string{manifestPath("library/app", "1"), blobPath("library/app", img.Layers[0].Digest)} {
				c.get(path, nil)
			}
			if injected.Hits() == 0 {
				t.Error("the fault did not strike")
			}
			thief.mu.Lock()
			defer thief.mu.Unlock()
			secrets := []string{password, base64.StdEncoding.EncodeToString([]byte("robot:" + password)), "Authorization", "Cookie"}
			for _, request := range thief.seen {
				for _, secret := range secrets {
					if strings.Contains(request, secret) {
						t.Errorf("%s came to a foreign host: %s", secret, request)
					}
				}
			}
			for _, secret := range append(secrets[:2], "Bearer ", "signature=") {
				if strings.Contains(s.Log(), secret) {
					t.Errorf("the log has %s", secret)
				}
			}
		})
	}
}
