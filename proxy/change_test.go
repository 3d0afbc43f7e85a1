package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestPrivateAddresses(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.8.8.8": true, "::1": true, "10.1.2.3": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.1": true,
		"169.254.1.1": true, "fe80::1": true, "fe80::1%eth0": true, "fd00::1": true, "fc00::1": true, "::ffff:10.0.0.1": true, "::ffff:127.0.0.1": true,
		"8.8.8.8": false, "172.32.0.1": false, "192.169.0.1": false, "100.64.0.1": false, "0.0.0.0": false, "::": false, "2001:db8::1": false,
		"::ffff:8.8.8.8": false, "fec0::1": false, "224.0.0.1": false, "255.255.255.255": false,
	} {
		if got := private(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v", addr, got)
		}
	}
}

func TestChangesFromAfar(t *testing.T) {
	s := startPush(t, nil)
	id := s.begin(t, "team/img")
	s.expect(t, 202, "PATCH", id, strings.NewReader("x"))
	s.expect(t, 201, "PUT", id+"?digest="+digest.FromString("x").String(), nil)
	id = s.begin(t, "team/img")
	for _, c := range []struct {
		fact    string
		headers []string
		may     bool
	}{
		{"the connection alone", nil, true},
		{"a private client of a proxy", []string{"X-Forwarded-For", "10.0.0.7"}, true},
		{"an empty list", []string{"X-Forwarded-For", ""}, true},
		{"a list of private clients", []string{"X-Forwarded-For", "10.0.0.7, 192.168.0.1:4711,[fd00::1]:80 , ::1"}, true},
		{"a client from afar", []string{"X-Forwarded-For", "8.8.8.8"}, false},
		{"with a port", []string{"X-Forwarded-For", "8.8.8.8:4711"}, false},
		{"behind another proxy", []string{"X-Forwarded-For", "8.8.8.8, 10.0.0.1"}, false},
		{"that says it was near", []string{"X-Forwarded-For", "127.0.0.1, 8.8.8.8"}, false},
		{"in a second line", []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-For", "8.8.8.8"}, false},
		{"as IPv6", []string{"X-Forwarded-For", "::ffff:8.8.8.8"}, false},
		{"a carrier's shared address", []string{"X-Forwarded-For", "100.64.0.1"}, false},
		{"nobody knows", []string{"X-Forwarded-For", "unknown"}, false},
		{"nonsense", []string{"X-Forwarded-For", "127.0.0.1;8.8.8.8"}, false},
		{"of another header", []string{"X-Real-Ip", "8.8.8.8"}, false},
		{"near by another header", []string{"X-Real-Ip", "10.0.0.7"}, true},
		{"forwarded", []string{"Forwarded", "for=8.8.8.8;proto=http;by=10.0.0.1"}, false},
		{"forwarded from near", []string{"Forwarded", `For="[fd00::1]:4711";proto=http;by=8.8.8.8, for=10.0.0.7;host=x`}, true},
		{"forwarded with quotes", []string{"Forwarded", `for="[2001:db8::1]:4711"`}, false},
		{"forwarded twice", []string{"Forwarded", "for=10.0.0.7, for=8.8.8.8"}, false},
		{"forwarded and hidden", []string{"Forwarded", "for=_hidden"}, false},
	} {
		res, body := s.do(t, "GET", id, c.headers...)
		code, message := refusal(body)
		if c.may && res.StatusCode != 204 || !c.may && (res.StatusCode != 403 || code != "DENIED" || !strings.Contains(message, "private addresses")) {
			t.Errorf("%s: got %d %s", c.fact, res.StatusCode, body)
		}
		if res, _ := s.do(t, "GET", "/v2/team/img/blobs/"+digest.FromString("x").String(), c.headers...); res.StatusCode != 200 {
			t.Errorf("%s: a pull is %d", c.fact, res.StatusCode)
		}
		if res, _ := s.do(t, "HEAD", "/v2/team/img/blobs/"+digest.FromString("x").String(), c.headers...); res.StatusCode != 200 || res.ContentLength != 1 {
			t.Errorf("%s: a head is %d", c.fact, res.StatusCode)
		}
	}
}

// Browsers say of a page whose name leads here by now that it is of this site, and without TLS they say less.
func TestWebPagesChangeNothing(t *testing.T) {
	s := startPush(t, nil)
	d := s.pushImage(t, "team/img", "v1", nil).String()
	id := s.begin(t, "team/img")
	for _, c := range []struct {
		fact    string
		headers []string
		may     bool
	}{
		{"no page", nil, true},
		{"a user", []string{"Sec-Fetch-Site", "none"}, true},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"the same site", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"this server, it seems", []string{"Sec-Fetch-Site", "same-origin"}, false},
		{"no site at all", []string{"Sec-Fetch-Site", ""}, false},
		{"two sites", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Site", "cross-site"}, false},
		{"another origin", []string{"Origin", "http://evil.example"}, false},
		{"this server's origin", []string{"Origin", "http://" + s.addr}, false},
		{"a hidden origin", []string{"Origin", "null"}, false},
		{"an empty origin", []string{"Origin", ""}, false},
		{"an origin, by a user", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "none"}, false},
	} {
		for _, request := range []string{"GET " + id, "POST /v2/team/img/blobs/uploads/", "DELETE /v2/team/img/manifests/x", "PUT /v2/team/img/manifests/x"} {
			method, path, _ := strings.Cut(request, " ")
			res, body := s.do(t, method, path, c.headers...)
			if code, message := refusal(body); c.may != (res.StatusCode != 403) || !c.may && (code != "DENIED" || !strings.Contains(message, "web pages")) {
				t.Errorf("%s, %s: got %d %s", c.fact, method, res.StatusCode, body)
			}
		}
		if res, _ := s.do(t, "GET", "/v2/team/img/manifests/"+d, c.headers...); res.StatusCode != 200 {
			t.Errorf("%s: a pull is %d", c.fact, res.StatusCode)
		}
	}
}

