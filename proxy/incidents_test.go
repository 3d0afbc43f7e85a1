package proxy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
)

func as(user string) []string { return []string{"Authorization", basicAuth(user, "password of "+user)} }

// CVE-2024-3727: digests that were not looked at reached paths and addresses.
func TestCVE_2024_3727_WhatIsNoDigestTouchesNothing(t *testing.T) {
	f := build(t, nil)
	before := f.everything()
	bad := []string{
		"sha256:../../x", "sha256:..%2f..%2fx", "sha256:%2e%2e", "sha512:" + hex256, "sha512:short", "sha256:", "sha256:" + strings.ToUpper(hex256), "SHA256:" + hex256,
		"sha256:" + hex256 + "%00", "sha256:" + hex256[1:] + "%0a", "sha256:" + hex256 + "0", "sha256:" + strings.Repeat("a", 8000), "md5:d41d8cd98f00b204e9800998ecf8427e",
		"sha256+b64:" + hex256, "sha256:" + hex256[:62] + "zz", "sha256:" + hex256 + "/", "sha256:" + hex256 + "\\", "sha256:" + hex256 + "@x", "sha384:" + hex256, hex256,
	}
	for _, d := range bad {
		for _, name := range []string{"team/app", "hidden/app", "library/nginx", "gcr.io/corp/app"} {
			for _, r := range []request{
				{method: "GET", path: "manifests/" + d}, {method: "HEAD", path: "manifests/" + d}, {method: "PUT", path: "manifests/" + d, body: "{}"}, {method: "DELETE", path: "manifests/" + d},
				{method: "GET", path: "blobs/" + d}, {method: "HEAD", path: "blobs/" + d}, {method: "DELETE", path: "blobs/" + d}, {method: "GET", path: "referrers/" + d},
				{method: "POST", path: "blobs/uploads/?digest=" + d, body: "x"}, {method: "POST", path: "blobs/uploads/?mount=" + d + "&from=public/app"},
				{method: "PUT", path: "blobs/uploads/none?digest=" + d, body: "x"}, {method: "GET", path: "referrers/" + sha256 + "?last=" + d},
			} {
				if d == hex256 && strings.HasPrefix(r.path, "manifests/") {
					continue // which is a tag
				}
				if name != "team/app" && (strings.Contains(r.path, "last=") || strings.Contains(r.path, "uploads")) {
					continue // of hosted repositories
				}
				got := f.ask(r.method, "/v2/"+name+"/"+r.path, r.body, as("alice")...)
				if got.StatusCode < 400 || got.StatusCode >= 500 || got.asked > 0 {
					t.Errorf("%s %s/%s: %d %s after %d questions", r.method, name, r.path, got.StatusCode, got.body, got.asked)
				}
			}
		}
	}
	if f.everything() != before {
		t.Error("the store has changed")
	}
}

// CVE-2026-35172: a cache of descriptors forgot that a blob was deleted in one repository once another one had touched it.
func TestCVE_2026_35172_ABlobDeletedInARepositoryStaysGoneThere(t *testing.T) {
	store := mem.New(time.Now)
	blob := []byte("of both")
	d := digest.FromBytes(blob).String()
	s := startOver(t, store, nil)
	s.pushBlob(t, "team/a", "", blob)
	s.pushBlob(t, "team/b", "", blob)
	get := func(s *running, repo string) (statuses []int) {
		for _, method := range []string{"GET", "HEAD"} {
			for _, header := range [][]string{nil, {"Range", "bytes=0-1"}, {"If-None-Match", `"` + d + `"`}} {
				res, _ := s.do(t, method, "/v2/"+repo+"/blobs/"+d, header...)
				statuses = append(statuses, res.StatusCode)
			}
		}
		return statuses
	}
	wants := func(when string, s *running) {
		t.Helper()
		if got := get(s, "team/b"); slices.Contains(got, 404) {
			t.Errorf("%s: the other repository gives %v", when, got)
		}
		for _, status := range get(s, "team/a") {
			if status != 404 {
				t.Errorf("%s: what was deleted gives %d", when, status)
			}
		}
	}
	get(s, "team/a")
	s.expect(t, 202, "DELETE", "/v2/team/a/blobs/"+d, nil)
	wants("once it was deleted", s)
	s.expect(t, 201, "POST", "/v2/team/c/blobs/uploads/?mount="+d+"&from=team/b", nil)
	wants("once it was mounted elsewhere", s)
	s.expect(t, 202, "POST", "/v2/team/c/blobs/uploads/?mount="+d+"&from=team/a", nil)
	wants("in another replica", startOver(t, store, nil))
	s.expect(t, 202, "DELETE", "/v2/team/b/blobs/"+d, nil)
	for _, status := range append(get(s, "team/a"), get(s, "team/b")...) {
		if status != 404 {
			t.Errorf("deleted in both: %d", status)
		}
	}
}

