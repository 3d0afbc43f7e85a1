package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// refusal is a place that we do not go to, or do not take our credential to, although upstream said so.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// guard knows where one upstream may lead us. The upstream chooses realms and redirects, and its answers may be forged or its names
// may change between a check and a connection (DNS rebinding): so addresses are checked once more at the moment of dialling.
type guard struct {
	base    *url.URL
	own     string          // the upstream's authority
	listed  map[string]bool // token hosts by configuration: may have our credential, may have private addresses
	known   map[string]bool // token hosts by common knowledge: may have our credential over https
	proxies map[string]bool // authorities of HTTPS_PROXY and the like; never chosen by upstream
	connect time.Duration

	private atomic.Bool // the upstream's own address, as last dialled, is private: then others may be, too
}

// authority is host and port in lower case, with the scheme's default port filled in: what "the same host" means here.
func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[strings.ToLower(u.Scheme)]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// home reports whether u is the registry itself: same scheme, host and port.
func (g *guard) home(u *url.URL) bool {
	return u.Scheme == g.base.Scheme && authority(u) == g.own
}

// visit says whether a realm or a redirect may be followed at all. Names are judged later, when their addresses are known.
func (g *guard) visit(u *url.URL) error {
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || g.base.Scheme != "http"):
		return refuse("%s://%s is not https", u.Scheme, u.Host)
	case u.Hostname() == "":
		return refuse("an address without a host")
	case u.User != nil:
		return refuse("an address with a user name, on %s", u.Hostname())
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.admit(authority(u), addr)
	}
	return nil
}

// entrust says whether the realm u may see our credential.
func (g *guard) entrust(u *url.URL) error {
	to := authority(u)
	if g.home(u) || g.listed[to] || u.Scheme == "https" && (g.known[to] || to == g.own) {
		return nil
	}
	return refuse("it names the token server %s, which is not one of its token hosts: our credential is not sent there", u.Host)
}

// admit decides on the address that a name turned out to have.
func (g *guard) admit(to string, addr netip.Addr) error {
	class := classify(addr)
	switch {
	case to == g.own:
		g.private.Store(class == private)
		return nil
	case class == public, g.proxies[to]:
		return nil
	case class == private && (g.listed[to] || g.private.Load()):
		return nil
	}
	return refuse("%s has the address %s, which is not to be reached from here", to, addr)
}

// DialContext dials what the transport asks for: the upstream, a proxy, a token server, a redirect's target.
func (g *guard) DialContext(ctx context.Context, network, to string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   g.connect,
		KeepAlive: 30 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("dialling %s: %w", to, err)
			}
			return g.admit(strings.ToLower(to), ap.Addr())
		},
	}
	return d.DialContext(ctx, network, to)
}

// class is who may be behind an address.
type class int

const (
	public    class = iota
	private         // loopback, private and shared address space
	forbidden       // link-local, cloud metadata, multicast: never a registry
)

var (
	shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	nat64  = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052
	// metadata services outside 169.254.0.0/16: Alibaba's, AWS's over IPv6.
	metadata = []netip.Addr{netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("fd00:ec2::254")}
)

func classify(a netip.Addr) class {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, m := range metadata {
		if a == m {
			return forbidden
		}
	}
	switch {
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return forbidden
	case a.IsLoopback(), a.IsPrivate(), a.IsUnspecified(), shared.Contains(a):
		return private
	}
	return public
}
