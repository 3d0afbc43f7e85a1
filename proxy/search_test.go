package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/upstream"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Search finds whatever the fixture has, as names of Docker Hub.
func (f fakeManifests) Search(_ context.Context, term string) iter.Seq2[cache.Repo, error] {
	return pulled(f.err, "docker.io", f.names...).Search(context.Background(), term)
}

// pulledNames are repositories of which something was pulled, by registry/name.
type pulledNames struct {
	repos []cache.Repo
	err   error // after them
}

func pulled(err error, registry string, names ...string) pulledNames {
	p := pulledNames{err: err}
	for _, name := range names {
		p.repos = append(p.repos, cache.Repo{Registry: registry, Name: name})
	}
	return p
}

func (p pulledNames) Search(_ context.Context, term string) iter.Seq2[cache.Repo, error] {
	return func(yield func(cache.Repo, error) bool) {
		for _, repo := range p.repos {
			if strings.Contains(repo.Name, strings.ToLower(term)) && !yield(repo, nil) {
				return
			}
		}
		if p.err != nil {
			yield(cache.Repo{}, p.err)
		}
	}
}

// searching is a cache that is only searched.
type searching struct {
	fakeManifests
	pulledNames
}

func (s searching) Search(ctx context.Context, term string) iter.Seq2[cache.Repo, error] {
	return s.pulledNames.Search(ctx, term)
}

