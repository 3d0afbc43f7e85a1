package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// spelling is one way to write a request for a repository. Those that are another way to its content lead there for alice.
type spelled struct {
	target string // of the request line; NAME-less: %s is the rest of the path
	host   string
	leads  bool
}

// TestNoSpellingGetsAroundThePolicy sends requests as they are written, past every client library's cleaning.
func TestNoSpellingGetsAroundThePolicy(t *testing.T) {
	f := build(t, nil)
	all := f.identities(t)
	alice := all[2]
	hub, hubOne, gcr, team := placeOf("hidden/app"), placeOf("library/hidden"), placeOf("gcr.io/corp/app"), placeOf("team/app")
	for p, ways := range map[*place][]spelled{
		&hub: {
			{"/v2/hidden/app/%s", "", true},
			{"/v2/docker.io/hidden/app/%s", "", true},
			{"/v2/registry-1.docker.io/hidden/app/%s", "", true},
			{"/v2/index.docker.io/hidden/app/%s", "", true},
			{"/v2/hidden/app/%s?ns=docker.io", "", true},
			{"/v2/hidden/app/%s?ns=registry-1.docker.io", "", true},
			{"/v2/hidden/app/%s?ns=index.docker.io", "", true},
			{"/v2/hidden/app/%s?ns=registry.test", "", true},
			{"/v2/hidden/app/%s?ns=x.test:1", "x.test:1", true},
			{"/v2/hidden/app/%s?ns=", "", true},
			{"/v2/hidden/app/%s?ns=docker.io&ns=gcr.io", "", true},
			{"/v2/hidden/app/%s?NS=gcr.io", "", true},
			{"/v2/hidden/app/%s", "hub.mirror.test", true},
			{"/v2/hidden/app/%s", "hub.mirror.test:5000", true},
			{"/v2/hidden/app/%s#/../../public/app/manifests/v1", "", true},
			{"http://x/v2/hidden/app/%s", "", true},
			{"http://hub.mirror.test/v2/hidden/app/%s", "public.test", true},
			{"/v2/hidden/app/%s?ns=gcr.io&ns=docker.io", "", false},
			{"/v2/hidden/app/%s?ns=DOCKER.IO", "", false},
			{"/v2/hidden/app/%s?ns=docker.io.", "", false},
			{"/v2/hidden/app/%s?ns=docker.io:443", "", false},
			{"/v2/hidden/app/%s?ns=docker.io/", "", false},
			{"/v2/hidden/app/%s?ns=%%64ocker.io", "", true},
			{"/v2/hidden/app/%s?n%%73=docker.io", "", true},
			{"/v2/hidden/app/%s?ns=docker.io%%00", "", false},
			{"/v2/docker.io/docker.io/hidden/app/%s", "", false},
			{"/v2/docker.io./hidden/app/%s", "", false},
			{"/v2/docker.io:443/hidden/app/%s", "", false},
			{"/v2/Docker.io/hidden/app/%s", "", false},
			{"/v2/library/hidden/app/%s", "", false},
			{"/v2/hidden/app/%s", "gcr.mirror.test", false},
		},
		&hubOne: {
			{"/v2/library/hidden/%s", "", true},
			{"/v2/docker.io/library/hidden/%s", "", true},
			{"/v2/docker.io/hidden/%s", "", true},
			{"/v2/hidden/%s?ns=docker.io", "", true},
			{"/v2/hidden/%s", "hub.mirror.test", true},
			{"/v2/index.docker.io/hidden/%s", "", true},
			{"/v2/hidden/%s", "", false},
			{"/v2/library/library/hidden/%s", "", false},
			{"/v2/docker.io/library/library/hidden/%s", "", false},
		},
		&gcr: {
			{"/v2/gcr.io/corp/app/%s", "", true},
			{"/v2/corp/app/%s?ns=gcr.io", "", true},
			{"/v2/corp/app/%s", "gcr.mirror.test", true},
			{"/v2/corp/app/%s?ns=gcr.io", "hub.mirror.test", true},
			{"/v2/corp/app/%s?ns=gcr.io&ns=docker.io", "", true},
			{"/v2/gcr.io/corp/app/%s?ns=docker.io", "", true},
			{"/v2/gcr.io/corp/app/%s?ns=gcr.io", "", false},
			{"/v2/docker.io/gcr.io/corp/app/%s", "", false},
			{"/v2/gcr.io/gcr.io/corp/app/%s", "", false},
			{"/v2/corp/app/%s", "GCR.MIRROR.TEST", true},
			{"/v2/corp/app/%s", "gcr.mirror.test.", false},
			{"/v2/corp/app/%s", "", false},
		},
		&team: {
			{"/v2/team/app/%s", "", true},
			{"/v2/team/app/%s?ns=docker.io", "", true},
			{"/v2/team/app/%s?ns=registry.test", "", true},
			{"/v2/team/app/%s", "registry.test", true},
			{"/v2/docker.io/team/app/%s", "", false},
			{"/v2/registry.test/team/app/%s", "", false},
			{"/v2/team/app/%s?ns=gcr.io", "", false},
			{"/v2/team/app/%s", "hub.mirror.test", false},
		},
	} {
		first, last, _ := strings.Cut(p.spelled, "/")
		for _, way := range []string{
			"/v2/" + first + "%%2F" + last, "/v2/" + first + "%%2f" + last, "/v2/" + first + "%%252F" + last, "/v2//" + p.spelled, "//v2/" + p.spelled,
			"/v2/./" + p.spelled, "/v2/public/../" + p.spelled, "/v2/" + first + "/./" + last, "/v2/" + first + "//" + last, "/v2/public/%%2e%%2e/" + p.spelled,
			"/v2/public\\..\\" + p.spelled, "/v2/" + first + "\\" + last, "/v2/" + strings.ToUpper(p.spelled), "/V2/" + p.spelled, "/v2/" + p.spelled + "/",
			"/v2/" + p.spelled + "/public/app/..", "/v2/" + escaped(p.spelled), "/v2/" + strings.ReplaceAll(escaped(p.spelled), "%%", "%%25"), "/%%76%%32/" + p.spelled,
			"/v2/" + p.spelled + "%%00", "/v2/" + p.spelled + ";", "/v2/" + p.spelled + "%%20", "/v2/%%ef%%bc%%8f" + p.spelled, "/v2/public/app/v2/" + p.spelled,
			"/v2/" + first + "%%c0%%af" + last, "/v1/../v2/" + p.spelled, "/token/../v2/" + p.spelled, "*/v2/" + p.spelled, "/v2/" + p.spelled + "/manifests/../..",
		} {
			ways = append(ways, spelled{way + "/%s", "", false})
		}
		for _, way := range ways {
			for _, r := range []string{"manifests/v1", "manifests/" + p.manifest, "manifests/hot", "blobs/" + p.blob, "tags/list", "referrers/" + p.manifest} {
				for _, i := range all[:12] {
					f.written(t, *p, way, r, i, i.fact == alice.fact)
				}
			}
		}
	}
}

