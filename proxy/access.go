package proxy

import (
	"fmt"
	"net/http"

	"github.com/entrepot/entrepot/proxy/access"
)

// recognize finds who sends the request. What they may do is asked below, once it is known what that would be.
func (c *call) recognize() (err error) {
	client, _ := c.client()
	c.caller, err = c.server.o.Access.Caller(view(c.ctx.Request.Header.Peek("Authorization")), client)
	return err
}

// policyName is a repository as the policy knows it.
func policyName(home Home) access.Repository {
	return access.Repository{Upstream: home.Registry, Name: home.Name}
}

// mayPull is the one place that decides whether something may be read, whatever the route: ref is a tag or a digest, empty
// for what is listed, and spelled is how the client wrote the repository. lent: what only our credential can read is for
// this caller too.
func (c *call) mayPull(home Home, spelled, ref string) (lent bool, err error) {
	decision, err := c.caller.May(access.Pull, policyName(home), spelled)
	if err == nil && !home.Hosted {
		err = c.caller.Admit(policyName(home), ref)
	}
	return decision.Lent, err
}

// sees reports whether a repository that is here is listed for the caller.
func (c *call) sees(home Home) bool {
	allowed, lent := c.lists(home)
	return allowed && (home.Hosted || lent || !c.server.o.Registries[home.Registry].Private)
}

// lists is mayPull for a name in a list, which no token names.
func (c *call) lists(home Home) (allowed, lent bool) {
	decision := c.caller.Decide(access.Pull, policyName(home))
	admitted := home.Hosted || c.caller.Admit(policyName(home), "") == nil
	return decision.Allowed && admitted, decision.Lent
}

// seesHosted is sees for the names of hosted repositories.
func (c *call) seesHosted(name string) bool { return c.sees(Home{Hosted: true, Name: name}) }

// mayWrite decides who may push and delete: where there are users, whom the policy lets; where there are none, whoever is near.
func (c *call) mayWrite(a access.Action) error {
	switch {
	case c.server.o.ReadOnly:
		return newError(CodeUnsupported, "this server takes no changes: ENTREPOT_READ_ONLY is set")
	case ofAPage(&c.ctx.Request.Header):
		return newError(CodeDenied, "web pages may change nothing here")
	case c.server.o.Access.Closed():
		_, err := c.caller.May(a, policyName(c.home), c.req.Name)
		return err
	case !c.near():
		return newError(CodeDenied, "without users, pushes and deletions are taken from loopback and private addresses only")
	}
	return nil
}

// action is what a request that changes something does. Cancelling an upload is part of a push.
func (c *call) action() access.Action {
	if c.ctx.IsDelete() && c.req.Kind != KindUpload {
		return access.Delete
	}
	return access.Push
}

// asRefusal is the part of the table of errors that is about who may do what. What somebody may not pull is answered like
// what is not there for them to pull: 401, whoever they are.
func asRefusal(r *access.Refusal) *Error {
	e := &Error{Code: CodeUnauthorized, Message: r.Message, Err: r}
	switch r.Reason {
	case access.BadToken:
		e.Challenge = "invalid_token"
	case access.NarrowToken:
		e.Challenge = "insufficient_scope"
	case access.Denied:
		if r.Action != access.Pull {
			e.Code = CodeDenied
		}
	case access.NotAdmitted:
		e.Code = CodeDenied
	case access.TooManyAttempts:
		e.Code, e.RetryAfter = CodeTooManyRequests, max(r.After, leastRetry)
	}
	return e
}

// challenge says how to log in for this request (RFC 6750, section 3, and the token specification of the registries).
func (c *call) challenge(problem string) string {
	if c.req.Kind == KindToken {
		return `Basic realm="entrepot"`
	}
	challenge := fmt.Sprintf(`Bearer realm="%s/token",service="%s"`, c.base(), c.server.o.Access.Service())
	switch {
	case c.req.Name != "":
		challenge += fmt.Sprintf(`,scope="repository:%s:%s"`, c.req.Name, c.wanted())
	case c.req.Kind == KindCatalog || c.req.Kind == KindSearch:
		challenge += `,scope="registry:catalog:*"`
	}
	if problem == "" && c.caller != nil && c.caller.Proved {
		problem = "insufficient_scope" // or some daemons ask again and again, and blame the server
	}
	if problem != "" {
		challenge += `,error="` + problem + `"`
	}
	return challenge
}

// wanted is what a token for this request is to be asked for.
func (c *call) wanted() string {
	if c.req.route().reads(c.ctx) {
		return "pull"
	}
	if c.action() == access.Delete {
		return "delete"
	}
	return "pull,push"
}

// mustLogIn makes the ping tell clients that logging in is possible, which they do only then. A token of nobody in
// particular is enough.
func (c *call) mustLogIn() error {
	if c.server.o.Access.Closed() && !c.caller.Proved {
		return &Error{Code: CodeUnauthorized, Status: http.StatusUnauthorized, Message: "log in, or ask for a token of nobody in particular"}
	}
	return nil
}