// library has hosted names, pulled names of several registries, and a Hub that finds some.
func library(t *testing.T, asked *[]string, found []upstream.SearchResult, failure error) func(*Options) {
	t.Helper()
	pushed, err := hosted.New(hosted.Options{Store: mem.New(time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"team/nginx", "nginx", "team/other"} {
		empty := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`
		p := hosted.ManifestPush{Tags: []string{"1"}, MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(empty)}
		if _, err := pushed.Repo(name).PutManifest(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return func(o *Options) {
		o.Hosted = pushed
		o.Names.Upstreams = append(o.Names.Upstreams, "corp.example")
		corp := o.Registries["gcr.io"]
		corp.Private = true
		o.Registries["corp.example"] = corp
		o.Manifests = searching{fakeManifests{&fakeCache{}}, pulledNames{repos: []cache.Repo{
			{Registry: "docker.io", Name: "library/nginx"}, {Registry: "docker.io", Name: "bitnami/nginx"}, {Registry: "docker.io", Name: "team/nginx"},
			{Registry: "gcr.io", Name: "p/nginx"}, {Registry: "gcr.io", Name: "p/other"},
			{Registry: "corp.example", Name: "secret/nginx"}, {Registry: "gone.example", Name: "p/nginx"},
		}}}
		for _, host := range []string{"docker.io", "gcr.io"} {
			r := o.Registries[host]
			r.Search = func(_ context.Context, term string, n int) ([]upstream.SearchResult, error) {
				*asked = append(*asked, fmt.Sprint(host, " ", term, " ", n))
				return found, failure
			}
			o.Registries[host] = r
		}
	}
}

type searchReply struct {
	Query    string                  `json:"query"`
	Found    int                     `json:"num_results"`
	Page     int                     `json:"page"`
	PageSize int                     `json:"page_size"`
	Pages    int                     `json:"num_pages"`
	Results  []upstream.SearchResult `json:"results"`
}

func (r searchReply) names() string {
	var all []string
	for _, one := range r.Results {
		all = append(all, one.Name)
	}
	return strings.Join(all, " ")
}

func TestSearchPing(t *testing.T) {
	s := start(t, filled(), nil)
	res, body := s.do(t, "GET", "/v1/_ping")
	if res.StatusCode != 200 || body != `{"standalone":true}` || res.Header.Get("X-Docker-Registry-Standalone") != "true" {
		t.Errorf("%d %s %v", res.StatusCode, body, res.Header)
	}
	if answer := <-s.answered; answer.Kind != KindSearchPing || answer.Kind.String() != "search-ping" {
		t.Errorf("told as %v", answer.Kind)
	}
}

func TestSearchListsEachNameOnce(t *testing.T) {
	found := []upstream.SearchResult{
		{Name: "nginx", Description: "the official one", Stars: 20000, Official: true},
		{Name: "linuxserver/nginx", Stars: 300},
		{Name: "team/nginx", Stars: 1}, {Name: "../../nginx"}, {Name: "NGINX"}, {Name: ""},
	}
	for _, c := range []struct {
		fact, query, host string
		want              string
		asked             string
	}{
		{"hosted, pulled, found", "?q=nginx&n=25", "", "nginx team/nginx library/nginx bitnami/nginx docker.io/team/nginx gcr.io/p/nginx linuxserver/nginx", "docker.io nginx 100"},
		{"whatever the case", "?q=NGINX", "", "nginx team/nginx library/nginx bitnami/nginx docker.io/team/nginx gcr.io/p/nginx linuxserver/nginx", "docker.io NGINX 100"},
		{"no term", "", "", "nginx team/nginx team/other library/nginx bitnami/nginx docker.io/team/nginx gcr.io/p/nginx gcr.io/p/other", ""},
		{"an empty term", "?q=", "", "nginx team/nginx team/other library/nginx bitnami/nginx docker.io/team/nginx gcr.io/p/nginx gcr.io/p/other", ""},
		{"enough here: nobody is asked", "?q=nginx&n=3", "", "nginx team/nginx library/nginx", ""},
		{"the second page", "?q=nginx&n=3&page=2", "", "bitnami/nginx docker.io/team/nginx gcr.io/p/nginx", ""},
		{"the last page", "?q=nginx&n=3&page=3", "", "linuxserver/nginx", "docker.io nginx 100"},
		{"past the last page", "?q=nginx&n=3&page=4", "", "", "docker.io nginx 100"},
		{"far past it", "?q=nginx&n=100&page=2147483647", "", "", "docker.io nginx 100"},
		{"an upstream by ns", "?q=nginx&ns=gcr.io", "", "p/nginx nginx linuxserver/nginx team/nginx", "gcr.io nginx 100"},
		{"an upstream by the host", "?q=nginx", "gcr.io", "p/nginx nginx linuxserver/nginx team/nginx", "gcr.io nginx 100"},
		{"Hub by ns", "?q=nginx&ns=docker.io", "", "library/nginx bitnami/nginx team/nginx linuxserver/nginx", "docker.io nginx 100"},
	} {
		var asked []string
		s := start(t, filled(), func(o *Options) {
			library(t, &asked, found, nil)(o)
			if c.host != "" {
				o.Names.Hosts = map[string]string{"127.0.0.1": c.host}
			}
		})
		res, body := s.do(t, "GET", "/v1/search"+c.query)
		var got searchReply
		if err := json.Unmarshal([]byte(body), &got); err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", c.fact, res.StatusCode, body)
		}
		if got.names() != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.fact, got.names(), c.want)
		}
		if strings.Join(asked, ", ") != c.asked {
			t.Errorf("%s: asked %q, want %q", c.fact, asked, c.asked)
		}
	}
}

func TestShapeOfASearch(t *testing.T) {
	var asked []string
	s := start(t, filled(), library(t, &asked, []upstream.SearchResult{{Name: "linuxserver/nginx", Description: "web", Stars: 3, Official: true}}, nil))
	for query, want := range map[string]string{
		"?q=team/n&n=1": `{"query":"team/n","num_results":2,"page":1,"page_size":1,"num_pages":2,"results":[` +
			`{"name":"team/nginx","description":"hosted here","star_count":0,"is_official":false,"is_automated":false}]}`,
		"?q=nginx&n=3&page=3": `{"query":"nginx","num_results":7,"page":3,"page_size":3,"num_pages":3,"results":[` +
			`{"name":"linuxserver/nginx","description":"web","star_count":3,"is_official":true,"is_automated":false}]}`,
		"?q=p/other&n=1":        `{"query":"p/other","num_results":1,"page":1,"page_size":1,"num_pages":1,"results":[{"name":"gcr.io/p/other","description":"cached from gcr.io","star_count":0,"is_official":false,"is_automated":false}]}`,
		"?q=nothing&ns=gcr.io":  `{"query":"nothing","num_results":1,"page":1,"page_size":25,"num_pages":1,"results":[{"name":"linuxserver/nginx","description":"web","star_count":3,"is_official":true,"is_automated":false}]}`,
		"?q=%22%3Cx%0A&page=99": `{"query":"\"\u003cx\n","num_results":1,"page":99,"page_size":25,"num_pages":1,"results":[]}`,
	} {
		if res, body := s.do(t, "GET", "/v1/search"+query); res.StatusCode != 200 || body != want {
			t.Errorf("%s: %d\n got %s\nwant %s", query, res.StatusCode, body, want)
		}
	}
	res, body := s.do(t, "HEAD", "/v1/search?q=nginx")
	if res.StatusCode != 200 || body != "" || res.ContentLength <= 0 {
		t.Errorf("HEAD: %d %q, length %d", res.StatusCode, body, res.ContentLength)
	}
}

func TestSearchWithoutUpstream(t *testing.T) {
	const here = "nginx team/nginx library/nginx bitnami/nginx docker.io/team/nginx gcr.io/p/nginx"
	const prefixed = "nginx team/nginx docker.io/library/nginx docker.io/bitnami/nginx docker.io/team/nginx gcr.io/p/nginx"
	for _, c := range []struct {
		fact    string
		failure error
		change  func(*Options)
		want    string
	}{
		{"it is out", errors.New("out"), func(*Options) {}, here},
		{"it did not answer in time", context.DeadlineExceeded, func(*Options) {}, here},
		{"it has no search", nil, func(o *Options) {
			r := o.Registries["docker.io"]
			r.Search = nil
			o.Registries["docker.io"] = r
		}, here},
		{"there is no default", nil, func(o *Options) { o.Names.Default = "" }, prefixed},
		{"every name is hosted", errors.New("out"), func(o *Options) { o.Names.Hosted = []string{"*"} }, prefixed},
	} {
		var asked []string
		s := start(t, filled(), func(o *Options) {
			library(t, &asked, nil, c.failure)(o)
			c.change(o)
		})
		res, body := s.do(t, "GET", "/v1/search?q=nginx")
		var got searchReply
		if err := json.Unmarshal([]byte(body), &got); err != nil || res.StatusCode != 200 || got.names() != c.want {
			t.Errorf("%s: %d\n got %s\nwant %s", c.fact, res.StatusCode, got.names(), c.want)
		}
	}
}

// What a search lists can be pulled by that name.
func TestSpellingsLeadBack(t *testing.T) {
	for _, def := range []string{"docker.io", "gcr.io", ""} {
		for _, own := range [][]string{nil, {"team"}, {"*"}} {
			cfg := &Names{Default: def, Upstreams: []string{"docker.io", "gcr.io"}, Hosted: own}
			for _, repo := range []cache.Repo{
				{Registry: "docker.io", Name: "library/nginx"}, {Registry: "docker.io", Name: "team/x"}, {Registry: "gcr.io", Name: "one"},
				{Registry: "gcr.io", Name: "a/b/c"}, {Registry: "docker.io", Name: "gcr.io/x"}, {Registry: "gcr.io", Name: "a.b/c"},
			} {
				name := spelling(cfg, repo)
				home, err := Target(cfg, name, "", "localhost:5000")
				if err != nil || home.Hosted || home.Registry != repo.Registry || home.Name != repo.Name {
					t.Errorf("default %q, hosted %q: %s is spelled %q, which is %+v, %v", def, own, repo, name, home, err)
				}
			}
		}
	}
}

func TestSearchIsBounded(t *testing.T) {
	var many []string
	for i := range 5 * mostFound {
		many = append(many, fmt.Sprintf("library/x%05d", i))
	}
	f := filled()
	f.names = many
	s := start(t, f, nil)
	var got searchReply
	_, body := s.do(t, "GET", "/v1/search?q=x&n=100&page=10")
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Found != mostFound || len(got.Results) != 100 || got.Pages != mostFound/100 {
		t.Errorf("%v: %d found, %d here, %d pages", err, got.Found, len(got.Results), got.Pages)
	}
	if got.Results[99].Name != many[mostFound-1] {
		t.Errorf("the last one is %s", got.Results[99].Name)
	}
}

func TestSearchRefusals(t *testing.T) {
	var asked []string
	s := start(t, filled(), library(t, &asked, nil, nil))
	broken := start(t, filled(), func(o *Options) {
		o.Manifests = searching{fakeManifests{&fakeCache{}}, pulled(errors.New("disk"), "docker.io")}
	})
	for _, c := range []struct {
		fact, method, path string
		server             *running
		status             int
		code               Code
	}{
		{"n is 0", "GET", "?q=x&n=0", s, 400, CodePaginationNumber},
		{"n is negative", "GET", "?q=x&n=-1", s, 400, CodePaginationNumber},
		{"n is too large", "GET", "?q=x&n=101", s, 400, CodePaginationNumber},
		{"n is huge", "GET", "?q=x&n=99999999999999999999", s, 400, CodePaginationNumber},
		{"n is empty", "GET", "?q=x&n=", s, 400, CodePaginationNumber},
		{"n is no number", "GET", "?q=x&n=ten", s, 400, CodePaginationNumber},
		{"page is 0", "GET", "?q=x&page=0", s, 400, CodePaginationNumber},
		{"page is huge", "GET", "?q=x&page=2147483648", s, 400, CodePaginationNumber},
		{"page is no number", "GET", "?q=x&page=x", s, 400, CodePaginationNumber},
		{"a term of 513 bytes", "GET", "?q=" + strings.Repeat("x", 513), s, 400, CodeNameInvalid},
		{"an unknown upstream", "GET", "?q=x&ns=evil.example", s, 404, CodeNameUnknown},
		{"a private upstream", "GET", "?q=x&ns=corp.example", s, 403, CodeDenied},
		{"a POST", "POST", "?q=x", s, 405, CodeUnsupported},
		{"a DELETE", "DELETE", "", s, 405, CodeUnsupported},
		{"what was pulled cannot be read", "GET", "?q=x", broken, 500, CodeUnknown},
	} {
		res, body := c.server.do(t, c.method, "/v1/search"+c.path)
		if res.StatusCode != c.status || !strings.Contains(body, `"code":"`+string(c.code)+`"`) {
			t.Errorf("%s: %d %s", c.fact, res.StatusCode, body)
		}
		if allow := res.Header.Get("Allow"); c.status == 405 && allow != "GET, HEAD" {
			t.Errorf("%s: Allow %q", c.fact, allow)
		}
	}
	if len(asked) != 0 {
		t.Errorf("refused searches were asked upstream: %q", asked)
	}
	if res, body := s.do(t, "GET", "/v1/search?q="+strings.Repeat("x", 512)); res.StatusCode != 200 {
		t.Errorf("a term of 512 bytes: %d %s", res.StatusCode, body)
	}
	if res, _ := s.do(t, "POST", "/v1/_ping"); res.StatusCode != 405 {
		t.Errorf("POST of a ping: %d", res.StatusCode)
	}
}