func escaped(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		fmt.Fprintf(&b, "%%%%%02x", c)
	}
	return b.String()
}

// written sends one spelling. Only who may pull from a place may see what it has, and who does reaches it by those that lead.
func (f *fortress) written(t *testing.T, p place, way spelled, rest string, i identity, follows bool) {
	t.Helper()
	target := fmt.Sprintf(way.target, rest)
	host := way.host
	if host == "" {
		host = "x.test"
	}
	before := f.asked.Load()
	header := ""
	if value := i.authorization(p.spelled); value != "" {
		header = "Authorization: " + value + "\r\n"
	}
	got := f.raw("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + header + "Connection: close\r\n\r\n")
	what := fmt.Sprintf("%s: %s of %s", i.fact, target, host)
	if !p.may(i.who, 'p') && strings.Contains(got, p.marker) {
		t.Errorf("%s: %s", what, got)
	}
	if way.leads && !p.may(i.who, 'p') && (!strings.HasPrefix(got, "HTTP/1.1 401 ") || f.asked.Load() > before) {
		t.Errorf("%s: %.60q after %d questions", what, got, f.asked.Load()-before)
	}
	if rest == "manifests/hot" && p.hosted() {
		return
	}
	if ok := strings.HasPrefix(got, "HTTP/1.1 200 ") && strings.Contains(got, p.marker); follows && ok != way.leads {
		t.Errorf("%s: leads to %s: %v, want %v: %.200q", what, p.home, ok, way.leads, got)
	}
}

// raw writes a request as it is, and gives what comes back.
func (f *fortress) raw(request string) string {
	f.t.Helper()
	c := f.connect()
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		f.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		f.t.Fatalf("after %q: %v", b, err)
	}
	<-f.answered
	return string(b)
}

