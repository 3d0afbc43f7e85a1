package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// image is a manifest that names nothing, and so can be pushed anywhere.
func emptyIndex(note string) (body, d string) {
	body = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"note":"` + note + `"}}`
	return body, digest.FromString(body).String()
}

// CVE-2026-41888: a tag could be deleted where deletions were switched off. Here nothing changes by any verb and by anybody.
func TestCVE_2026_41888_WhatIsSwitchedOffIsOffForEverybody(t *testing.T) {
	for _, mode := range []struct {
		fact string
		set  func(*Options)
		off  func(p place, r request) bool
	}{
		{"read only", func(o *Options) { o.ReadOnly = true }, func(_ place, r request) bool { return r.needs == 'u' || r.needs == 'd' }},
		{"no tag is deleted", func(o *Options) { o.NoDelete.Tags = true }, func(_ place, r request) bool { return r.needs == 'd' && r.path == "manifests/never" }},
		{"no manifest is deleted", func(o *Options) { o.NoDelete.Manifests = true }, func(_ place, r request) bool { return r.needs == 'd' && strings.HasPrefix(r.path, "manifests/sha256:") }},
		{"no blob is deleted", func(o *Options) { o.NoDelete.Blobs = true }, func(_ place, r request) bool { return r.needs == 'd' && strings.HasPrefix(r.path, "blobs/") }},
		{"nothing is deleted", func(o *Options) { o.NoDelete = NoDelete{Tags: true, Manifests: true, Blobs: true} }, func(_ place, r request) bool { return r.needs == 'd' }},
	} {
		t.Run(mode.fact, func(t *testing.T) {
			f := build(t, mode.set)
			all := f.identities(t)[:20]
			before := f.everything()
			for _, i := range all {
				for _, spelled := range []string{"team/app", "public/app", "library/nginx"} {
					p := placeOf(spelled)
					for _, r := range requests(p) {
						if !mode.off(p, r) || !p.hosted() {
							continue
						}
						got := f.ask(r.method, "/v2/"+spelled+"/"+r.path, r.body, append(i.header(spelled), r.headers...)...)
						want := f.switchedOff(i, p, r, mode.fact == "read only")
						if got.StatusCode != want || got.asked > 0 {
							t.Errorf("%s: %s %s: got %d %s after %d questions, want %d", i.fact, r.method, r.path, got.StatusCode, got.body, got.asked, want)
						}
					}
				}
				f.deletesNothing(i, mode.fact)
			}
			if f.everything() != before {
				t.Error("something has changed")
			}
		})
	}
}

// switchedOff: what nobody may is refused before anybody is asked who they are, except where their credential is no good.
func (f *fortress) switchedOff(i identity, p place, r request, readOnly bool) int {
	status, refused := verdict(i, p, r)
	if i.bad || refused && !readOnly {
		return status
	}
	return http.StatusMethodNotAllowed
}

// deletesNothing tries to delete what is there, in all ways that the mode switches off.
func (f *fortress) deletesNothing(i identity, mode string) {
	f.t.Helper()
	p := placeOf("team/app")
	paths := map[string][]string{
		"read only":              {"manifests/v1", "manifests/" + p.manifest, "blobs/" + p.blob, "tags/list", "referrers/" + p.manifest, "blobs/uploads/x"},
		"no tag is deleted":      {"manifests/v1", "manifests/" + p.marker, "tags/v1", "tags/list"},
		"no manifest is deleted": {"manifests/" + p.manifest, "referrers/" + p.manifest},
		"no blob is deleted":     {"blobs/" + p.blob},
		"nothing is deleted":     {"manifests/v1", "manifests/" + p.manifest, "blobs/" + p.blob, "referrers/" + p.manifest},
	}
	for _, path := range paths[mode] {
		for _, query := range []string{"", "?ns=docker.io"} {
			if r := f.ask("DELETE", "/v2/team/app/"+path+query, "", i.header("team/app")...); r.StatusCode < 400 {
				f.t.Errorf("%s: DELETE %s%s: %d", i.fact, path, query, r.StatusCode)
			}
		}
	}
}

// An upload that was begun before the server became read-only is neither written to nor cancelled.
func TestCVE_2026_41888_UploadsStayAsTheyWereWhereNothingMayChange(t *testing.T) {
	readOnly := false
	f := build(t, nil)
	alice := []string{"Authorization", basicAuth("alice", "password of alice")}
	session := f.ask("POST", "/v2/team/app/blobs/uploads/", "", alice...).Header.Get("Location")
	f.ask("PATCH", session, "begun", alice...)
	readOnly = true
	f.Server.o.ReadOnly = readOnly // as after a restart over the same store: nothing else reads it meanwhile
	before := f.everything()
	for _, verb := range []string{"GET", "HEAD", "PATCH", "PUT", "DELETE", "POST"} {
		r := f.ask(verb, session+"?digest="+digest.FromString("begun").String(), "", alice...)
		if r.StatusCode != 405 || r.asked > 0 {
			t.Errorf("%s: %d after %d questions", verb, r.StatusCode, r.asked)
		}
	}
	if f.everything() != before {
		t.Error("the upload has changed")
	}
}

// CVE-2026-31801: who might create, but not update, could overwrite latest all the same. Here both are push, in every way to
// write a tag, and what is asked under one right is never done under another.
func TestCVE_2026_31801_TagsAreWrittenByWhoMayPush(t *testing.T) {
	f := build(t, nil)
	all := f.identities(t)
	for n, i := range all {
		for _, spelled := range []string{"team/app", "team/new", "public/app", "vault/app"} {
			p := place{spelled: spelled, home: spelled, rights: map[string]map[string]string{"team": ofTeam, "public": ofPublic, "vault": ofAlice}[strings.Split(spelled, "/")[0]]}
			body, d := emptyIndex(fmt.Sprint(n, spelled))
			for _, target := range []string{
				"v1", "latest", "new", "LATEST", "_x", "v1.0-rc", "sha256-" + strings.Repeat("a", 64) + ".sig", "sha256-" + strings.Repeat("a", 64),
				d, d + "?tag=v1", d + "?tag=new1&tag=latest", d + "?tag=latest&tag=latest",
			} {
				r := f.ask("PUT", "/v2/"+spelled+"/manifests/"+target, body, append(i.header(spelled), "Content-Type", "application/vnd.oci.image.index.v1+json")...)
				may := p.may(i.who, 'u') && !i.bad && !i.narrow
				if may != (r.StatusCode == 201) || !may && r.asked > 0 {
					t.Errorf("%s: PUT %s/%s: %d %s", i.fact, spelled, target, r.StatusCode, r.body)
				}
			}
		}
	}
}

// CVE-2026-31801, of deletions: push is not delete, delete is not push, and neither is pull.
func TestCVE_2026_31801_RightsDoNotIncludeEachOther(t *testing.T) {
	f := build(t, nil)
	f.identities(t)
	as := func(user string) []string { return []string{"Authorization", basicAuth(user, "password of "+user)} }
	body, d := emptyIndex("x")
	image := []string{"Content-Type", "application/vnd.oci.image.index.v1+json"}
	for _, c := range []struct {
		user, method, path, body string
		status                   int
	}{
		{"deleter", "PUT", "manifests/x", body, 403},
		{"pusher", "PUT", "manifests/x", body, 201},
		{"pusher", "PUT", "manifests/x", body, 201}, // over itself
		{"pusher", "DELETE", "manifests/x", "", 403},
		{"pusher", "DELETE", "manifests/" + d, "", 403},
		{"pusher", "DELETE", "blobs/" + placeOf("public/app").blob, "", 403},
		{"carol", "DELETE", "manifests/x", "", 403},
		{"alice", "DELETE", "manifests/x", "", 403}, // of another place's staff
		{"bob", "PUT", "manifests/x", body, 403},
		{"deleter", "POST", "blobs/uploads/", "", 403},
		{"deleter", "DELETE", "manifests/x", "", 202},
		{"deleter", "DELETE", "manifests/" + d, "", 202},
	} {
		r := f.ask(c.method, "/v2/public/app/"+c.path, c.body, append(as(c.user), image...)...)
		if r.StatusCode != c.status {
			t.Errorf("%s: %s %s: got %d %s, want %d", c.user, c.method, c.path, r.StatusCode, r.body, c.status)
		}
	}
	// A token that was asked for one right does not give another, though its owner has it.
	for scope, c := range map[string]struct {
		method, path string
		status       int
	}{
		"repository:team/app:pull":              {"PUT", "manifests/x", 401},
		"repository:team/app:pull,push":         {"DELETE", "manifests/v1", 401},
		"repository:team/app:delete":            {"PUT", "manifests/x", 401},
		"repository:team/app:push":              {"GET", "manifests/v1", 401},
		"repository:team/app:pull ":             {"DELETE", "blobs/" + sha256, 401},
		"repository:team/app:*":                 {"PUT", "manifests/x", 201},
		"repository:team/ap:pull,push,delete":   {"GET", "manifests/v1", 401},
		"repository:team/app2:pull,push,delete": {"GET", "manifests/v1", 401},
		"repository:team:*":                     {"GET", "manifests/v1", 401},
		"repository:team/*:*":                   {"GET", "manifests/v1", 401},
		"repository:**:*":                       {"GET", "manifests/v1", 401},
		"registry:catalog:*":                    {"GET", "manifests/v1", 401},
	} {
		r := f.ask("GET", "/token?scope="+strings.ReplaceAll(scope, " ", "%20"), "", as("alice")...)
		if r.StatusCode == 400 && strings.Contains(scope, "*:*") {
			continue // a name that is none
		}
		token := tokenOf(t, r.body).Token
		if got := f.ask(c.method, "/v2/team/app/"+c.path, body, append([]string{"Authorization", "Bearer " + token}, image...)...); got.StatusCode != c.status {
			t.Errorf("%s: %s %s: got %d %s, want %d", scope, c.method, c.path, got.StatusCode, got.body, c.status)
		}
	}
}
