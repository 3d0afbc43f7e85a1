package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage/mem"
)

// allocated is how many bytes were, by everybody, while do ran.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// CVE-2025-23208: groups were added to and never taken from, so that whoever had left one kept its rights.
func TestCVE_2025_23208_WhoLeavesAGroupIsRefusedFromThenOn(t *testing.T) {
	f := build(t, nil)
	basic := as("alice")
	bearer := []string{"Authorization", "Bearer " + f.token("alice", "password of alice", "repository:team/app:pull,push,delete repository:hidden/app:pull")}
	gets := func(want int) {
		t.Helper()
		for _, header := range [][]string{basic, bearer} {
			for _, target := range []string{"/v2/team/app/manifests/v1", "/v2/hidden/app/manifests/v1"} {
				if r := f.ask("GET", target, "", header...); r.StatusCode != want || want == 401 && r.asked > 0 {
					t.Errorf("%s by %.12s: %d after %d questions, want %d", target, header[1], r.StatusCode, r.asked, want)
				}
			}
		}
	}
	gets(200)
	f.write("policy.yaml", strings.Replace(matrixPolicy, "staff: [alice, gone]", "staff: [gone]", 1))
	f.refresh()
	gets(401)
	if r := f.ask("POST", "/v2/team/app/blobs/uploads/", "", bearer...); r.StatusCode != 403 || r.asked > 0 {
		t.Errorf("a push: %d", r.StatusCode)
	}
	f.write("policy.yaml", matrixPolicy)
	f.refresh()
	gets(200)
	f.write("policy.yaml", "groups: {staff: []}\nhosted: []\nupstream: []\n")
	f.refresh()
	gets(401)
	f.write("policy.yaml", "hosted: {") // a mistake changes nothing
	_ = f.guard.Refresh(t.Context())    // which leaves it for the next look
	if err := f.guard.Refresh(t.Context()); err == nil {
		t.Error("a broken policy is no error")
	}
	gets(401)
}

// CVE-2026-4404, CVE-2023-27584: installations came with a password, or with a key that all of them shared.
func TestCVE_2026_4404_NobodyIsLetInByDefault(t *testing.T) {
	f := build(t, nil)
	f.write("htpasswd", "# nobody yet\n")
	f.refresh()
	for _, c := range [][2]string{{"admin", "admin"}, {"admin", ""}, {"", ""}, {"alice", ""}, {"robot+ci", ""}, {"robot+", ""}} {
		for _, target := range []string{"GET /v2/", "GET /v2/team/app/manifests/v1", "GET /token?scope=repository:team/app:pull,push", "POST /v2/team/app/blobs/uploads/"} {
			method, path, _ := strings.Cut(target, " ")
			if r := f.ask(method, path, "", "Authorization", basicAuth(c[0], c[1])); r.StatusCode != 401 || r.asked > 0 {
				t.Errorf("%q: %s: %d %s", c, target, r.StatusCode, r.body)
			}
		}
	}
	if r := f.ask("GET", "/v2/team/app/manifests/v1", ""); r.StatusCode != 401 {
		t.Errorf("nobody gets %d", r.StatusCode)
	}
}

// CVE-2023-27584: a token of one installation was good for all.
func TestCVE_2023_27584_KeysAreOfOneInstallation(t *testing.T) {
	f := build(t, nil)
	seen := map[string]bool{}
	for range 3 {
		store := mem.New(time.Now)
		token := tokenFrom(t, f.open("", store), "alice", "password of alice", "repository:team/app:pull")
		if r := f.ask("GET", "/v2/team/app/manifests/v1", "", "Authorization", "Bearer "+token); r.StatusCode != 401 || r.asked > 0 {
			t.Errorf("a token of another installation: %d", r.StatusCode)
		}
		for info, err := range store.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			record, _, err := store.Get(t.Context(), info.Key)
			if err != nil || seen[string(record)] {
				t.Errorf("%s is in two installations: %v", info.Key, err)
			}
			seen[string(record)] = true
		}
	}
	if len(seen) == 0 {
		t.Error("no key was made")
	}
}