// Headers by which proxies and frameworks say what a request really is count for nothing here.
func TestNoHeaderGetsAroundThePolicy(t *testing.T) {
	f := build(t, nil)
	all := f.identities(t)
	for _, headers := range [][]string{
		{"X-Forwarded-For", "127.0.0.1"}, {"X-Forwarded-Host", "gcr.mirror.test"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Prefix", "/v2/public"},
		{"X-Forwarded-User", "alice"}, {"X-Forwarded-Uri", "/v2/public/app/manifests/v1"}, {"Forwarded", "for=127.0.0.1;host=gcr.mirror.test"}, {"X-Real-Ip", "127.0.0.1"},
		{"X-HTTP-Method-Override", "GET"}, {"X-HTTP-Method", "GET"}, {"X-Method-Override", "GET"}, {"X-Original-URL", "/v2/public/app/manifests/v1"},
		{"X-Rewrite-URL", "/v2/public/app/manifests/v1"}, {"X-Remote-User", "alice"}, {"Remote-User", "alice"}, {"X-Auth-Request-User", "alice"},
		{"X-Registry-Auth", "eyJ1c2VybmFtZSI6ImFsaWNlIn0="}, {"Proxy-Authorization", basicAuth("alice", "password of alice")}, {"Cookie", "token=alice; session=alice"},
		{"X-Api-Key", "alice"}, {"Docker-Distribution-Api-Version", "registry/2.0"}, {"X-Custom-IP-Authorization", "127.0.0.1"}, {"Connection", "Authorization"},
		{"Authorization", "", "Authorization", basicAuth("alice", "password of bob")},
	} {
		for _, spelled := range []string{"team/app", "hidden/app", "corp.example/ours/app"} {
			p := placeOf(spelled)
			for _, r := range requests(p) {
				if r.needs == 0 {
					continue
				}
				i := all[0]
				status, refused := verdict(i, p, r)
				got := f.ask(r.method, "/v2/"+spelled+"/"+r.path, r.body, append(append([]string{}, r.headers...), headers...)...)
				if got.StatusCode != status || refused && got.asked > 0 {
					t.Errorf("%s %s with %q: got %d %.200s after %d questions, want %d", r.method, r.path, headers, got.StatusCode, got.body, got.asked, status)
				}
				f.leaksNothing(fmt.Sprint(r.method, " ", r.path, headers), "", got)
			}
		}
	}
	// And what is asked by them of a path that is public is not done.
	for _, header := range []string{"X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri"} {
		r := f.ask("GET", "/v2/public/app/manifests/v1", "", header, "/v2/vault/app/manifests/v1")
		f.leaksNothing(header, "", r)
	}
	before := f.everything()
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"} {
		for _, verb := range []string{"GET", "POST"} {
			f.ask(verb, "/v2/public/app/manifests/v1?_method=DELETE", "", header, "DELETE")
		}
	}
	if f.everything() != before {
		t.Error("a header changed the method")
	}
}

// An upstream may be a cache like this one, and would take the first element of a name for another registry: what the policy
// says of that one must not be asked of somebody else.
func TestARegistryWithinARegistryIsNotAsked(t *testing.T) {
	f := build(t, nil)
	for _, c := range []struct{ target, host string }{
		{"/v2/docker.io/gcr.io/corp/app/%s", "x.test"}, {"/v2/gcr.io/docker.io/hidden/app/%s", "x.test"}, {"/v2/gcr.io/gcr.io/corp/app/%s", "x.test"},
		{"/v2/docker.io/docker.io/hidden/app/%s", "x.test"}, {"/v2/corp.example/gcr.io/corp/app/%s", "x.test"}, {"/v2/gcr.io/index.docker.io/hidden/app/%s", "x.test"},
		{"/v2/gcr.io/corp/app/%s", "hub.mirror.test"}, {"/v2/docker.io/hidden/app/%s", "gcr.mirror.test"}, {"/v2/docker.io/hidden/app/%s?ns=gcr.io", "x.test"},
		{"/v2/gcr.io/corp/app/%s?ns=corp.example", "x.test"}, {"/v2/docker.io/docker.io/gcr.io/corp/app/%s", "x.test"},
	} {
		for _, rest := range []string{"manifests/v1", "manifests/" + never, "blobs/" + never, "tags/list", "referrers/" + never, "manifests/hot"} {
			for _, header := range [][]string{nil, as("carol"), as("bob")} {
				target := fmt.Sprintf(c.target, rest)
				r := f.ask("GET", target, "", append(append([]string{}, header...), "Host", c.host)...)
				if r.StatusCode != 401 || r.asked > 0 {
					t.Errorf("%s of %s, by %.15q: %d after %d questions", target, c.host, header, r.StatusCode, r.asked)
				}
			}
		}
	}
	chained := placeOf("docker.io/gcr.io/corp/chain")
	for user, want := range map[string]int{"pusher": 202, "alice": 201} {
		r := f.ask("POST", "/v2/public/app/blobs/uploads/?mount="+chained.blob+"&from="+chained.spelled, "", as(user)...)
		if user == "alice" { // who may not push there
			r = f.ask("POST", "/v2/team/app/blobs/uploads/?mount="+chained.blob+"&from="+chained.spelled, "", as(user)...)
		}
		if r.StatusCode != want {
			t.Errorf("a mount by %s: %d %s, want %d", user, r.StatusCode, r.body, want)
		}
	}
}
