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
	e := access.Entry{Who: access.Subject(clip([]byte(user))), From: client, Action: "login", Allowed: err == nil && !token.Failed}
	switch {
	case err != nil:
		e.Why = err.Error()
	case token.Failed:
		e.Why = "the user name or the password is wrong"
	}
	c.server.o.Audit(e)
}

// audit tells of a request that changed something, or was refused. That somebody is asked to log in is neither.
func (c *call) audit() {
	status := c.ctx.Response.StatusCode()
	changing := c.req.Name != "" && !c.req.route().reads(c.ctx)
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
	e := access.Entry{From: client, Action: access.Pull.String(), What: strings.Clone(c.req.Name), Digest: c.made, Allowed: c.failure == nil}
	if c.req.Kind != KindUpload {
		e.Ref = strings.Clone(c.req.Ref)
	}
	if changing {
		e.Action = c.action().String()
	}
	if c.caller != nil {
		e.Who = c.caller.Subject
	}
	if c.failure != nil {
		e.Why = c.failure.Message
	}
	c.server.o.Audit(e)
}

// changed: the answer says that a manifest, a tag or a blob is there from then on, or is not. Parts of an upload are no change yet.
func (c *call) changed(status int) bool {
	return status == http.StatusCreated || status == http.StatusAccepted && c.ctx.IsDelete()
}
