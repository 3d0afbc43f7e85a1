package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// request is one of a repository.
type request struct {
	method, path string // path is below the repository
	headers      []string
	body         string
	needs        byte // (p)ull, p(u)sh, (d)elete; 0: there is no such method here
	status       int  // for who may, where the repository and what it holds exist
	absent       int  // where they do not
}

var verbs = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"}

var never = digest.FromString("never").String()

// requests are all routes of a repository with all verbs. Whatever changes something names what is not there: who may, gets
// past the policy and no further.
func requests(p place) []request {
	pulls := map[string]int{"GET": 200, "HEAD": 200}
	var all []request
	route := func(path string, reads map[string]int, changes map[string]request) {
		for _, verb := range verbs {
			switch change, ok := changes[verb]; {
			case ok:
				change.method, change.absent = verb, change.status
				if change.path == "" {
					change.path = path
				}
				all = append(all, change)
			case reads[verb] != 0:
				all = append(all, request{method: verb, path: path, needs: 'p', status: reads[verb], absent: 404})
			default:
				all = append(all, request{method: verb, path: path, body: "x"})
			}
		}
	}
	image := []string{"Content-Type", "application/vnd.oci.image.manifest.v1+json"}
	route("manifests/v1", pulls, map[string]request{
		"PUT": {needs: 'u', headers: image, body: "{}", status: 400}, "DELETE": {needs: 'd', path: "manifests/never", status: 404}})
	route("manifests/"+p.manifest, pulls, map[string]request{
		"PUT": {needs: 'u', headers: image, body: "{}", status: 400}, "DELETE": {needs: 'd', path: "manifests/" + never, status: 404}})
	route("manifests/"+never+"?tag=latest&tag=v1", nil, map[string]request{
		"GET": {needs: 'p', status: 404}, "HEAD": {needs: 'p', status: 404},
		"PUT": {needs: 'u', headers: image, body: "{}", status: 400}, "DELETE": {needs: 'd', status: 404}})
	route("blobs/"+p.blob, pulls, map[string]request{"DELETE": {needs: 'd', path: "blobs/" + never, status: 404}})
	route("tags/list", pulls, nil)
	route("referrers/"+p.manifest, pulls, nil)
	route("blobs/uploads/", nil, map[string]request{"POST": {needs: 'u', status: 202}})
	route("blobs/uploads/?mount="+never+"&from=team/app", nil, map[string]request{"POST": {needs: 'u', status: 202}})
	route("blobs/uploads/?digest="+never, nil, map[string]request{"POST": {needs: 'u', body: "x", status: 400}})
	route("blobs/uploads/none", nil, map[string]request{
		"GET": {needs: 'u', status: 404}, "HEAD": {needs: 'u', status: 404}, "PATCH": {needs: 'u', body: "x", status: 404},
		"PUT": {needs: 'u', path: "blobs/uploads/none?digest=" + never, body: "x", status: 404}, "DELETE": {needs: 'u', status: 404}})
	return append(all,
		request{method: "GET", path: "blobs/" + p.blob, headers: []string{"Range", "bytes=0-9"}, needs: 'p', status: 206, absent: 404},
		request{method: "GET", path: "blobs/" + p.blob, headers: []string{"Range", "bytes=-5"}, needs: 'p', status: 206, absent: 404},
		request{method: "GET", path: "manifests/" + p.manifest, headers: []string{"If-None-Match", `"` + p.manifest + `"`}, needs: 'p', status: 304, absent: 404},
		request{method: "HEAD", path: "manifests/v1", headers: []string{"Accept", "text/html"}, needs: 'p', status: 200, absent: 404},
		request{method: "GET", path: "tags/list?n=1", needs: 'p', status: 200, absent: 404},
		request{method: "GET", path: "referrers/" + p.manifest + "?artifactType=x/" + p.marker, needs: 'p', status: 200, absent: 404})
}

// verdict is what the table says of a request: the status, and whether it is a refusal, for which nothing may be asked.
func verdict(i identity, p place, r request) (status int, refused bool) {
	hosted := p.hosted()
	copied := r.copied(i, p)
	switch {
	case i.bad:
		return 401, true
	case r.needs == 0:
		return 405, true
	case r.needs != 'p' && !hosted:
		return 403, true
	case !p.may(i.who, r.needs) && (r.needs == 'p' || i.who == ""):
		return 401, true
	case !p.may(i.who, r.needs):
		return 403, true
	case i.narrow && !copied:
		return 401, true
	case r.needs == 'p' && p.keepsOut(r.path) && !copied:
		return 403, true
	case r.needs == 'p' && p.lent && i.who == "":
		return 401, false // an anonymous HEAD upstream has decided
	case !p.exists:
		return absentStatus(p, r), false
	}
	return r.status, false
}

// copied: another server gets content, by its digest, and neither tags nor lists.
func (r request) copied(i identity, p place) bool {
	return i.who == replicaOf(p.spelled) && (strings.HasPrefix(r.path, "blobs/sha256:") || strings.HasPrefix(r.path, "manifests/sha256:"))
}