// CVE-2024-39897: any blob could be had by its digest through any repository, and be mounted into one's own.
func TestCVE_2024_39897_ADigestOfOneRepositoryIsNothingInAnother(t *testing.T) {
	f := build(t, nil)
	f.identities(t)
	for _, c := range []struct{ user, through, of string }{
		{"alice", "public/app", "vault/app"}, {"alice", "team/abs", "vault/app"}, {"bob", "public/app", "team/app"}, {"bob", "team/app", "vault/app"},
		{"carol", "public/app", "team/app"}, {"alice", "library/nginx", "hidden/app"}, {"bob", "library/nginx", "hidden/app"}, {"carol", "gcr.io/open/app", "gcr.io/corp/app"},
		{"carol", "library/nginx", "vault/app"}, {"alice", "vault/app", "library/nginx"}, {"alice", "team/app", "gcr.io/corp/app"},
	} {
		p := placeOf(c.of)
		for kind, d := range map[string]string{"blobs": p.blob, "manifests": p.manifest, "referrers": p.manifest} {
			for _, method := range []string{"GET", "HEAD"} {
				for _, header := range [][]string{nil, {"Range", "bytes=0-9"}, {"Range", "bytes=-1"}, {"If-None-Match", `"` + d + `"`}, {"If-Range", d, "Range", "bytes=0-1"}} {
					header = append(as(c.user), header...)
					got := f.ask(method, "/v2/"+c.through+"/"+kind+"/"+d, "", header...)
					want := f.ask(method, "/v2/"+c.through+"/"+kind+"/"+never, "", header...)
					if strings.ReplaceAll(got.text(), d, never) != want.text() || strings.Contains(got.body, p.marker) || kind != "referrers" && got.StatusCode < 400 {
						t.Errorf("%s asks %s for %s of %s: %s %q gives %s", c.user, c.through, kind, c.of, method, header[2:], got.text())
					}
				}
			}
		}
		for _, from := range []string{c.through, c.of, ""} {
			if r := f.ask("POST", "/v2/team/thief/blobs/uploads/?mount="+p.blob+"&from="+from, "", as("alice")...); c.through == from && r.StatusCode != 202 {
				t.Errorf("mounted from %s: %d", from, r.StatusCode)
			}
			f.ask("DELETE", "/v2/team/thief/blobs/"+p.blob, "", as("alice")...)
		}
		// Who names a blob in a manifest has to have it.
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x/y","digest":%q,"size":%d},"layers":[]}`, p.blob, len(p.blobBytes))
		if r := f.ask("PUT", "/v2/team/thief/manifests/x", manifest, append(as("alice"), "Content-Type", "application/vnd.oci.image.manifest.v1+json")...); r.StatusCode != 404 {
			t.Errorf("a manifest that names a blob of %s: %d %s", c.of, r.StatusCode, r.body)
		}
	}
}

