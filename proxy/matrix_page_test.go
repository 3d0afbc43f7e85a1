package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
)

// buildPage is a fortress with the page.
func buildPage(t *testing.T) *fortress {
	t.Helper()
	return build(t, func(o *Options) {
		m := o.Manifests.(watchedManifests)
		shelf := fakeShelf{fakeCache: m.fakeCache, asked: m.asked}
		for _, p := range places {
			if registry, name, _ := strings.Cut(p.home, "/"); p.exists && !p.hosted() {
				shelf.fills = append(shelf.fills, cache.FillStatus{Repo: cache.Repo{Registry: registry, Name: name}, Digest: sha256, Size: 10})
			}
		}
		shelf.page(o)
	})
}

// pageStatus is what the table says of a page about something in a place.
func pageStatus(i identity, p place, tag string) (status int, refused bool) {
	switch {
	case i.bad:
		return 401, true
	case i.narrow || !p.may(i.who, 'p'):
		if i.who == "" {
			return 401, true
		}
		return 403, true
	case p.refused == "all" || p.refused == "tags" && tag != "" && !strings.Contains(tag, ":"):
		return 403, true
	case p.lent && i.who == "":
		return 401, true
	case !p.exists && (p.hosted() || tag != ""):
		return 404, false
	}
	return 200, false
}

func TestPagesOfARepositoryAreForWhoMayPull(t *testing.T) {
	f := buildPage(t)
	for _, i := range f.identities(t) {
		for _, p := range places {
			if raceEnabled && i.bad && p.spelled != "team/app" && p.spelled != "library/nginx" {
				continue // each request runs alone, and the race detector makes it slow
			}
			for path, tag := range map[string]string{
				"repositories/" + p.home: "", "images/" + p.home + ":v1": "v1", "images/" + p.home + "@" + p.manifest: p.manifest,
			} {
				want, refused := pageStatus(i, p, tag)
				what := i.fact + ": GET /ui/" + path
				got := f.ask("GET", "/ui/"+path, "", i.header(p.home)...)
				if got.StatusCode != want {
					t.Errorf("%s: got %d, want %d", what, got.StatusCode, want)
				}
				if refused && got.asked > 0 {
					t.Errorf("%s is refused, and %d questions were asked for it", what, got.asked)
				}
				f.isPage(what, got)
				f.leaksNothing(what, i.who, got)
			}
		}
	}
}

// isPage looks for what every page has.
func (f *fortress) isPage(what string, got reply) {
	f.t.Helper()
	for header, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"} {
		if got.Header.Get(header) != want {
			f.t.Errorf("%s: %s is %q", what, header, got.Header.Get(header))
		}
	}
	if !strings.Contains(got.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		f.t.Errorf("%s: policy %q", what, got.Header.Get("Content-Security-Policy"))
	}
	if challenge := got.Header.Get("Www-Authenticate"); (got.StatusCode == http.StatusUnauthorized) != strings.HasPrefix(challenge, "Basic ") {
		f.t.Errorf("%s: %d with the challenge %q", what, got.StatusCode, challenge)
	}
}

func TestListsOfThePageShowWhatTheCallerMayPull(t *testing.T) {
	f := buildPage(t)
	f.ask("GET", "/ui/space", "", "Authorization", basicAuth("alice", "password of alice")) // begins to count
	for _, i := range f.identities(t) {
		for _, path := range []string{"/", "/ui/live", "/ui/space", "/ui/repositories", "/ui/repositories?q=app", "/ui/repositories?in=hosted", "/ui/repositories?in=corp.example", "/ui/setup"} {
			got := f.ask("GET", path, "", i.header("x")...)
			want := 200
			switch closed := path == "/ui/live" || path == "/ui/space"; {
			case i.bad, closed && i.who == "":
				want = 401
			case strings.HasSuffix(path, "?in=corp.example") && i.who == "":
				want = 404 // strangers are not told of it
			case i.narrow && path != "/" && path != "/ui/setup":
				want = 403
			}
			if got.StatusCode != want {
				t.Errorf("%s: GET %s: got %d, want %d", i.fact, path, got.StatusCode, want)
			}
			f.isPage(i.fact+": "+path, got)
			for _, p := range places {
				sees := got.StatusCode == 200 && !i.narrow && p.may(i.who, 'p') && p.refused != "all" && !(p.lent && i.who == "")
				if strings.Contains(got.body, p.home) && !sees {
					t.Errorf("%s: %s shows %s", i.fact, path, p.home)
				}
				listed := path == "/ui/repositories" && p.exists
				if listed && sees && !strings.Contains(got.body, p.home) {
					t.Errorf("%s: %s does not show %s", i.fact, path, p.home)
				}
			}
		}
	}
}
