package proxy

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pushDirectly puts an image into a hosted repository without asking anybody.
func pushDirectly(t *testing.T, s *running, name string, tags ...string) digest.Digest {
	t.Helper()
	repo := s.o.Hosted.Repo(name)
	config := `{"architecture":"arm64","os":"linux","created":"2020-01-02T03:04:05Z","config":{"Env":["SECRET=hush"],"Entrypoint":["/app"]}}`
	for _, blob := range []string{config, "layer"} {
		if err := repo.PushBlob(t.Context(), digest.FromString(blob), strings.NewReader(blob), int64(len(blob))); err != nil {
			t.Fatal(err)
		}
	}
	m := encoded(t, ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Annotations: map[string]string{"note": `<script>alert("x")</script>`},
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString(config), Size: int64(len(config))},
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("layer"), Size: 5}},
	})
	m = []byte(strings.Replace(string(m), `"schemaVersion":0`, `"schemaVersion":2`, 1))
	pushed, err := repo.PutManifest(t.Context(), hosted.ManifestPush{Tags: tags, MediaType: ocispec.MediaTypeImageManifest, Bytes: m, By: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return pushed.Digest
}

func TestPagesOfWhatWasPushed(t *testing.T) {
	s := startPush(t, withPage(nil))
	pushDirectly(t, s, "team/a", "v1", "v2")
	m, err := s.o.Hosted.Repo("team/a").Manifest(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/":                                      {"<h1"},
		"/ui/repositories":                       {"team/a"},
		"/ui/repositories?q=TEAM":                {"team/a"},
		"/ui/repositories/team/a":                {"v1", "v2", "linux/arm64", "/ui/images/team/a:v1"},
		"/ui/images/team/a:v1":                   {"docker pull " + s.addr + "/team/a:v1", "linux/arm64", "alice", "/app", digest.FromString("layer").String(), "SECRET"},
		"/ui/images/team/a@" + m.Digest.String(): {m.Digest.String(), "linux/arm64"},
		"/ui/space":                              {"<h1"},
		"/ui/setup":                              {"http://" + s.addr},
		"/ui/setup?client=containerd":            {"http://" + s.addr},
		"/ui/setup?client=nonsense":              {"http://" + s.addr},
	} {
		res, body := s.do(t, "GET", path)
		if res.StatusCode != 200 {
			t.Errorf("%s: %d %.300s", path, res.StatusCode, body)
		}
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s does not say %s:\n%s", path, text, body)
			}
		}
		for _, secret := range []string{"<script>alert", "hush"} {
			if strings.Contains(body, secret) {
				t.Errorf("%s says %s", path, secret)
			}
		}
		if head, _ := s.do(t, "HEAD", path); head.StatusCode != 200 || head.ContentLength != int64(len(body)) && path != "/" && path != "/ui/space" {
			t.Errorf("HEAD %s: %d, %d bytes of %d", path, head.StatusCode, head.ContentLength, len(body))
		}
	}
	if res, body := s.do(t, "GET", "/ui/repositories?q=nothing-like-it"); res.StatusCode != 200 || strings.Contains(body, "team/a") {
		t.Errorf("a search for nothing finds %d %s", res.StatusCode, body)
	}
}

// A list says of an index what its platforms say.
func TestTagsOfIndexes(t *testing.T) {
	s := startPush(t, withPage(nil))
	child := pushDirectly(t, s, "team/a")
	index := encoded(t, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{
		{MediaType: ocispec.MediaTypeImageManifest, Digest: child, Size: 1, Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64"}},
	}})
	index = []byte(strings.Replace(string(index), `"schemaVersion":0`, `"schemaVersion":2`, 1))
	if _, err := s.o.Hosted.Repo("team/a").PutManifest(t.Context(), hosted.ManifestPush{Tags: []string{"multi"}, MediaType: ocispec.MediaTypeImageIndex, Bytes: index}); err != nil {
		t.Fatal(err)
	}
	_, body := s.do(t, "GET", "/ui/repositories/team/a")
	for _, text := range []string{"multi", "linux/arm64", "2020-01-02T03:04:05Z"} {
		if !strings.Contains(body, text) {
			t.Errorf("the list does not say %s:\n%s", text, body)
		}
	}
}