// absentStatus: what upstreams have of referrers is never a 404.
func absentStatus(p place, r request) int {
	if r.needs == 'p' && strings.HasPrefix(r.path, "referrers/") {
		return 200
	}
	return r.absent
}

func (p place) keepsOut(path string) bool {
	return p.refused == "all" || p.refused == "tags" && (path == "manifests/v1" || path == "manifests/latest")
}

func TestEveryIdentityOnEveryRouteWithEveryVerb(t *testing.T) {
	f := build(t, nil)
	// One of each kind: the race detector makes requests slow, and each runs alone.
	underRace := map[string]bool{"team/app": true, "public/app": true, "vault/abs": true, "hidden/app": true, "library/nginx": true, "corp.example/ours/app": true, "team2/xmrig": true}
	noVerb := map[string]bool{"team/app": true, "vault/abs": true, "library/nginx": true}
	forBad := map[string]string{"team/app": "pud", "library/nginx": "p"} // what is tried by credentials that are no good
	for _, i := range f.identities(t) {
		for _, p := range places {
			if raceEnabled && !underRace[p.spelled] {
				continue
			}
			for _, r := range requests(p) {
				if i.bad && strings.IndexByte(forBad[p.spelled], r.needs) >= 0 || !i.bad && (r.needs != 0 || noVerb[p.spelled]) {
					f.holds(i, p, r)
				}
			}
		}
	}
}

// holds sends a request and compares the answer with the table.
func (f *fortress) holds(i identity, p place, r request) {
	f.t.Helper()
	target := "/v2/" + p.spelled + "/" + r.path
	status, refused := verdict(i, p, r)
	got := f.ask(r.method, target, r.body, append(i.header(p.spelled), r.headers...)...)
	what := fmt.Sprintf("%s: %s %s", i.fact, r.method, target)
	if got.StatusCode != status {
		f.t.Errorf("%s: got %d %.300s, want %d", what, got.StatusCode, got.body, status)
	}
	switch {
	case refused && got.asked > 0:
		f.t.Errorf("%s is refused, and %d questions were asked for it", what, got.asked)
	case !refused && r.needs == 'p' && got.asked == 0:
		f.t.Errorf("%s: %d, and nobody was asked", what, got.StatusCode)
	}
	f.leaksNothing(what, i.who, got)
	if kept := got.Header.Get("Cache-Control"); strings.Contains(kept, "max-age") && !strings.Contains(kept, "private") && (p.hosted() || p.lent || !p.may("", 'p')) {
		f.t.Errorf("%s: a proxy on the way may keep it for everybody: %s", what, kept)
	}
	if challenge := got.Header.Get("Www-Authenticate"); (status == http.StatusUnauthorized) != (challenge != "") {
		f.t.Errorf("%s: %d with the challenge %q", what, status, challenge)
	}
}

// leaksNothing looks for what is in places that somebody may not pull from.
func (f *fortress) leaksNothing(what, who string, got reply) {
	f.t.Helper()
	text := got.text()
	for _, p := range places {
		if (!p.may(who, 'p') || p.lent && who == "" || p.refused == "all" && who != replicaOf(p.spelled)) && strings.Contains(text, p.marker) {
			f.t.Errorf("%s shows what is in %s: %s", what, p.home, text)
		}
	}
}

// What is not there for somebody is not told from what is not there at all.
func TestARefusalDoesNotTellWhetherAnythingIsThere(t *testing.T) {
	f := build(t, nil)
	pairs := map[string]string{
		"team/app": "team/abs", "vault/app": "vault/abs", "hidden/app": "hidden/abs", "gcr.io/corp/app": "gcr.io/corp/abs", "single": "absent",
	}
	for _, i := range f.identities(t)[:20] {
		for there, absent := range pairs {
			p := placeOf(there)
			if p.may(i.who, 'p') && !i.bad && !i.narrow || i.bad && there != "team/app" {
				continue
			}
			for _, r := range requests(p) {
				if status, _ := verdict(i, p, r); status != 401 && status != 403 || r.needs == 0 {
					continue
				}
				first := f.ask(r.method, "/v2/"+there+"/"+r.path, r.body, append(i.header(there), r.headers...)...).text()
				second := f.ask(r.method, "/v2/"+absent+"/"+r.path, r.body, append(i.header(absent), r.headers...)...).text()
				if got, want := strings.ReplaceAll(first, there, "NAME"), strings.ReplaceAll(second, absent, "NAME"); withoutLength(got) != withoutLength(want) {
					t.Errorf("%s: %s %s: is there:\n%s\nis not:\n%s", i.fact, r.method, r.path, got, want)
				}
			}
		}
	}
}

// withoutLength: the length of an answer that repeats a name is as long as the name.
func withoutLength(text string) string {
	head, rest, _ := strings.Cut(text, "Content-Length: ")
	_, rest, _ = strings.Cut(rest, "\r\n")
	return head + rest
}
