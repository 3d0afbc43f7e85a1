package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// session is one identity towards an upstream: ours, or nobody's. The handshake is oras's auth.Client:
//
//  1. the request goes out, with the repository's token if there is one already;
//  2. a 401 names a realm; the gate decides whether we go there, and whether with our credential;
//  3. a token is fetched, once for all who need it, and the request is sent again.
//
// Tokens have no clock: one that has expired is found out by its 401.
type session struct {
	client *auth.Client
	tokens *tokens
	source *source // nil: nobody's
	basic  bool    // the credential goes along unasked
	budget *budget // two accounts have two
}

func (r *Registry) newSession(s *source, basic bool, b *budget) *session {
	t := newTokens()
	g := &gate{next: r.retrier, guard: r.guard, credentialed: s != nil, path: r.tokenPath}
	client := &auth.Client{
		Client: &http.Client{
			Transport:     g,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Cache: t,
	}
	if s != nil {
		client.Credential = func(ctx context.Context, host string) (auth.Credential, error) {
			if host != r.base.Host {
				return auth.EmptyCredential, nil
			}
			return s.get(ctx)
		}
	}
	return &session{client: client, tokens: t, source: s, basic: basic, budget: b}
}

// send sends one request and does the handshake where it is asked for. A session with a credential is used for the registry itself only.
func (s *session) send(ctx context.Context, req *http.Request, e *exchange) (*http.Response, error) {
	e.order, e.budget = s.tokens.order.Load(), s.budget
	req = req.WithContext(withExchange(ctx, e))
	if s.basic {
		c, err := s.source.get(ctx)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(c.Username, c.Password)
	}
	resp, err := s.client.Do(req)
	return resp, handshakeError(ctx, e, err)
}

// handshakeError keeps the errors of our own layers and words the others anew: net/http and oras put whole addresses into theirs, with
// signatures and with the path that stands for a realm.
func handshakeError(ctx context.Context, e *exchange, err error) error {
	var f *failure
	var t *tokenRefusal
	var r *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.As(err, &t):
		return t
	case errors.As(err, &r):
		return r
	case ctx.Err() != nil:
		return judgeError(ctx, ctx.Err())
	case e.realm != nil:
		return broken("its token server %s gave no token that can be used", e.realm.url.Host)
	}
	return broken("its challenge cannot be answered with this credential")
}

// realm is a token server's address as a challenge gave it, after the guard let it pass.
type realm struct{ url *url.URL }

// tokenRefusal is a token server's own 401 or 403.
type tokenRefusal struct {
	host   string
	status int
}

func (e *tokenRefusal) Error() string {
	return fmt.Sprintf("its token server %s answered %d", e.host, e.status)
}

// gate stands between oras's auth client and the network, because the realm of a challenge is chosen by the other side and oras sends the
// credential to whatever it names. The gate shows oras a realm on the registry's own host, under a path that nobody can guess, and
// sends the token request that then comes to the realm that the guard agreed to.
type gate struct {
	next         http.RoundTripper
	guard        *guard
	credentialed bool
	path         string
}

func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == g.path {
		return g.fetchToken(req)
	}
	if g.credentialed && !g.guard.home(req.URL) {
		return nil, refuse("a request to %s would carry our credential", req.URL.Host)
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if _, err := resp.Location(); err != nil {
		resp.Header.Del("Location") // net/http would quote it in an error
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return resp, nil
	}
	if err := g.judgeChallenge(req, resp); err != nil {
		discard(resp)
		return nil, err
	}
	return resp, nil
}

// judgeChallenge rewrites the challenge of resp into one that oras may act upon; without any, the 401 stands.
func (g *gate) judgeChallenge(req *http.Request, resp *http.Response) error {
	c, ok := chooseChallenge(resp.Header.Values("Www-Authenticate"))
	resp.Header.Del("Www-Authenticate")
	switch {
	case !ok, c.scheme == "basic" && !g.credentialed:
		return nil
	case c.scheme == "basic":
		resp.Header.Set("Www-Authenticate", "Basic")
		return nil
	}
	u, err := g.realmOf(c)
	if err != nil {
		return err
	}
	exchangeOf(req.Context()).realm = &realm{u}
	shown := url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: g.path, RawQuery: u.RawQuery}
	resp.Header.Set("Www-Authenticate", fmt.Sprintf("Bearer realm=%s,service=%s,scope=%s",
		strconv.Quote(shown.String()), strconv.Quote(c.service), strconv.Quote(c.scope)))
	return nil
}

func (g *gate) realmOf(c challenge) (*url.URL, error) {
	u, err := url.Parse(c.realm)
	if err != nil {
		return nil, broken("its challenge names a realm that is no address")
	}
	if err := g.guard.visit(u); err != nil {
		return nil, broken("its challenge names a realm that is refused: %w", err)
	}
	if !g.credentialed {
		return u, nil
	}
	if err := g.guard.entrust(u); err != nil {
		return nil, err
	}
	return u, nil
}

// fetchToken sends a token request to its real realm. No redirect of a token server is followed.
func (g *gate) fetchToken(req *http.Request) (*http.Response, error) {
	e := *exchangeOf(req.Context())
	if e.realm == nil {
		return nil, broken("a token request without a challenge")
	}
	e.kind = KindToken
	to := req.Clone(withExchange(req.Context(), &e))
	u := *e.realm.url
	u.RawQuery = req.URL.RawQuery
	to.URL, to.Host = &u, u.Host
	resp, err := g.next.RoundTrip(to)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	discard(resp)
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return nil, &tokenRefusal{u.Host, resp.StatusCode}
	}
	return nil, broken("its token server %s answered %s", u.Host, resp.Status)
}
