package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/proxy/access"
)

// fromLoopback makes a server that believes what its only peer says.
func fromLoopback(t *testing.T, change func(*Options)) *running {
	return startPush(t, func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/24")}
		if change != nil {
			change(o)
		}
	})
}

func TestWhoTrustedProxiesName(t *testing.T) {
	var told access.Entry
	s := fromLoopback(t, func(o *Options) { o.Audit = func(e access.Entry) { told = e } })
	for _, c := range []struct {
		fact   string
		names  []string
		client string
		may    bool // push: it is near
	}{
		{"a private client", []string{"192.168.7.7"}, "192.168.7.7", true},
		{"a client from afar", []string{"8.8.8.8"}, "8.8.8.8", false},
		{"with a port", []string{"8.8.8.8:1234"}, "8.8.8.8", false},
		{"as IPv6", []string{"[2001:db8::1]:1234"}, "2001:db8::1", false},
		{"through another trusted one", []string{"8.8.8.8, 10.0.0.3"}, "8.8.8.8", false},
		{"who says it is somebody else", []string{"192.168.7.7, 8.8.8.8"}, "8.8.8.8", false},
		{"in another line", []string{"192.168.7.7", "8.8.8.8"}, "8.8.8.8", false},
		{"a trusted one itself", []string{"10.0.0.3"}, "10.0.0.3", true},
		{"nobody", nil, "127.0.0.1", false},
		{"an empty name", []string{""}, "127.0.0.1", false},
		{"somebody hidden", []string{"unknown"}, "127.0.0.1", false},
		{"somebody hidden behind a trusted one", []string{"unknown, 10.0.0.3"}, "127.0.0.1", false},
	} {
		told = access.Entry{}
		var headers []string
		for _, name := range c.names {
			headers = append(headers, "X-Forwarded-For", name)
		}
		res, body := s.do(t, "DELETE", "/v2/team/img/manifests/x", headers...)
		if may := res.StatusCode == 404; may != c.may {
			t.Errorf("%s: got %d %s", c.fact, res.StatusCode, body)
		}
		if !c.may && told.From.String() != c.client {
			t.Errorf("%s: told of %s, want %s", c.fact, told.From, c.client)
		}
	}
}

func TestWhereTokensAreToBeHad(t *testing.T) {
	guard := openGuard(t, "", "")
	for _, c := range []struct {
		fact    string
		change  func(*Options)
		headers []string
		want    string
	}{
		{"by the Host header", nil, []string{"Host", "cache.corp:5000"}, "http://cache.corp:5000/token"},
		{"an address of IPv6", nil, []string{"Host", "[fd00::1]:5000"}, "http://[fd00::1]:5000/token"},
		{"a public URL", func(o *Options) { o.PublicURL = "https://cache.corp" }, []string{"Host", "x"}, "https://cache.corp/token"},
		{"a stranger's headers", nil, []string{"Host", "a", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil"}, "http://a/token"},
		{"a trusted proxy's headers", func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} },
			[]string{"Host", "a", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "cache.corp"}, "https://cache.corp/token"},
		{"several trusted proxies", func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} },
			[]string{"Host", "a", "X-Forwarded-Proto", "HTTPS, http", "X-Forwarded-Host", "cache.corp, inner"}, `https://cache.corp/token",service="entrepot"` + "\r\n"},
		{"a trusted proxy's nonsense", func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} },
			[]string{"Host", "a", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", `"`}, "http://127.0.0.1"},
	} {
		s := startPush(t, func(o *Options) {
			o.Access = guard
			if c.change != nil {
				c.change(o)
			}
		})
		request := "GET /v2/ HTTP/1.1\r\nConnection: close\r\n"
		for i := 0; i < len(c.headers); i += 2 {
			request += c.headers[i] + ": " + c.headers[i+1] + "\r\n"
		}
		answer := s.ask(t, request+"\r\n")
		if want := `Www-Authenticate: Bearer realm="` + c.want; !strings.Contains(answer, want) {
			t.Errorf("%s: no %s in\n%s", c.fact, want, answer)
		}
	}
}
