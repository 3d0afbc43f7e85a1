package proxy

import (
	"errors"
	"strings"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/valyala/fasthttp"
)

// NoDelete says which deletions are switched off.
type NoDelete struct{ Tags, Manifests, Blobs bool }

// change finds what a request changes, if it may. Nothing is read or written before.
func (c *call) change(r *route) (do func(*call) error, err error) {
	if do = r.changes(view(c.ctx.Method())); do == nil {
		return nil, &Error{Code: CodeUnsupported, Message: "method not allowed here", Allow: c.allow(r)}
	}
	if !r.named {
		return do, nil
	}
	if err := c.mayChange(); err != nil {
		var refusal *Error
		if errors.As(err, &refusal) && refusal.Code == CodeUnsupported {
			refusal.Allow = c.allow(r)
		}
		return nil, err
	}
	c.let(c.action())
	return do, c.checkAnnounced()
}

// mayChange is the one place that decides whether a request may change anything, whatever its route.
func (c *call) mayChange() error {
	if err := c.findHosted(); err != nil {
		return err
	}
	if err := c.mayWrite(c.action()); err != nil {
		return err
	}
	if c.action() == access.Delete && c.undeletable() {
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

// ofAPage: a browser sends the request for a web page. The browser may run on a machine that may push, and ours sends forms
// to deletions only, which look closer (see page_delete.go).
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
