package ui

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
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
		"login":              func(w io.Writer) error { return u.Login(w, loginValues()) },
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
