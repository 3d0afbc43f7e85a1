package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

func pageForm(name, ref string) string { return url.Values{"name": {name}, "ref": {ref}}.Encode() }

// withPage lets a server of pushes have its page.
func withPage(change func(*Options)) func(*Options) {
	return func(o *Options) {
		fakeShelf{fakeCache: filled(), asked: new(atomic.Int64)}.page(o)
		if change != nil {
			change(o)
		}
	}
}

func TestWhoMayDeleteByThePage(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		fact    string
		change  func(*Options)
		host    string // empty: the address
		origin  string // own: that of the host
		headers []string
		status  int
	}{
		{"its own form, by an address", nil, "", "own", nil, 303},
		{"as browsers say it", nil, "", "own", []string{"Sec-Fetch-Site", "same-origin"}, 303},
		{"at localhost", nil, "localhost:5000", "own", nil, 303},
		{"by an address of IPv6", nil, "[::1]:5000", "own", nil, 303},
		{"no Origin", nil, "", "", nil, 403},
		{"another site", nil, "", "http://evil.example", nil, 403},
		{"another port", nil, "", "http://127.0.0.1:1", nil, 403},
		{"another scheme", nil, "localhost:5000", "https://localhost:5000", nil, 403},
		{"an opaque origin", nil, "", "null", nil, 403},
		{"two origins", nil, "", "own", []string{"Origin", "http://evil.example"}, 403},
		{"another site that says our origin", nil, "", "own", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a sibling of the site", nil, "", "own", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a name made to lead here", nil, "evil.example:5000", "own", nil, 403},
		{"a name like localhost", nil, "localhost.evil.example:5000", "own", nil, 403},
		{"a name like an address", nil, "127.0.0.1.evil.example:5000", "own", nil, 403},
		{"the public name", func(o *Options) { o.PublicURL = "https://registry.example" }, "registry.example", "https://registry.example", nil, 303},
		{"a name beside the public one", func(o *Options) { o.PublicURL = "https://registry.example" }, "evil.example", "http://evil.example", nil, 403},
		{"nobody where there are users", func(o *Options) { o.Access = openGuard(t, "", "") }, "", "own", nil, 401},
		{"a user by any name", func(o *Options) { o.Access = openGuard(t, "", "") }, "cache.corp:5000", "own", []string{"Authorization", basicAuth("alice", "secret")}, 303},
		{"a default port", func(o *Options) { o.Access = openGuard(t, "", "") }, "cache.corp:80", "http://cache.corp", []string{"Authorization", basicAuth("alice", "secret")}, 303},
		{"a user by another site", func(o *Options) { o.Access = openGuard(t, "", "") }, "", "http://evil.example", []string{"Authorization", basicAuth("alice", "secret")}, 403},
		{"a wrong password", func(o *Options) { o.Access = openGuard(t, "", "") }, "", "own", []string{"Authorization", basicAuth("alice", "other")}, 401},
		{"read only", func(o *Options) { o.ReadOnly = true }, "", "own", nil, 405},
		{"no deletion of tags", func(o *Options) { o.NoDelete.Tags = true }, "", "own", nil, 405},
		{"from far away", nil, "", "own", []string{"X-Forwarded-For", "203.0.113.9"}, 403},
	} {
		var log told
		s := startPush(t, withPage(func(o *Options) {
			o.Audit = log.add
			if c.change != nil {
				c.change(o)
			}
		}))
		pushDirectly(t, s, "team/a", "v1")
		host := c.host
		if host == "" {
			host = s.addr
		}
		header := append([]string{"Content-Type", form, "Host", host}, c.headers...)
		switch c.origin {
		case "":
		case "own":
			header = append(header, "Origin", "http://"+host)
		default:
			header = append(header, "Origin", c.origin)
		}
		res, body := s.send(t, "POST", "/ui/delete", strings.NewReader(pageForm("team/a", "v1")), header...)
		if res.StatusCode != c.status || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") && c.status != 303 {
			t.Errorf("%s: got %d %s %s, want %d", c.fact, res.StatusCode, res.Header.Get("Content-Type"), body, c.status)
		}
		_, err := s.o.Hosted.Repo("team/a").Manifest(t.Context(), "v1")
		if gone := err != nil; gone != (c.status == 303) {
			t.Errorf("%s: %d, and the tag is gone: %v", c.fact, res.StatusCode, gone)
		}
		lines := log.take()
		if c.status == 403 && (len(lines) != 1 || !strings.HasPrefix(lines[0], "refused ") || !strings.HasSuffix(lines[0], " delete team/a v1")) {
			t.Errorf("%s: the audit log says %q", c.fact, lines)
		}
		if c.status == 303 && (len(lines) != 1 || !strings.HasPrefix(lines[0], "allowed ") || !strings.HasSuffix(lines[0], " delete team/a v1")) {
			t.Errorf("%s: the audit log says %q", c.fact, lines)
		}
	}
}

func TestWhatThePageDeletes(t *testing.T) {
	s := startPush(t, withPage(nil))
	pushDirectly(t, s, "team/a", "v1")
	m, err := s.o.Hosted.Repo("team/a").Manifest(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "http://" + s.addr}
	for _, c := range []struct {
		fact, form string
		status     int
	}{
		{"what an upstream owns", pageForm("docker.io/library/nginx", "latest"), 403},
		{"the same without its host", pageForm("library/nginx", "latest"), 403},
		{"a registry that is not configured", pageForm("quay.example/a", "latest"), 403},
		{"what is not there", pageForm("team/a", "v2"), 404},
		{"no name", pageForm("", "v1"), 400},
		{"a name that leads upwards", pageForm("team/../a", "v1"), 400},
		{"no tag", pageForm("team/a", ""), 404},
		{"nothing", "", 400},
		{"a long form", pageForm("team/a", strings.Repeat("x", formLimit)), 413},
		{"a manifest", pageForm("team/a", m.Digest.String()), 303},
	} {
		res, body := s.send(t, "POST", "/ui/delete", strings.NewReader(c.form), own...)
		if res.StatusCode != c.status {
			t.Errorf("%s: got %d %.300s, want %d", c.fact, res.StatusCode, body, c.status)
		}
		if want := "/ui/repositories/team/a?deleted=" + url.QueryEscape(m.Digest.String()); c.status == 303 && res.Header.Get("Location") != want {
			t.Errorf("%s leads to %s", c.fact, res.Header.Get("Location"))
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
		if res, _ := s.do(t, method, "/ui/delete", own...); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "POST" {
			t.Errorf("%s: got %d, allowed is %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if res, _ := s.do(t, method, "/ui/repositories/team/a", own...); res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s of a page: got %d", method, res.StatusCode)
		}
	}
}

// The API takes no request of a page, this server's own included: only forms look whose page they are.
func TestTheAPIIsNoMoreOpenToPagesThanBefore(t *testing.T) {
	s := startPush(t, withPage(nil))
	pushDirectly(t, s, "team/a", "v1")
	if res, _ := s.do(t, "DELETE", "/v2/team/a/manifests/v1", "Origin", "http://"+s.addr); res.StatusCode != 403 {
		t.Errorf("got %d", res.StatusCode)
	}
}
