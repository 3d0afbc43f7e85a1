package proxy

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// NoDelete says which deletions are switched off.
type NoDelete struct{ Tags, Manifests, Blobs bool }

// change finds what a request changes, if it may. Nothing is read or written before.
func (c *call) change(r *route) (do func(*call) error, err error) {
	if do = r.changes(view(c.ctx.Method())); do == nil {
		return nil, &Error{Code: CodeUnsupported, Message: "method not allowed here", Allow: c.allow(r)}
	}
	if err := c.mayChange(); err != nil {
		var refusal *Error
		if errors.As(err, &refusal) && refusal.Code == CodeUnsupported {
			refusal.Allow = c.allow(r)
		}
		return nil, err
	}
	return do, c.checkAnnounced()
}

// mayChange is the one place that decides whether a request may change anything, whatever its route.
func (c *call) mayChange() error {
	if err := c.findHosted(); err != nil {
		return err
	}
	if err := c.mayWrite(); err != nil {
		return err
	}
	if c.ctx.IsDelete() && c.undeletable() {
		return newError(CodeUnsupported, "such deletions are switched off here, by ENTREPOT_DELETE")
	}
	return nil
}

// findHosted finds the home of a name that is to be changed. An upstream's is not ours to change.
func (c *call) findHosted() error {
	c.ns = view(c.ctx.QueryArgs().Peek("ns"))
	home, err := Target(c.server.names, c.req.Name, c.ns, view(c.ctx.Host()))
	if err != nil {
		var unknown *Error
		if errors.As(err, &unknown) {
			return newError(CodeDenied, unknown.Message+"; nothing can be pushed there")
		}
		return err
	}
	c.home = home
	c.scope(home.Scoped)
	if home.Hosted {
		return nil
	}
	message := home.Registry + " owns this name, and what is pulled from there is read-only here"
	if first, _, _ := strings.Cut(c.req.Name, "/"); first != home.Registry {
		message += "; to push under " + first + "/, set ENTREPOT_HOSTED=" + first
	}
	return newError(CodeDenied, message)
}

// mayWrite decides who may push and delete: where there are no users, whoever is near.
func (c *call) mayWrite() error {
	switch {
	case c.server.o.ReadOnly:
		return newError(CodeUnsupported, "this server takes no changes: ENTREPOT_READ_ONLY is set")
	case !near(c.ctx):
		return newError(CodeDenied, "without users, pushes and deletions are taken from loopback and private addresses only")
	case ofAPage(&c.ctx.Request.Header):
		return newError(CodeDenied, "web pages may change nothing here")
	}
	return nil
}

// ofAPage: a browser sends the request for a web page. The browser may run on a machine that may push, and no page is ours.
// What the headers say does not count: to one whose name now leads here (DNS rebinding) this server is its own site. Without
// TLS, and not on localhost, Origin is all that comes. No registry client sends either.
func ofAPage(header *fasthttp.RequestHeader) bool {
	if len(header.PeekAll("Origin")) > 0 {
		return true
	}
	for _, site := range header.PeekAll("Sec-Fetch-Site") {
		if view(site) != "none" { // which a user typed
			return true
		}
	}
	return false
}

func (c *call) undeletable() bool {
	off := c.server.o.NoDelete
	switch {
	case c.req.Kind == KindBlob:
		return off.Blobs
	case c.req.Kind != KindManifest: // cancelling an upload is part of a push
		return false
	case c.req.ByDigest():
		return off.Manifests
	}
	return off.Tags
}

// near reports whether a request comes from this machine or from a private network, by its connection and by whatever
// proxies say of it. What a client makes up in a header can only take its rights away.
func near(ctx *fasthttp.RequestCtx) bool {
	peer, ok := netip.AddrFromSlice(ctx.RemoteIP())
	if !ok || !private(peer) {
		return false
	}
	for _, header := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
		for _, value := range ctx.Request.Header.PeekAll(header) {
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
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}
