package proxy

import (
	"net/netip"
	"strings"
)

// client is who is at the far end of a request: the connection's peer, or, where that is a trusted proxy, whom it names.
// known is false where a trusted proxy names nobody, or nobody who can be read; then it is the proxy.
func (c *call) client() (addr netip.Addr, known bool) {
	peer, _ := netip.AddrFromSlice(c.ctx.RemoteIP())
	peer = peer.Unmap()
	if !c.trusts(peer) {
		return peer, peer.IsValid()
	}
	names := c.ctx.Request.Header.PeekAll("X-Forwarded-For")
	for i := len(names) - 1; i >= 0; i-- {
		for list := view(names[i]); list != ""; {
			var name string
			list, name = cutLast(list, ',')
			named, ok := parseNode(strings.TrimSpace(name))
			if !ok {
				return peer, false
			}
			if addr = named.Unmap(); !c.trusts(addr) {
				return addr, true
			}
			known = true
		}
	}
	if !known {
		return peer, false
	}
	return addr, true
}

// trusts reports whether what an address says of others is believed.
func (c *call) trusts(addr netip.Addr) bool {
	for _, prefix := range c.server.o.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// base is the URL by which the client knows this server, without a path.
func (c *call) base() string {
	if c.server.o.PublicURL != "" {
		return c.server.o.PublicURL
	}
	scheme, host := "http", string(c.ctx.Host())
	if c.ctx.IsTLS() {
		scheme = "https"
	}
	if peer, ok := netip.AddrFromSlice(c.ctx.RemoteIP()); ok && c.trusts(peer.Unmap()) {
		if proto := c.forwarded("X-Forwarded-Proto"); proto == "http" || proto == "https" {
			scheme = proto
		}
		if forwarded := c.forwarded("X-Forwarded-Host"); forwarded != "" {
			host = forwarded
		}
	}
	if !ValidHost(host) {
		host = c.ctx.LocalAddr().String()
	}
	return scheme + "://" + host
}

// forwarded is what the first of several proxies says: the one that the client talks to.
func (c *call) forwarded(header string) string {
	first, _, _ := strings.Cut(string(c.ctx.Request.Header.Peek(header)), ",")
	return strings.ToLower(strings.TrimSpace(first))
}

// ValidHost reports whether that is only of characters of a host with a port. A host goes into the quoted string of a
// challenge, and a Host header is the client's to choose.
func ValidHost(host string) bool {
	foreign := func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune(".:-_[]", r)
	}
	return host != "" && host[0] != ':' && !strings.ContainsFunc(host, foreign)
}

// near reports whether a request comes from this machine or from a private network, by its connection and by whatever
// proxies say of it. What a client makes up in a header can only take its rights away.
func (c *call) near() bool {
	client, known := c.client()
	if !known || !private(client) {
		return false
	}
	for _, header := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
		for _, value := range c.ctx.Request.Header.PeekAll(header) {
			if !allPrivate(header, string(value)) {
				return false
			}
		}
	}
	return true
}

// allPrivate is false as well where one of the addresses cannot be read.
func allPrivate(header, value string) bool {
	for element := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ';' }) {
		element = strings.TrimSpace(element)
		if header == "Forwarded" {
			key, node, _ := strings.Cut(element, "=")
			if !strings.EqualFold(strings.TrimSpace(key), "for") {
				continue
			}
			element = strings.TrimSpace(node)
		}
		if element == "" {
			continue
		}
		if addr, ok := parseNode(element); !ok || !private(addr) {
			return false
		}
	}
	return true
}

// parseNode reads an address with or without a port, quotes and brackets (RFC 7239, section 6).
func parseNode(s string) (netip.Addr, bool) {
	s = strings.Trim(s, `"`)
	if addr, err := netip.ParseAddrPort(s); err == nil {
		return addr.Addr(), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr, err == nil
}

// private: loopback, RFC 1918, link-local and unique local addresses, also IPv4 ones in the form of IPv6. A carrier's
// shared addresses (RFC 6598) are not.
func private(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}
