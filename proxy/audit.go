package proxy

import (
	"errors"
	"net/http"
	"strings"

	"github.com/entrepot/entrepot/proxy/access"
)

// auditLogin tells of a login that was tried, also of a wrong one that got the token of nobody in particular.
func (c *call) auditLogin(user string, token access.Token, err error) {
	if user == "" || errors.Is(err, access.ErrNoKeys) {
		return
	}
	client, _ := c.client()
	if err == nil {
		err = token.Failed
	}
	e := access.Entry{Who: claimed(user), From: client, Action: access.Login, Allowed: err == nil}
	if err != nil {
		e.Why = err.Error()
	}
	c.server.o.Audit(e)
}

// audit tells of a request that changed something, or was refused. That somebody is asked to log in is neither.
func (c *call) audit() {
	status := c.ctx.Response.StatusCode()
	changing := c.req.Name != "" && !c.req.route().reads(c.ctx) && !(c.paged && c.req.Kind == KindPage)
	switch {
	case c.req.Kind == KindToken || c.req.Kind == KindNone:
		return
	case c.refusal != nil:
		if c.refusal.Reason == access.NotLoggedIn && !c.caller.Proved {
			return
		}
	case changing && (status == http.StatusForbidden || status == http.StatusMethodNotAllowed):
	case changing && c.changed(status):
	default:
		return
	}
	client, _ := c.client()
	e := access.Entry{From: client, Action: access.Pull.String(), What: c.named(), Digest: c.made, Tags: c.moved, Allowed: c.failure == nil}
	if c.req.Kind != KindUpload && c.req.Kind != KindPage {
		e.Ref = strings.Clone(c.req.Ref)
	}
	switch {
	case c.caller == nil && c.refusal != nil && c.refusal.Who != access.Anonymous: // revoked since
		e.Action, e.Who = access.Login, c.refusal.Who
	case c.caller == nil: // nobody was found by the credential
		e.Action, e.Who = access.Login, c.claimant()
	case changing:
		e.Action, e.Who = c.action().String(), c.caller.Subject
	default:
		e.Who = c.caller.Subject
	}
	if c.failure != nil {
		e.Why = c.failure.Message
	}
	c.server.o.Audit(e)
}

// named is the repository by its home: its spelling depends on ns and the Host header. Of what has no home it is the spelling.
func (c *call) named() string {
	if c.home == (Home{}) {
		return strings.Clone(c.req.Name)
	}
	return strings.Clone(policyName(c.home).String())
}

// claimant is who somebody said to be, in vain. A credential that is no user name with a password tells nobody.
func (c *call) claimant() access.Subject {
	user, _, _ := c.basic()
	return claimed(user)
}

// claimed leaves out what people put into the place of the name by mistake.
func claimed(user string) access.Subject {
	if access.IsSecret(user) {
		return access.Anonymous
	}
	return access.Subject(clip([]byte(user)))
}

// changed: the answer says that a manifest, a tag or a blob is there from then on, or is not. Parts of an upload are no change yet.
func (c *call) changed(status int) bool {
	return status == http.StatusCreated || status == http.StatusAccepted && c.ctx.IsDelete() || status == http.StatusSeeOther && c.paged
}