func TestPagesThatAreNone(t *testing.T) {
	s := startPush(t, withPage(nil))
	for path, want := range map[string]int{
		"/ui/": 404, "/ui/nothing": 404, "/ui/assets/nothing.css": 404, "/ui/repositories/": 400, "/ui/repositories/team/none": 404, "/ui/repositories/a//b": 400,
		"/ui/repositories/team/../a": 400, "/ui/repositories/Team/A": 400, "/ui/repositories/" + strings.Repeat("a", 256): 400, "/ui/repositories/quay.example/x": 404,
		"/ui/images/": 404, "/ui/images/team/a": 404, "/ui/images/team/a:": 404, "/ui/images/team/a:no": 404, "/ui/images/team/a@sha256:12": 404, "/ui/images/team/a@v1": 404,
		"/ui/images/docker.io/library/nginx:none": 404, "/ui/repositories?in=nowhere": 404, "/ui/repositories?after=nowhere/x": 404, "/ui/repositories?q=" + strings.Repeat("x", 600): 400,
		"/ui/repositories/team/a?after=" + strings.Repeat("x", 600): 400, "/ui/%2e%2e/secret": 400, "/ui/repositories/team%2Fa": 400,
	} {
		res, body := s.do(t, "GET", path)
		if res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, res.StatusCode, want)
		}
		if res.Header.Get("Cache-Control") != "no-store" && !strings.Contains(path, "%") || strings.Contains(body, "{\"errors\"") && !strings.Contains(path, "%") {
			t.Errorf("%s: no page: %v %s", path, res.Header, body)
		}
	}
}

func TestWithoutThePageThereIsNone(t *testing.T) {
	s := startPush(t, nil)
	for _, path := range []string{"/", "/login", "/ui/repositories", "/ui/live", "/ui/delete", "/ui/assets/x"} {
		for _, method := range []string{"GET", "POST"} {
			if res, body := s.do(t, method, path, "Origin", "http://"+s.addr); res.StatusCode != 404 || !strings.Contains(body, "no such endpoint") {
				t.Errorf("%s %s: got %d %s", method, path, res.StatusCode, body)
			}
		}
	}
}

func TestAssetsAreForEverybodyAndForEver(t *testing.T) {
	s := startPush(t, withPage(func(o *Options) { o.Access = openGuard(t, "", "") }))
	_, body := s.do(t, "GET", "/")
	assets := regexp.MustCompile(`/ui/assets/[^"]+`).FindAllString(body, -1)
	if len(assets) < 2 {
		t.Fatalf("the page uses %q", assets)
	}
	for _, path := range assets {
		res, content := s.do(t, "GET", path)
		if res.StatusCode != 200 || content == "" || res.Header.Get("Cache-Control") != "public, "+forEver || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, res.StatusCode, res.Header)
		}
	}
}

func TestLoggingInToThePage(t *testing.T) {
	s := startPush(t, withPage(func(o *Options) { o.Access = openGuard(t, "", "") }))
	if res, body := s.do(t, "GET", "/"); res.StatusCode != 200 || !strings.Contains(body, `href="/login`) {
		t.Errorf("nobody: %d %s", res.StatusCode, body)
	}
	if _, body := s.do(t, "GET", "/ui/repositories/team/a"); !strings.Contains(body, `href="/login?to=%2fui%2frepositories%2fteam%2fa"`) {
		t.Errorf("a login does not lead back: %s", body)
	}
	if res, _ := s.do(t, "GET", "/login"); res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("Www-Authenticate"), "Basic ") {
		t.Errorf("nobody logs in: %d %v", res.StatusCode, res.Header)
	}
	alice := []string{"Authorization", basicAuth("alice", "secret")}
	if _, body := s.do(t, "GET", "/", alice...); !strings.Contains(body, "alice") {
		t.Errorf("alice is not greeted: %s", body)
	}
	for to, want := range map[string]string{
		"": "/", "/ui/space": "/ui/space", "/ui/repositories?q=a": "/ui/repositories?q=a", "//evil.example": "/", "https://evil.example": "/", "/\\evil.example": "/", "/ui/\r\nSet-Cookie: x": "/", "/v2/": "/",
	} {
		res, _ := s.do(t, "GET", "/login?to="+url.QueryEscape(to), alice...)
		if res.StatusCode != 303 || res.Header.Get("Location") != want {
			t.Errorf("%q: %d leads to %q", to, res.StatusCode, res.Header.Get("Location"))
		}
	}
	open := startPush(t, withPage(nil))
	if res, _ := open.do(t, "GET", "/login"); res.StatusCode != 303 {
		t.Errorf("without users: %d", res.StatusCode)
	}
}

func TestPagesOfALongList(t *testing.T) {
	s := startPush(t, withPage(nil))
	for i := range shownRows*2 + 5 {
		pushDirectly(t, s, "team/r"+string(rune('a'+i/26))+string(rune('a'+i%26)), "v1")
	}
	next, seen := "/ui/repositories", map[string]bool{}
	for pages := 0; next != ""; pages++ {
		if pages > 4 {
			t.Fatal("pages do not end")
		}
		_, body := s.do(t, "GET", next)
		for _, name := range regexp.MustCompile(`/ui/repositories/(team/r..)"`).FindAllStringSubmatch(body, -1) {
			seen[name[1]] = true
		}
		next = ""
		if m := regexp.MustCompile(`href="(/ui/repositories\?after=[^"]+)"`).FindStringSubmatch(body); m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != shownRows*2+5 {
		t.Errorf("%d of %d repositories are listed", len(seen), shownRows*2+5)
	}
}