// CVE-2026-34040: a body that the policy could not read got around it. Here nothing is done by halves of a body.
func TestCVE_2026_34040_WhatCannotBeReadIsRefused(t *testing.T) {
	f := build(t, nil)
	form := url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"password of alice"}, "scope": {"repository:team/app:pull,push"}}.Encode()
	manifest, _ := emptyIndex("x")
	auth := "Authorization: " + basicAuth("alice", "password of alice") + "\r\n"
	before := f.everything()
	for _, c := range []struct{ fact, head, body string }{
		{"a form after 64 KiB of padding", "POST /token", "x=" + strings.Repeat("a", 64<<10) + "&" + form},
		{"a form before 64 KiB of padding", "POST /token", form + "&x=" + strings.Repeat("a", 64<<10)},
		{"a form after 10 MB of padding", "POST /token", "x=" + strings.Repeat("a", 10<<20) + "&" + form},
		{"a manifest of more than 4 MiB", "PUT /v2/team/app/manifests/big", strings.Replace(manifest, `"x"`, `"`+strings.Repeat("a", 4<<20)+`"`, 1)},
		{"a manifest of more than 4 MiB, by someone else", "PUT /v2/vault/app/manifests/big", strings.Replace(manifest, `"x"`, `"`+strings.Repeat("a", 4<<20)+`"`, 1)},
	} {
		for how, body := range map[string]string{
			"with a length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(c.body), c.body),
			"in chunks":     fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(c.body), c.body),
			"cut off":       fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(c.body)+1, c.body),
			"cut chunks":    fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(c.body)+1, c.body),
		} {
			got := f.halfClosed(c.head + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + auth + body)
			if !strings.HasPrefix(got, "HTTP/1.1 4") && got != "" || strings.Contains(got, "access_token") {
				t.Errorf("%s, %s: %.200q", c.fact, how, got)
			}
		}
	}
	for fact, body := range map[string]string{
		"a short form that is cut off":  fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(form)+1, form),
		"one in chunks that is cut off": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(form)+1, form),
		"without its last chunk":        fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(form), form),
		"nothing":                       "Content-Length: 0\r\n\r\n",
		"no body at all":                "\r\n",
	} {
		if got := f.halfClosed("POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + body); !strings.HasPrefix(got, "HTTP/1.1 4") && got != "" {
			t.Errorf("%s: %.200q", fact, got)
		}
	}
	if f.everything() != before {
		t.Error("the store has changed")
	}
}

// halfClosed is raw by a client that has nothing more to say, and may not be listened to any more.
func (f *fortress) halfClosed(request string) string {
	f.t.Helper()
	c := f.connect()
	defer c.Close()
	_, _ = io.WriteString(c, request) // the answer may come before the end
	_ = c.CloseWrite()
	b, _ := io.ReadAll(c)
	return string(b)
}

// CVE-2025-59345, CVE-2026-24124, CVE-2026-49254: what is for those who look after a server was open to everybody.
func TestCVE_2025_59345_NothingOfTheAdminIsOnThisPort(t *testing.T) {
	f := build(t, nil)
	for _, path := range []string{
		"/metrics", "/healthz", "/readyz", "/health", "/status", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/profile?seconds=1", "/debug/vars",
		"/debug", "/cached", "/cached?repository=team/app", "/gc", "/verify", "/robots", "/robots/ci", "/users", "/policy", "/policy/check", "/keys", "/token/keys", "/config", "/env", "/admin",
		"/api", "/api/v1", "/v2/_gc", "/v2/_robots", "/v2/_debug/pprof/", "/v2/metrics", "/v1/metrics", "/entrepot.sock", "/refresh", "/purge", "/reload", "/shutdown",
	} {
		for _, verb := range verbs {
			for _, header := range [][]string{nil, as("alice")} {
				r := f.ask(verb, path, "", header...)
				if r.StatusCode != 404 && r.StatusCode != 400 || r.asked > 0 || strings.Contains(r.body, "goroutine") {
					t.Errorf("%s %s: %d %.100s", verb, path, r.StatusCode, r.body)
				}
			}
		}
	}
}

// CVE-2022-47747: a server of files for tests read any file. No path is one of a file here.
func TestCVE_2022_47747_NoPathIsAFile(t *testing.T) {
	f := build(t, nil)
	secret := filepath.Join(f.secret, "htpasswd")
	for _, prefix := range []string{"", "/v2/", "/v2/team/app/blobs/", "/v2/team/app/manifests/", "/v2/team/app/blobs/uploads/", "/v2/team/app/", "/v1/", "/token/"} {
		for _, path := range []string{secret, "file://" + secret, "/../../../../../../../.." + secret, "/%2e%2e/%2e%2e/%2e%2e/%2e%2e" + secret, "..%2f..%2f..%2f..%2f.." + secret, "/etc/passwd", "/proc/self/environ",
			"..\\..\\..\\etc\\passwd", "%00/etc/passwd", "....//....//etc/passwd", "/%252e%252e/etc/passwd"} {
			got := f.raw("GET " + prefix + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + basicAuth("alice", "password of alice") + "\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 4") || strings.Contains(got, "$2a$") || strings.Contains(got, "root:") {
				t.Errorf("%s%s: %.200q", prefix, path, got)
			}
		}
	}
}

