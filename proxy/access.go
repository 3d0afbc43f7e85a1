package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/entrepot/entrepot/proxy/access"
)

// recognize finds who sends the request. What they may do is asked below, once it is known what that would be. A credential
// that proves nothing is refused, also where nobody needs one.
func (c *call) recognize() (err error) {
	guard := c.server.o.Access
	header := view(c.ctx.Request.Header.Peek("Authorization"))
	if header == "" || !guard.Closed() {
		c.caller = guard.Anybody()
		return nil
	}
	if scheme, credential, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Bearer") {
		c.caller, err = guard.Bearer(credential)
		return err
	}
	user, password, ok := c.basic()
	if !ok {
		return &access.Refusal{Reason: access.BadToken, Message: "the Authorization header is neither a bearer token nor a user name and password"}
	}
	client, _ := c.client()
	c.caller, err = guard.Basic(user, password, client)
	return err
}

// basic reads the user name and password that the Authorization header holds, if it does.
func (c *call) basic() (user, password string, ok bool) {
	scheme, credential, _ := strings.Cut(view(c.ctx.Request.Header.Peek("Authorization")), " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	return access.ParseBasic(credential)
}

// policyName is a repository as the policy knows it.
func policyName(home Home) access.Repository {
	return access.Repository{Upstream: home.Registry, Name: home.Name}
}

// mayPull is the one place that decides whether something may be read, whatever the route and the tier: ref is a tag or a
// digest, empty for what is listed, and spelled is how the client wrote the repository.
func (c *call) mayPull(home Home, spelled, ref string) error {
	if c.isCopied(home) {
		return nil
	}
	decision, err := c.allowed(home, spelled, ref)
	if err != nil || home.Hosted || decision.Lent || !c.server.o.Registries[home.Registry].Private {
		return err
	}
	return c.public(home, spelled, cmp.Or(ref, "latest")) // a repository is judged by something in it
}

// isCopied reports whether another server asks for content of the one repository that its token is for. That server knows the
// digest because it has asked the policy there is, for a client of its own. Tags and lists take a client's own token.
func (c *call) isCopied(home Home) bool {
	content := c.req.Kind == KindBlob || c.req.Kind == KindManifest && c.req.ByDigest()
	return content && c.caller.Copies(policyName(home))
}

// allowed is what the policy says of a repository, and of the one that its name may stand for at its home.
func (c *call) allowed(home Home, spelled, ref string) (access.Decision, error) {
	decision, err := c.caller.May(access.Pull, policyName(home), spelled)
	if err != nil || home.Hosted {
		return decision, err
	}
	if err := c.caller.Admit(policyName(home), ref); err != nil {
		return decision, err
	}
	if inner, ok := c.server.names.within(home); ok {
		_, err = c.allowed(inner, spelled, ref)
	}
	return decision, err
}

// public fails where not everybody may read an upstream's repository, which our credential can read, judged by ref.
func (c *call) public(home Home, spelled, ref string) error {
	c.keep()
	home.Name, ref = strings.Clone(home.Name), strings.Clone(ref)
	ok, err := c.server.o.Public(c.server.ctx, c.server.o.Registries[home.Registry].Repository(home.Name), ref)
	switch {
	case err != nil || ok:
		return err
	case c.server.o.Access.Closed():
		return c.caller.Refuse(access.Pull, spelled)
	}
	return newError(CodeDenied, home.Registry+" lets nobody read this anonymously, and this cache does not lend its credential")
}

// sees reports whether a repository that is here is listed for the caller.
func (c *call) sees(home Home) bool {
	allowed, lent := c.lists(home)
	return allowed && (home.Hosted || lent || !c.server.o.Registries[home.Registry].Private)
}

// lists is mayPull for a name in a list, which no token names.
func (c *call) lists(home Home) (allowed, lent bool) {
	decision := c.caller.Decide(access.Pull, policyName(home))
	allowed = decision.Allowed && (home.Hosted || c.caller.Admit(policyName(home), "") == nil)
	if inner, ok := c.server.names.within(home); ok && allowed {
		allowed, _ = c.lists(inner)
	}
	return allowed, decision.Lent
}

// seesHosted is sees for the names of hosted repositories.
func (c *call) seesHosted(name string) bool { return c.sees(Home{Hosted: true, Name: name}) }

// mayList fails where the caller may not list what is of a registry, empty for what is hosted: a token has to be asked for
// that, and what only our credential reads is not listed to anonymous callers. what is for the message.
func (c *call) mayList(registry, what string) error {
	if err := c.caller.MayList(); err != nil {
		return err
	}
	switch {
	case !c.server.o.Registries[registry].Private || c.caller.Subject != access.Anonymous:
		return nil
	case c.server.o.Access.Closed():
		return c.caller.Refuse(access.Pull, registry)
	}
	return newError(CodeDenied, registry+" is read with a credential, and "+what+" is not for everybody")
}

// mayWrite decides who may push and delete: where there are users, whom the policy lets; where there are none, whoever is near.
func (c *call) mayWrite(a access.Action) error {
	switch {
	case c.server.o.ReadOnly:
		return newError(CodeUnsupported, "this server takes no changes: ENTREPOT_READ_ONLY is set")
	case !c.paged && ofAPage(&c.ctx.Request.Header):
		return newError(CodeDenied, "web pages may change nothing here, but for the one of this server")
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
	if c.paged || c.ctx.IsDelete() && c.req.Kind != KindUpload {
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
	if c.req.Kind == KindToken || c.paged {
		return `Basic realm="entrepot", charset="UTF-8"`
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