// CVE-2023-2253: a catalog made room for as many names as were asked for, and CVE-2017-11468: so did bodies.
func TestCVE_2023_2253_APageIsAsLongAsWhatThereIs(t *testing.T) {
	f := build(t, nil)
	for n, status := range map[string]int{
		"2147483647": 200, "10000000": 200, "0": 200, "1": 200, "00001": 200, "2147483648": 400, "9223372036854775807": 400, "99999999999999999999": 400, "-1": 400, "abc": 400,
		"": 400, "1e9": 400, "0x10": 400, "+1": 400, " 1": 400, "1.5": 400, "%d9%a1": 400, "null": 400,
	} {
		for _, path := range []string{"/v2/_catalog", "/v2/_catalog?ns=docker.io", "/v2/team/app/tags/list", "/v2/library/nginx/tags/list", "/v2/team/app/referrers/" + placeOf("team/app").manifest} {
			glue := "?"
			if strings.Contains(path, "?") {
				glue = "&"
			}
			var got reply
			grown := allocated(func() { got = f.ask("GET", path+glue+"n="+strings.ReplaceAll(n, " ", "%20"), "", as("alice")...) })
			if got.StatusCode != status || grown > 4<<20 {
				t.Errorf("%s n=%q: %d %.100s, %d bytes were allocated; want %d", path, n, got.StatusCode, got.body, grown, status)
			}
			if status == 400 && strings.Contains(path, "_catalog") && got.asked > 0 {
				t.Errorf("%s n=%q: %d questions", path, n, got.asked)
			}
		}
	}
	for _, path := range []string{"/v2/_catalog?last=", "/v2/team/app/tags/list?last=", "/v1/search?q=", "/v2/library/nginx/referrers/" + sha256 + "?artifactType="} {
		if r := f.ask("GET", path+strings.Repeat("a", 8000), "", as("alice")...); r.StatusCode != 400 {
			t.Errorf("%s of 8000 bytes: %d", path, r.StatusCode)
		}
	}
}

// CVE-2024-22244, and what others call open redirects: an answer that sends a client elsewhere.
func TestCVE_2024_22244_AnswersLeadNowhereElse(t *testing.T) {
	f := build(t, nil)
	evil := []string{"//evil.test", "/\\evil.test", "http://evil.test", "https:evil.test", "\\\\evil.test", "%2f%2fevil.test", "/%09/evil.test", "evil.test", "evil.test%0d%0aX-Evil:1"}
	for _, value := range evil {
		for _, target := range []string{
			"POST /v2/team/app/blobs/uploads/?ns=" + value, "POST /v2/team/app/blobs/uploads/?from=" + value + "&mount=" + never, "POST /v2/team/app/blobs/uploads/?return_url=" + value,
			"GET /v2/_catalog?n=1&last=" + value, "GET /v2/_catalog?n=1&ns=" + value, "GET /v2/team/app/tags/list?n=1&redirect=" + value, "GET /v1/search?q=" + value,
			"GET /v2/?next=" + value, "GET /token?service=" + value + "&redirect_uri=" + value, "GET /" + value, "GET /v2/" + value + "/manifests/v1", "GET /v2/team/app/blobs/" + value,
			"GET /v2/team/app/referrers/" + placeOf("team/app").manifest + "?n=1&artifactType=" + value,
		} {
			method, path, _ := strings.Cut(target, " ")
			if strings.Contains(path, "\\") || strings.HasPrefix(path, "///") {
				path = strings.ReplaceAll(path, "\\", "%5C")
			}
			r := f.ask(method, path, "", as("alice")...)
			if r.StatusCode >= 300 && r.StatusCode < 400 {
				t.Errorf("%s redirects: %d", target, r.StatusCode)
			}
			for _, header := range []string{"Location", "Link", "Content-Location", "Refresh", "X-Evil"} {
				for _, v := range r.Header.Values(header) {
					v = strings.TrimPrefix(v, "<")
					if u, err := url.Parse(strings.Split(v, ">")[0]); err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(v, "/v2/") {
						t.Errorf("%s: %s: %s", target, header, v)
					}
				}
			}
		}
	}
}