// GO-2026-4950, CVE-2022-21221: fasthttp's own files were found by a path that was decoded once more than it was checked.
func TestGO_2026_4950_CVE_2022_21221_APathIsDecodedNowhere(t *testing.T) {
	f := build(t, nil)
	f.identities(t)
	for _, c := range []struct{ fact, path string }{
		{"once", "/v2/%74eam/app/manifests/v1"}, {"twice", "/v2/%2574eam/app/manifests/v1"}, {"three times", "/v2/%252574eam/app/manifests/v1"},
		{"a slash", "/v2/team%2Fapp/manifests/v1"}, {"a slash twice", "/v2/team%252Fapp/manifests/v1"}, {"a backslash", "/v2/team%5Capp/manifests/v1"},
		{"upwards", "/v2/public/%2e%2e/team/app/manifests/v1"}, {"upwards twice", "/v2/public/%252e%252e/team/app/manifests/v1"}, {"upwards by backslashes", "/v2/public\\..\\team/app/manifests/v1"},
		{"the endpoint", "/v2/team/app/%6danifests/v1"}, {"the tag", "/v2/team/app/manifests/%761"}, {"the version", "/%762/team/app/manifests/v1"}, {"the question mark", "/v2/public/app%3F/../../team/app/manifests/v1"},
		{"the digest's colon twice", "/v2/team/app/manifests/" + strings.Replace(placeOf("team/app").manifest, ":", "%253A", 1)},
		{"a surrogate", "/v2/team/app/manifests/%u0076%u0031"}, {"too long a form", "/v2/team%c0%afapp/manifests/v1"},
	} {
		for _, user := range []string{"", "carol", "alice"} {
			var header []string
			if user != "" {
				header = as(user)
			}
			r := f.ask("GET", c.path, "", header...)
			f.leaksNothing(c.fact, "", r)
			if r.StatusCode < 400 || r.asked > 0 {
				t.Errorf("%s by %q: %d after %d questions", c.fact, user, r.StatusCode, r.asked)
			}
		}
	}
	// The one escape that is read, that of a digest's colon, is read before the policy.
	d := strings.Replace(placeOf("team/app").manifest, ":", "%3A", 1)
	for user, want := range map[string]int{"alice": 200, "carol": 401} {
		if r := f.ask("GET", "/v2/team/app/manifests/"+d, "", as(user)...); r.StatusCode != want {
			t.Errorf("a digest's colon, by %s: %d", user, r.StatusCode)
		}
	}
}

// GHSA-4j4m-fchf-gr9r: content that was to be held back came by HEAD, by a range, by its digest, or once it was cached.
func TestGHSA_4j4m_fchf_gr9r_WhatMayNotComeInComesByNoRoute(t *testing.T) {
	f := build(t, nil)
	f.identities(t)
	all, tags := placeOf("team2/xmrig"), placeOf("library/pinned")
	for _, header := range [][]string{nil, as("alice"), as("carol"), {"Authorization", "Bearer " + f.token("alice", "password of alice", "repository:team2/xmrig:pull repository:docker.io/team2/xmrig:pull repository:gcr.io/docker.io/team2/xmrig:pull repository:library/pinned:pull")}} {
		for _, ref := range []string{"manifests/v1", "manifests/hot", "manifests/latest", "manifests/" + all.manifest, "manifests/none", "blobs/" + all.blob, "blobs/" + never, "tags/list", "referrers/" + all.manifest} {
			for _, method := range []string{"GET", "HEAD"} {
				for _, spelled := range []string{"/v2/team2/xmrig/%s", "/v2/docker.io/team2/xmrig/%s", "/v2/team2/xmrig/%s?ns=docker.io", "/v2/gcr.io/docker.io/team2/xmrig/%s"} {
					for _, more := range [][]string{nil, {"Range", "bytes=0-1"}, {"If-None-Match", `"` + all.manifest + `"`}} {
						r := f.ask(method, fmt.Sprintf(spelled, ref), "", append(append([]string{}, header...), more...)...)
						if r.StatusCode != 403 || r.asked > 0 || method == "GET" && !strings.Contains(r.body, "miners") {
							t.Errorf("%s %s: %d %s after %d questions", method, fmt.Sprintf(spelled, ref), r.StatusCode, r.body, r.asked)
						}
					}
				}
			}
		}
		for _, method := range []string{"GET", "HEAD"} {
			for ref, want := range map[string]int{"manifests/v1": 403, "manifests/latest": 403, "manifests/" + tags.manifest: 200, "blobs/" + tags.blob: 200, "tags/list": 200, "manifests/hot": 200} {
				if r := f.ask(method, "/v2/library/pinned/"+ref, "", header...); r.StatusCode != want || want == 403 && r.asked > 0 {
					t.Errorf("%s %s of what may come in by digest: %d after %d questions, want %d", method, ref, r.StatusCode, r.asked, want)
				}
			}
		}
		for _, query := range []string{"", "?n=1", "?n=2", "?n=1&last=latest"} {
			r := f.ask("GET", "/v2/library/pinned/tags/list"+query, "", header...)
			if strings.Contains(r.body, `"latest"`) || strings.Contains(r.body, `"v1"`) {
				t.Errorf("tags%s: %s", query, r.body)
			}
		}
	}
	if r := f.ask("GET", "/v2/_catalog?ns=docker.io", ""); strings.Contains(r.body, "xmrig") {
		t.Errorf("the catalog has %s", r.body)
	}
	if r := f.ask("GET", "/v1/search?q=xmrig", ""); strings.Contains(r.body, `xmrig"`) && !strings.Contains(r.body, `"results":[]`) {
		t.Errorf("a search finds %s", r.body)
	}
}

