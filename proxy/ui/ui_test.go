package ui

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func newUI(t testing.TB) *UI {
	t.Helper()
	u, err := New(func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// pages are all that can be rendered, by the names of their golden files.
func pages(u *UI) map[string]func(io.Writer) error {
	stranger := overviewValues()
	stranger.Live = nil
	hosting := emptyOverview()
	hosting.Default, hosting.Notice, hosting.Version = "", "The tag v1 of team/app is deleted.", "v1.2.3"
	noRepository := repositoriesValues()
	noRepository.Rows, noRepository.Next, noRepository.Prev = nil, "", ""
	pulledByDigest := indexValues()
	pulledByDigest.Tag = ""
	hiddenSpace := Space{Page: pageAt("Space", "space")}
	counting := Space{Page: pageAt("Space", "space"), Tiers: liveValues().Tiers, Counting: true}
	noTags := RepositoryPage{Page: pageAt("docker.io/library/nginx", "repositories"), Name: "docker.io/library/nginx", Bytes: -1}
	forbidden := failureValues()
	forbidden.Status, forbidden.User, forbidden.Login = 403, "ann", false
	broken := failureValues()
	broken.Status, broken.Message = 500, ""
	return map[string]func(io.Writer) error{
		"overview":           func(w io.Writer) error { return u.Overview(w, overviewValues()) },
		"overview-empty":     func(w io.Writer) error { return u.Overview(w, emptyOverview()) },
		"overview-hosting":   func(w io.Writer) error { return u.Overview(w, hosting) },
		"overview-stranger":  func(w io.Writer) error { return u.Overview(w, stranger) },
		"live":               func(w io.Writer) error { return u.Live(w, liveValues()) },
		"repositories":       func(w io.Writer) error { return u.Repositories(w, repositoriesValues()) },
		"repositories-none":  func(w io.Writer) error { return u.Repositories(w, noRepository) },
		"repository":         func(w io.Writer) error { return u.Repository(w, repositoryValues()) },
		"repository-tagless": func(w io.Writer) error { return u.Repository(w, noTags) },
		"image":              func(w io.Writer) error { return u.Image(w, imageValues()) },
		"image-index":        func(w io.Writer) error { return u.Image(w, indexValues()) },
		"image-by-digest":    func(w io.Writer) error { return u.Image(w, pulledByDigest) },
		"space":              func(w io.Writer) error { return u.Space(w, spaceValues()) },
		"space-counting":     func(w io.Writer) error { return u.Space(w, counting) },
		"space-hidden":       func(w io.Writer) error { return u.Space(w, hiddenSpace) },
		"setup":              func(w io.Writer) error { return u.Setup(w, setupValues()) },
		"failure-missing":    func(w io.Writer) error { return u.Failure(w, failureValues()) },
		"failure-forbidden":  func(w io.Writer) error { return u.Failure(w, forbidden) },
		"failure-broken":     func(w io.Writer) error { return u.Failure(w, broken) },
	}
}

// hashes stand in the names of assets; golden files leave them out.
var hashes = regexp.MustCompile(`(/ui/assets/[a-z]+)\.[0-9a-f]{12}\.`)

func TestPagesAreAsTheGoldenFiles(t *testing.T) {
	for name, render := range pages(newUI(t)) {
		t.Run(name, func(t *testing.T) {
			var page bytes.Buffer
			if err := render(&page); err != nil {
				t.Fatal(err)
			}
			got := hashes.ReplaceAll(page.Bytes(), []byte("$1."))
			golden := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s has changed; look at the difference after go test ./proxy/ui -update", golden)
			}
		})
	}
}

func TestWords(t *testing.T) {
	for _, w := range []struct{ got, want string }{
		{percent(0), "0 %"}, {percent(0.0004), "< 0.1 %"}, {percent(0.971), "97.1 %"}, {percent(0.99999), "99.9 %"}, {percent(1), "100 %"}, {percent(2), "100 %"},
		{width(0), "0"}, {width(0.0001), "0.40%"}, {width(0.5), "50.00%"}, {width(3), "100.00%"},
		{count(0, "tag", "tags"), "0 tags"}, {count(1, "tag", "tags"), "1 tag"}, {count(1200, "tag", "tags"), "1,200 tags"},
		{readable(-1), "0 B"}, {readable(1 << 30), "1.0 GiB"},
		{short(sum("x")), "sha256:" + sum("x").Encoded()[:12]}, {short("sha256:ab"), "sha256:ab"}, {short("nonsense"), "nonsense"},
		{imagePath("team/app", "v1"), "/ui/images/team/app:v1"}, {imagePath("team/app", sum("x")), "/ui/images/team/app@" + string(sum("x"))},
		{imagePath("a?b/c d", "#"), "/ui/images/a%3Fb/c%20d:%23"},
		{clip("short", 4), ""}, {clip("longer than that", 4), "long"}, {clip("äöüßäöüß", 4), "äöüß"},
	} {
		if w.got != w.want {
			t.Errorf("got %q, want %q", w.got, w.want)
		}
	}
}

// TestBeginning: what an empty server tells to do works one after the other, with whatever registry is behind it.
func TestBeginning(t *testing.T) {
	for upstream, want := range map[string]string{
		"docker.io": "docker pull s:5000/library/alpine\ndocker tag s:5000/library/alpine s:5000/my-image\ndocker push s:5000/my-image",
		"quay.io":   "docker pull s:5000/NAME\ndocker tag s:5000/NAME s:5000/my-image\ndocker push s:5000/my-image",
		"":          "docker tag my-image s:5000/my-image\ndocker push s:5000/my-image",
	} {
		var got []string
		for _, step := range (Overview{Page: Page{Server: "s:5000"}, Default: upstream}).Begin() {
			got = append(got, step.Content)
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("behind it %q: %q, want %q", upstream, got, want)
		}
	}
}

func TestFiguresOfNothing(t *testing.T) {
	for name, l := range map[string]Live{
		"nothing":                       {},
		"more fetched than handed out":  {Sent: 10, Fetched: 30},
		"hits without a byte":           {Hits: 3},
		"a fill that is past its size":  {Fills: []Fill{{Have: 10, Size: 5}}},
		"a limit below zero":            {Upstreams: []Upstream{{Limits: []Limit{{"anonymous", 0, -1}}}}},
		"a tier that is over its limit": {Tiers: []Tier{{Used: 10, Limit: 5}}},
	} {
		var b bytes.Buffer
		if err := newUI(t).Live(&b, l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s := b.String(); regexp.MustCompile(`NaN|Inf|="-|ZgotmplZ`).MatchString(s) {
			t.Errorf("%s: %s", name, s)
		}
	}
}

func TestAssetsAreNamedByTheirContent(t *testing.T) {
	u := newUI(t)
	if len(u.assets) != 3 {
		t.Errorf("%d assets", len(u.assets))
	}
	for name, a := range u.assets {
		if !regexp.MustCompile(`^[a-z]+\.[0-9a-f]{12}\.(css|js|svg)$`).MatchString(name) {
			t.Errorf("the name %q holds no hash", name)
		}
		if body, mediaType, ok := u.Asset(name); !ok || !bytes.Equal(body, a.body) || mediaType != a.mediaType {
			t.Errorf("%s: %q %v", name, mediaType, ok)
		}
		if elsewhere := regexp.MustCompile(`https?://[^"' ]*`).FindAll(bytes.ReplaceAll(a.body, []byte("http://www.w3.org/2000/svg"), nil), -1); elsewhere != nil {
			t.Errorf("%s names %s", name, elsewhere)
		}
	}
	for _, name := range []string{"", "page.css", "../ui.go", "page.000000000000.css"} {
		if _, _, ok := u.Asset(name); ok {
			t.Errorf("%q is an asset", name)
		}
	}
}

func BenchmarkRepositories(b *testing.B) {
	u, p := newUI(b), manyRepositories(50)
	b.ReportAllocs()
	for b.Loop() {
		if err := u.Repositories(io.Discard, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLive(b *testing.B) {
	u, l := newUI(b), liveValues()
	b.ReportAllocs()
	for b.Loop() {
		if err := u.Live(io.Discard, l); err != nil {
			b.Fatal(err)
		}
	}
}
