package proxy

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// An upload is for whoever began it, and others who may push cannot tell it from one that is not there.
func TestAnUploadIsThereForWhoeverBeganIt(t *testing.T) {
	f := build(t, nil)
	all := f.identities(t)
	alice := all[2]
	session := f.ask("POST", "/v2/team/app/blobs/uploads/", "", alice.header("team/app")...).Header.Get("Location")
	absent := session[:strings.LastIndexByte(session, '/')+1] + strings.Repeat("0", len(session)-strings.LastIndexByte(session, '/')-1)
	before := f.everything()
	for _, i := range all {
		if i.who == "alice" && !i.bad && !i.narrow {
			continue
		}
		for _, r := range []request{
			{method: "GET"}, {method: "HEAD"}, {method: "PATCH", body: "stolen"}, {method: "PUT", path: "?digest=" + digest.FromString("stolen").String(), body: "stolen"},
			{method: "PUT", path: "?digest=" + digest.FromString("").String()}, {method: "DELETE"},
		} {
			got := f.ask(r.method, session+r.path, r.body, i.header("team/app")...)
			want := f.ask(r.method, absent+r.path, r.body, i.header("team/app")...)
			if got.StatusCode < 400 || strings.ReplaceAll(got.text(), session, absent) != want.text() {
				t.Errorf("%s: %s: got %s, want %s", i.fact, r.method, got.text(), want.text())
			}
		}
	}
	if f.everything() != before {
		t.Error("somebody else changed it")
	}
	other := strings.Replace(session, "team/app", "team/abs", 1)
	for _, i := range all {
		if i.who != "alice" || i.bad || i.narrow {
			continue
		}
		if r := f.ask("PATCH", other, "x", i.header("team/abs")...); r.StatusCode != 404 {
			t.Errorf("%s, through another repository: %d", i.fact, r.StatusCode)
		}
		if r := f.ask("GET", session, "", i.header("team/app")...); r.StatusCode != 204 || r.Header.Get("Range") != "0-0" {
			t.Errorf("%s: %d, range %q", i.fact, r.StatusCode, r.Header.Get("Range"))
		}
	}
	if r := f.ask("PUT", session+"?digest="+digest.FromString("mine").String(), "mine", alice.header("team/app")...); r.StatusCode != 201 {
		t.Errorf("its end: %d %s", r.StatusCode, r.body)
	}
}

// A blob is mounted from where the caller may pull it, and an upload begins everywhere else, whether it is there or not.
func TestBlobsAreMountedFromWhereTheCallerMayPull(t *testing.T) {
	f := build(t, nil)
	type mount struct{ from, blob string }
	vault, public, hidden, nginx, corp := placeOf("vault/app"), placeOf("public/app"), placeOf("hidden/app"), placeOf("library/nginx"), placeOf("gcr.io/corp/app")
	ours, xmrig, pinned, team := placeOf("corp.example/ours/app"), placeOf("team2/xmrig"), placeOf("library/pinned"), placeOf("team/app")
	cases := []struct {
		fact string
		mount
		by map[string]bool // who may
	}{
		{"from where everybody may pull", mount{"public/app", public.blob}, map[string]bool{"alice": true, "robot+ci": true}},
		{"from where only alice may", mount{"vault/app", vault.blob}, map[string]bool{"alice": true}},
		{"without saying from where, what everybody may pull", mount{"", public.blob}, map[string]bool{"alice": true, "robot+ci": true}},
		{"without saying from where, what only alice may pull", mount{"", vault.blob}, map[string]bool{"alice": true}},
		{"from where it is not, though it is elsewhere", mount{"public/app", vault.blob}, nil},
		{"from a repository that is not there", mount{"vault/abs", vault.blob}, nil},
		{"from the cache", mount{"library/nginx", nginx.blob}, map[string]bool{"alice": true, "robot+ci": true}},
		{"from the cache, by prefix", mount{"docker.io/nginx", nginx.blob}, map[string]bool{"alice": true, "robot+ci": true}},
		{"from the cache, for staff", mount{"hidden/app", hidden.blob}, map[string]bool{"alice": true}},
		{"from the cache, for staff, by prefix", mount{"docker.io/hidden/app", hidden.blob}, map[string]bool{"alice": true}},
		{"from the cache, of another upstream", mount{"gcr.io/corp/app", corp.blob}, map[string]bool{"alice": true}},
		{"from the cache, where it is not", mount{"library/nginx", hidden.blob}, nil},
		{"without saying from where, what only the cache has", mount{"", nginx.blob}, nil},
		{"of a private upstream", mount{"corp.example/ours/app", ours.blob}, map[string]bool{"alice": true, "robot+ci": true}},
		{"of what may not come in", mount{"team2/xmrig", xmrig.blob}, nil},
		{"by digest, of what may not come in by tag", mount{"library/pinned", pinned.blob}, map[string]bool{"alice": true, "robot+ci": true}},
		{"from an unknown upstream", mount{"quay.io/a/b", public.blob}, nil},
		{"from itself", mount{"team/app", team.blob}, map[string]bool{"alice": true, "robot+ci": true}},
	}
	names := []string{"public/app", "vault/app", "vault/abs", "library/nginx", "docker.io/nginx", "hidden/app", "docker.io/hidden/app", "gcr.io/corp/app",
		"corp.example/ours/app", "team2/xmrig", "library/pinned", "quay.io/a/b", "team/app"}
	for _, i := range f.identities(t) {
		if i.bad || i.narrow || i.who != "alice" && i.who != "robot+ci" {
			continue
		}
		header := i.across("team/new", names...)
		for _, c := range cases {
			query := "?mount=" + c.blob
			if c.from != "" {
				query += "&from=" + c.from
			}
			r := f.ask("POST", "/v2/team/new/blobs/uploads/"+query, "", header...)
			want := 202
			if c.by[i.who] {
				want = 201
			}
			if r.StatusCode != want {
				t.Errorf("%s, %s: got %d %s, want %d", i.fact, c.fact, r.StatusCode, r.body, want)
			}
			if want == 202 {
				if r := f.ask("HEAD", "/v2/team/new/blobs/"+c.blob, "", header...); r.StatusCode == 200 {
					t.Errorf("%s, %s: it is there", i.fact, c.fact)
				}
			}
			f.ask("DELETE", "/v2/team/new/blobs/"+c.blob, "", "Authorization", basicAuth("alice", "password of alice"))
		}
	}
}

// A token is good for the repositories that it was asked for, also where its owner may do more.
func TestATokenMountsFromWhatItWasAskedFor(t *testing.T) {
	f := build(t, nil)
	f.identities(t)
	header := []string{"Authorization", "Bearer " + f.token("alice", "password of alice", "repository:team/new:pull,push")}
	for _, from := range []string{"&from=vault/app", ""} {
		r := f.ask("POST", "/v2/team/new/blobs/uploads/?mount="+placeOf("vault/app").blob+from, "", header...)
		if r.StatusCode != 202 {
			t.Errorf("from %q: %d %s", from, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

// across gives the headers of a request for one repository that takes from others.
func (i identity) across(to string, from ...string) []string {
	return i.header(to + ":pull,push,delete repository:" + strings.Join(from, ":pull repository:"))
}