// CVE-2024-22244, of the realm: clients send their passwords there.
func TestCVE_2024_22244_TheRealmHoldsNothingButAHost(t *testing.T) {
	f := build(t, nil)
	for host, want := range map[string]string{
		"registry.test:5000": "http://registry.test:5000/token", "[::1]:5000": "http://[::1]:5000/token", "10.0.0.1": "http://10.0.0.1/token",
		`evil.test",service="x`: "", `evil.test"`: "", "evil.test/path": "", "evil.test?x": "", "evil.test#x": "", "evil.test%22": "", "evil,test": "",
		"evil test": "", `evil\.test`: "", "<evil>": "", "evil\x00": "", "évil.test": "", "": "",
	} {
		got := f.raw("GET /v2/ HTTP/1.1\r\nHost: " + host + "\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n")
		_, challenge, _ := strings.Cut(got, "Www-Authenticate: ")
		challenge, _, _ = strings.Cut(challenge, "\r\n")
		if strings.HasPrefix(got, "HTTP/1.1 400 ") && want == "" {
			continue
		}
		if strings.Contains(challenge, "evil") || strings.Count(challenge, `"`) != 4 || want != "" && !strings.Contains(challenge, `realm="`+want+`"`) {
			t.Errorf("%q: %q", host, challenge)
		}
	}
}

// CVE-2020-13788, CVE-2025-59346 and their kin: whoever may ask a registry makes it ask hosts within the network. Here ns and
// every other name are looked up in the configuration, and nothing else is asked.
func TestCVE_2020_13788_CVE_2025_59346_NoNameMakesTheServerAskElsewhere(t *testing.T) {
	f := build(t, nil)
	for _, host := range []string{"169.254.169.254", "localhost", "127.0.0.1:5001", "[::1]", "metadata.google.internal", "evil.test", "docker.io.evil.test", "docker.io@evil.test", "docker.io:80",
		"docker.io%2f..", "http://127.0.0.1", "0x7f000001", "2130706433"} {
		for _, user := range []string{"alice", "carol"} {
			for _, target := range []string{
				"GET /v2/x/y/manifests/v1?ns=" + host, "HEAD /v2/x/y/manifests/v1?ns=" + host, "GET /v2/x/y/blobs/" + sha256 + "?ns=" + host, "GET /v2/x/y/tags/list?ns=" + host,
				"GET /v2/x/y/referrers/" + sha256 + "?ns=" + host, "GET /v2/_catalog?ns=" + host, "GET /v1/search?q=x&ns=" + host, "POST /v2/team/app/blobs/uploads/?ns=" + host,
			} {
				method, path, _ := strings.Cut(target, " ")
				if r := f.ask(method, path, "", as(user)...); r.StatusCode != 404 && r.StatusCode != 403 || r.asked > 0 {
					t.Errorf("%s: %s: %d after %d questions", user, target, r.StatusCode, r.asked)
				}
			}
		}
	}
}

// CVE-2024-22278, CVE-2022-31668: what belongs to somebody else was changed by naming it in one's own request.
func TestCVE_2024_22278_CVE_2022_31668_NamingAnotherRepositoryDoesNotHelp(t *testing.T) {
	f := build(t, nil)
	for _, query := range []string{"ns=docker.io", "from=vault/app", "name=vault/app", "repository=vault/app", "tag=v1&tag=../../vault/app/tags/v1", "mount=" + sha256 + "&from=../vault/app"} {
		before := f.everything()
		body, d := emptyIndex("x")
		for _, target := range []string{"PUT /v2/vault/app/manifests/x?", "PUT /v2/vault/app/manifests/" + d + "?", "DELETE /v2/vault/app/manifests/v1?", "POST /v2/vault/app/blobs/uploads/?"} {
			method, path, _ := strings.Cut(target, " ")
			r := f.ask(method, path+query, body, append(as("pusher"), "Content-Type", "application/vnd.oci.image.index.v1+json")...)
			if r.StatusCode != 403 || r.asked > 0 {
				t.Errorf("%s%s: %d after %d questions", target, query, r.StatusCode, r.asked)
			}
		}
		if f.everything() != before {
			t.Errorf("%s: something has changed", query)
		}
	}
}
