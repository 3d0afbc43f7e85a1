package e2e

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// searches gives the names that a search lists, in their order.
func (c *client) searches(t *testing.T, query string) string {
	t.Helper()
	a := c.get("/v1/search?"+query, nil)
	var list struct {
		Found   int `json:"num_results"`
		Results []struct {
			Name string `json:"name"`
		} `json:"results"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != 200 || a.err != nil {
		t.Fatalf("search %s: status %d, %v, %v: %.300s", query, a.status, a.err, err, a.body)
	}
	var names []string
	for _, r := range list.Results {
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}

func TestSearchListsHostedCachedAndUpstreamNames(t *testing.T) {
	hub, gcr := fakehub.New(t, fakehub.Options{}), fakehub.New(t, fakehub.Options{})
	first, second := images()
	for _, name := range []string{"library/app", "library/application", "team/app-of-hub", "library/other", "secret/app"} {
		hub.Repo(name).AddImage(first, "1")
	}
	hub.AddUser("ann", "secret")
	hub.Repo("secret/app").Private("ann")
	gcr.Repo("proj/app").AddImage(second, "1")
	o := siteOptions(hub, "HOSTED", "mine")
	o.Upstreams = append(o.Upstreams, server.Upstream{Host: "gcr.io", URL: gcr.URL()})
	s := server.Start(t, o)
	c := newClient(t, s)
	ping := c.get("/v1/_ping", nil)
	if ping.status != 200 || ping.header.Get("X-Docker-Registry-Standalone") != "true" {
		t.Errorf("ping: %d %v", ping.status, ping.header)
	}
	if got, want := c.searches(t, "q=app"), "library/app library/application team/app-of-hub"; got != want {
		t.Errorf("before any pull: %q, want %q", got, want)
	}
	for _, pull := range []struct {
		repo  string
		image fakehub.Image
	}{{"library/app", first}, {"gcr.io/proj/app", second}} {
		if _, err := c.pull(t.Context(), pull.repo, "1", pull.image); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"mine/app", "mine/other"} {
		for _, b := range first.Blobs() {
			if err := c.pushBlob(t.Context(), name, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.pushManifest(t.Context(), name, "1", first.Manifest); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"q=app":                      "mine/app library/app gcr.io/proj/app library/application team/app-of-hub",
		"q=APP&n=25":                 "mine/app library/app gcr.io/proj/app library/application team/app-of-hub",
		"q=app&n=2":                  "mine/app library/app",
		"q=library%2Fapp":            "library/app library/application team/app-of-hub", // Hub is asked without its library/
		"q=mine":                     "mine/app mine/other",
		"q=gcr.io%2Fproj":            "gcr.io/proj/app",
		"q=nothing-of-that-name":     "",
		"":                           "mine/app mine/other library/app gcr.io/proj/app",
		"q=app&ns=gcr.io":            "proj/app",
		"q=" + url.QueryEscape(`"<`): "",
	} {
		if got := c.searches(t, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"q=app&n=0", "q=app&n=101", "q=app&n=2147483647", "q=app&n=x", "q=" + strings.Repeat("x", 513)} {
		if a := c.get("/v1/search?"+query, nil); a.status != 400 {
			t.Errorf("%.30s: status %d, want 400", query, a.status)
		}
	}
	for _, name := range strings.Fields(c.searches(t, "q=app")) {
		if a := c.get(manifestPath(name, "1"), nil); a.status != 200 {
			t.Errorf("%s was found and cannot be pulled: %d", name, a.status)
		}
	}
}

func TestSearchWhileTheUpstreamIsOut(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	img, _ := images()
	s.hub.Repo("library/app").AddImage(img, "1")
	s.hub.Repo("library/application").AddImage(img, "1")
	if _, err := s.client.pull(t.Context(), "library/app", "1", img); err != nil {
		t.Fatal(err)
	}
	s.hub.Inject(fakehub.Fault{Kind: fakehub.KindSearch, Count: 1, Do: fakehub.Hang()})
	began := time.Now()
	if got := s.client.searches(t, "q=app"); got != "library/app" {
		t.Errorf("it does not answer: %q", got)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	s.hub.Inject(fakehub.Fault{Kind: fakehub.KindSearch, Count: 20, Do: fakehub.Status(500, "")})
	for range 20 {
		if got := s.client.searches(t, "q=app"); got != "library/app" {
			t.Errorf("it fails: %q", got)
		}
	}
	if a := s.client.get(manifestPath("library/application", "1"), nil); a.status != 200 {
		t.Errorf("after failed searches a pull has status %d", a.status)
	}
	s.hub.Down()
	if got := s.client.searches(t, "q=app"); got != "library/app library/application" {
		t.Errorf("it is down: %q", got)
	}
	if n := s.hub.Count(fakehub.KindSearch); n != 21 {
		t.Errorf("it was searched %d times, want 21: each search once", n)
	}
}
