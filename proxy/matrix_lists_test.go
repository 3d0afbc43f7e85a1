package proxy

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// listed are the names of a registry's catalog, or of what is hosted, that somebody may be shown.
func listed(who, registry string) []string {
	names := []string{}
	for _, p := range places {
		name, ofRegistry := strings.CutPrefix(p.home, registry+"/")
		if registry == "" {
			name, ofRegistry = p.home, p.hosted()
		}
		if ofRegistry && p.hosted() == (registry == "") && p.exists && p.may(who, 'p') && p.refused != "all" && !(p.lent && who == "") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestCatalogsShowWhatTheCallerMayPull(t *testing.T) {
	f := build(t, nil)
	for _, i := range f.identities(t) {
		for _, registry := range []string{"", "docker.io", "gcr.io", "corp.example"} {
			for _, n := range []string{"", "1", "2", "1000", "0"} {
				f.catalog(i, registry, n)
			}
		}
	}
}

// catalog reads all pages of one and compares them with the table.
func (f *fortress) catalog(i identity, registry, n string) {
	f.t.Helper()
	what := fmt.Sprintf("%s: catalog of %q by %q", i.fact, registry, n)
	query := url.Values{}
	if registry != "" {
		query.Set("ns", registry)
	}
	if n != "" {
		query.Set("n", n)
	}
	next, got := "/v2/_catalog?"+query.Encode(), []string{}
	for pages := 0; next != ""; pages++ {
		if pages > len(places) {
			f.t.Fatalf("%s: pages do not end", what)
		}
		r := f.ask("GET", next, "", i.header("x")...)
		f.leaksNothing(what, i.who, r)
		switch {
		case i.bad || i.narrow || registry == "corp.example" && i.who == "":
			if r.StatusCode != 401 || r.asked > 0 {
				f.t.Errorf("%s: %d after %d questions", what, r.StatusCode, r.asked)
			}
			return
		}
		var page repositoryList
		if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.StatusCode != 200 || page.Repositories == nil {
			f.t.Fatalf("%s: %d %s", what, r.StatusCode, r.body)
		}
		got, next = append(got, page.Repositories...), nextPage(r.Response)
		if link, _ := url.QueryUnescape(r.Header.Get("Link")); link != "" && !slices.ContainsFunc(page.Repositories, func(name string) bool { return strings.Contains(link, "last="+name) }) {
			f.t.Errorf("%s: the link names what the page does not: %s", what, link)
		}
	}
	want := listed(i.who, registry)
	if n == "0" {
		want = []string{}
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// A page is not followed by another where all that follows is not for the caller: the link would tell that there is something.
func TestPagesEndWithWhatTheCallerMayPull(t *testing.T) {
	f := build(t, nil)
	for _, c := range []struct{ ns, last string }{{"", "public/app"}, {"", "single"}, {"", "zzz"}, {"docker.io", "library/nginx"}, {"gcr.io", "open/app"}} {
		for _, n := range []string{"1", "5"} {
			r := f.ask("GET", "/v2/_catalog?n="+n+"&last="+url.QueryEscape(c.last)+"&ns="+c.ns, "")
			var page repositoryList
			if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.StatusCode != 200 {
				t.Fatalf("%v: %d %s", c, r.StatusCode, r.body)
			}
			if link := r.Header.Get("Link"); len(page.Repositories) == 0 && link != "" {
				t.Errorf("%v: an empty page links to %s", c, link)
			}
		}
	}
	r := f.ask("GET", "/v2/_catalog?n=1", "") // public/app, and behind it only what is not for everybody
	if link := r.Header.Get("Link"); link != "" || !strings.Contains(r.body, `"public/app"`) {
		t.Errorf("%s links to %q", r.body, link)
	}
}

func TestSearchesShowWhatTheCallerMayPull(t *testing.T) {
	f := build(t, nil)
	for _, i := range f.identities(t) {
		for _, term := range []string{"app", "", "hidden", "a", "vault", "ours"} {
			r := f.ask("GET", "/v1/search?n=100&q="+term, "", i.header("x")...)
			what := fmt.Sprintf("%s: search of %q", i.fact, term)
			f.leaksNothing(what, i.who, r)
			if i.bad || i.narrow {
				if r.StatusCode != 401 || r.asked > 0 {
					t.Errorf("%s: %d after %d questions", what, r.StatusCode, r.asked)
				}
				continue
			}
			var reply searchReply
			if err := json.Unmarshal([]byte(r.body), &reply); err != nil || r.StatusCode != 200 {
				t.Fatalf("%s: %d %s", what, r.StatusCode, r.body)
			}
			want := []string{}
			for _, p := range places {
				if p.exists && p.may(i.who, 'p') && p.refused != "all" && !(p.lent && i.who == "") && strings.Contains(strings.SplitN("/"+p.home, "/", 2)[1], term) {
					want = append(want, p.spelled)
				}
			}
			for _, name := range reply.Results {
				if !slices.Contains(want, name.Name) {
					t.Errorf("%s shows %s", what, name.Name)
				}
			}
			if term == "app" && len(reply.Results) < len(want) {
				t.Errorf("%s shows %d of %q", what, len(reply.Results), want)
			}
			if got := reply.Found; got != len(reply.Results) {
				t.Errorf("%s counts %d of %d", what, got, len(reply.Results))
			}
		}
	}
}

func TestRoutesWithoutARepository(t *testing.T) {
	f := build(t, nil)
	for _, i := range f.identities(t) {
		for _, route := range []struct {
			path  string
			reads []string
			open  bool // to whoever has no credential at all
		}{
			{"/v2/", []string{"GET", "HEAD"}, false},
			{"/v2", []string{"GET", "HEAD"}, false},
			{"/v1/_ping", []string{"GET", "HEAD"}, true},
			{"/v1/search?q=none-of-that", []string{"GET", "HEAD"}, true},
		} {
			for _, verb := range verbs {
				want := 405
				switch reads := slices.Contains(route.reads, verb); {
				case i.bad, reads && !route.open && !i.proved, reads && i.narrow && strings.HasPrefix(route.path, "/v1/search"):
					want = 401
				case reads:
					want = 200
				}
				r := f.ask(verb, route.path, "", i.header("x")...)
				if r.StatusCode != want {
					t.Errorf("%s: %s %s: got %d %s, want %d", i.fact, verb, route.path, r.StatusCode, r.body, want)
				}
				f.leaksNothing(i.fact+": "+verb+" "+route.path, i.who, r)
				if want >= 400 && r.asked > 0 {
					t.Errorf("%s: %s %s: %d after %d questions", i.fact, verb, route.path, want, r.asked)
				}
			}
		}
	}
}

func TestPathsThatAreNoneAreTheSameForEverybody(t *testing.T) {
	f := build(t, nil)
	all := f.identities(t)[:8]
	for _, path := range []string{
		"/", "/v1/", "/v3/", "/v2/team/app", "/v2/team/app/", "/v2/team/app/manifests", "/v2/_catalog/", "/v2/_search", "/v2/team/app/tags/", "/v2//_catalog",
		"/v2/_ping", "/auth", "/login", "/token/", "/oauth2/token", "/v2/token", "/service/token", "/c/login", "/api/v2.0/users", "/zot/auth/apikey",
		"/v1/repositories/team/app/images", "/v1/users/", "/favicon.ico", "/robots.txt", "/.well-known/openid-configuration",
	} {
		want := f.ask("GET", path, "").text()
		for _, i := range all {
			for _, verb := range verbs {
				r := f.ask(verb, path, "", i.header("x")...)
				if r.StatusCode != 404 && r.StatusCode != 400 || r.asked > 0 || verb == "GET" && r.text() != want {
					t.Errorf("%s: %s %s: %s after %d questions", i.fact, verb, path, r.text(), r.asked)
				}
			}
		}
	}
}