// GHSA-4j4m-fchf-gr9r: what somebody pushes says nothing of what comes from upstream under the same name or digest.
func TestGHSA_4j4m_fchf_gr9r_APushLetsNothingIn(t *testing.T) {
	f := build(t, nil)
	p := placeOf("team2/xmrig")
	manifest, blob := p.manifestBytes, p.blobBytes
	for _, b := range [][]byte{blob, []byte("{}")} {
		if r := f.ask("POST", "/v2/team/xmrig/blobs/uploads/?digest="+digestOf(b), string(b), as("alice")...); r.StatusCode != 201 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	header := append(as("alice"), "Content-Type", "application/vnd.oci.image.manifest.v1+json")
	if r := f.ask("PUT", "/v2/team/xmrig/manifests/v1", string(manifest), header...); r.StatusCode != 201 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	for _, ref := range []string{"manifests/v1", "manifests/" + p.manifest, "blobs/" + p.blob} {
		if r := f.ask("GET", "/v2/team2/xmrig/"+ref, "", as("alice")...); r.StatusCode != 403 {
			t.Errorf("%s: %d", ref, r.StatusCode)
		}
	}
}

// Admins are no exception, and a server without users has no other way in either.
func TestGHSA_4j4m_fchf_gr9r_WithoutUsersTheSameHolds(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("incoming:\n  - deny: [docker.io/library/nginx]\n    because: no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	guard, err := access.Open(t.Context(), access.Options{Policy: policy, Upstreams: []string{"docker.io", "gcr.io"}})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, filled(), func(o *Options) { o.Access = guard })
	for _, path := range []string{"manifests/hot", "manifests/cold", "manifests/" + sha256, "blobs/" + sha256, "blobs/" + sha512, "tags/list", "referrers/" + sha256} {
		for _, method := range []string{"GET", "HEAD"} {
			res, body := s.do(t, method, "/v2/library/nginx/"+path)
			if res.StatusCode != 403 || res.Header.Get("Www-Authenticate") != "" {
				t.Errorf("%s %s: %d %s", method, path, res.StatusCode, body)
			}
		}
	}
	if got := s.cache.questions(); len(got) > 0 {
		t.Errorf("the cache was asked %q", got)
	}
	if res, _ := s.send(t, "POST", "/v2/team/img/blobs/uploads/?mount="+sha256+"&from=library/nginx", bytes.NewReader(nil)); res.StatusCode != 202 {
		t.Errorf("a mount: %d", res.StatusCode)
	}
}

// GO-2026-4950 again: the library's own ways to serve files are used nowhere.
func TestGO_2026_4950_NothingServesFilesByTheirPath(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../e2e/") {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, way := range []string{"fasthttp.FS", "fasthttp.ServeFile", ".SendFile(", "http.ServeFile", "http.FileServer", "http.Dir("} {
			if strings.Contains(string(text), way) {
				t.Errorf("%s uses %s", path, way)
			}
		}
		return err
	})
	if err != nil || files < 100 {
		t.Errorf("%d files were read, %v", files, err)
	}
}