func TestWhatIsSwitchedOff(t *testing.T) {
	everything := []string{
		"POST /blobs/uploads/", "POST /blobs/uploads/?mount=" + sha256, "PATCH /blobs/uploads/1", "PUT /blobs/uploads/1?digest=" + sha256,
		"GET /blobs/uploads/1", "HEAD /blobs/uploads/1", "DELETE /blobs/uploads/1", "PUT /manifests/x", "PUT /manifests/" + sha256 + "?tag=x",
		"DELETE /manifests/x", "DELETE /manifests/" + sha256, "DELETE /blobs/" + sha256,
	}
	readOnly := func(string) (string, string) { return "ENTREPOT_READ_ONLY", "GET, HEAD" }
	for _, c := range []struct {
		fact   string
		set    func(*Options)
		off    []string
		naming func(request string) (says, allow string)
	}{
		{"read only", func(o *Options) { o.ReadOnly = true }, everything, readOnly},
		{"tags", func(o *Options) { o.NoDelete.Tags = true }, []string{"DELETE /manifests/x"}, func(string) (string, string) { return "ENTREPOT_DELETE", "GET, HEAD, PUT" }},
		{"manifests", func(o *Options) { o.NoDelete.Manifests = true }, []string{"DELETE /manifests/" + sha256}, func(string) (string, string) { return "ENTREPOT_DELETE", "GET, HEAD, PUT" }},
		{"blobs", func(o *Options) { o.NoDelete.Blobs = true }, []string{"DELETE /blobs/" + sha256}, func(string) (string, string) { return "ENTREPOT_DELETE", "GET, HEAD" }},
	} {
		s := startPush(t, c.set)
		for _, request := range everything {
			method, path, _ := strings.Cut(request, " ")
			res, body := s.send(t, method, "/v2/team/img"+path, nil)
			off := false
			for _, o := range c.off {
				off = off || o == request
			}
			if off != (res.StatusCode == 405) {
				t.Errorf("%s off: %s: got %d %s", c.fact, request, res.StatusCode, body)
				continue
			}
			if !off {
				continue
			}
			says, allow := c.naming(request)
			if strings.Contains(path, "/uploads/") {
				allow = ""
			}
			if _, message := refusal(body); method != "HEAD" && !strings.Contains(message, says) || res.Header.Get("Allow") != allow {
				t.Errorf("%s off: %s: got Allow %q, %s", c.fact, request, res.Header.Get("Allow"), body)
			}
		}
	}
}

// A name of an upstream is not ours to change, whether anything may be changed or not.
func TestUpstreamsNamesAreNeverChanged(t *testing.T) {
	for fact, set := range map[string]func(*Options){"open": nil, "read only": func(o *Options) { o.ReadOnly = true }} {
		s := startPush(t, set)
		for _, request := range []string{
			"POST grafana/grafana/blobs/uploads/", "PUT gcr.io/p/i/manifests/x", "DELETE library/nginx/manifests/x", "DELETE library/nginx/blobs/" + sha256,
			"GET grafana/grafana/blobs/uploads/1", "PUT team/img/manifests/x?ns=gcr.io", "PUT quay.io/a/manifests/x", "PUT team/img/manifests/x?ns=evil.example",
		} {
			method, path, _ := strings.Cut(request, " ")
			res, body := s.send(t, method, "/v2/"+path, nil)
			if code, _ := refusal(body); res.StatusCode != 403 || code != "DENIED" {
				t.Errorf("%s, %s: got %d %s", fact, request, res.StatusCode, body)
			}
		}
		if got := s.cache.questions(); len(got) > 0 {
			t.Errorf("the cache was asked %q", got)
		}
	}
}
