package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/entrepot/entrepot/proxy/access"
)

const deletePath = "/ui/delete"

// deleteByPage does what a DELETE of a tag or manifest does, for a form of the page: name and ref. It leads back to the page
// of the repository.
func (c *call) deleteByPage() error {
	if err := c.mustBeHere(); err != nil {
		return err
	}
	form, err := c.form()
	if err != nil {
		return err
	}
	r := Request{Kind: KindManifest, Name: string(form.Peek("name")), Ref: string(form.Peek("ref"))}
	if err := r.check(); err != nil {
		return err
	}
	c.req = r // which the audit log names, also where it is refused
	if err := c.mustBeOwnForm(); err != nil {
		return err
	}
	if err := c.mayChange(); err != nil {
		return err
	}
	c.let(access.Delete)
	c.keep()
	if err := c.deleteManifest(); err != nil {
		return err
	}
	c.leadTo("/ui/repositories/" + c.req.Name + "?deleted=" + url.QueryEscape(c.req.Ref))
	return nil
}

// leadTo makes the browser ask for another page. The path is ours.
func (c *call) leadTo(path string) {
	c.secure()
	c.set("Cache-Control", "no-store")
	c.set("Location", path)
	c.ctx.SetStatusCode(http.StatusSeeOther)
}

// mustBeOwnForm fails unless the browser says that a page of this server sends the form. Every browser sends Origin with a POST,
// and no page can choose it.
//
// That is not enough where nobody logs in: to a page whose name has been made to lead here (DNS rebinding), this server is its
// own origin. A name that is an address cannot be made to lead elsewhere, nor can localhost; PUBLIC_URL is known to be ours. Whoever logs in does
// so at one name, and browsers send credentials to no other.
func (c *call) mustBeOwnForm() error {
	origins := c.ctx.Request.Header.PeekAll("Origin")
	if len(origins) != 1 {
		return newError(CodeDenied, "only a form of this page deletes, and the browser does not say where this one is from")
	}
	origin := string(origins[0]) // the next PeekAll reuses the list
	for _, site := range c.ctx.Request.Header.PeekAll("Sec-Fetch-Site") {
		if view(site) != "same-origin" {
			return newError(CodeDenied, "another web site sent this form; nothing was deleted")
		}
	}
	own := withoutDefaultPort(c.base())
	if !strings.EqualFold(withoutDefaultPort(origin), own) {
		return newError(CodeDenied, "another web site sent this form, or this page was opened by another name than "+own+"; nothing was deleted")
	}
	if c.caller.Subject != access.Anonymous || c.server.o.PublicURL != "" || c.fixedHost(own) {
		return nil
	}
	return newError(CodeDenied, "open this page by an address or at localhost, or set ENTREPOT_PUBLIC_URL to "+own+", to delete from it")
}

// withoutDefaultPort: some name the port of a scheme, and browsers never do.
func withoutDefaultPort(base string) string {
	if rest, ok := strings.CutSuffix(base, ":80"); ok && strings.HasPrefix(base, "http://") {
		return rest
	}
	if rest, ok := strings.CutSuffix(base, ":443"); ok && strings.HasPrefix(base, "https://") {
		return rest
	}
	return base
}

// fixedHost reports whether nobody can make the host of a URL lead elsewhere.
func (c *call) fixedHost(base string) bool {
	_, host, _ := strings.Cut(base, "://")
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// mayDelete reports whether a page offers to delete of a hosted repository: what the policy says, and what is switched on.
func (c *call) mayDelete(home Home, what bool) bool {
	switch {
	case !home.Hosted || !what || c.server.o.ReadOnly:
		return false
	case c.server.o.Access.Closed():
		return c.caller.Decide(access.Delete, policyName(home)).Allowed
	}
	return c.near() && (c.server.o.PublicURL != "" || c.fixedHost(c.base()))
}

// loginPage asks the browser for a user name and a password, which it sends with everything from then on.
func (c *call) loginPage() error {
	if c.server.o.Access.Closed() && c.caller.Subject == access.Anonymous {
		return &access.Refusal{Reason: access.NotLoggedIn, Message: "log in with a user name and a password, or the name and secret of a robot"}
	}
	c.leadTo(c.back())
	return nil
}

// back is the page that the reader came from; the first one where it is not one of ours.
func (c *call) back() string {
	path := string(c.ctx.QueryArgs().Peek("to"))
	foreign := func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }
	if !strings.HasPrefix(path, "/ui/") || strings.ContainsFunc(path, foreign) {
		return "/"
	}
	return path
}
