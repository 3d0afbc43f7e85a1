package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/entrepot/entrepot/cache"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const (
	maxRedirects = 5
	userAgent    = "entrepot"
)

// query is one request as the methods of a Repository put it.
type query struct {
	kind   Kind
	method string
	url    *url.URL
	header http.Header
	scope  string // of the token that it needs
}

// answer is a 200 or a 206.
type answer struct {
	*http.Response
	at   *url.URL // where it came from, after redirects
	home bool     // the registry itself answered
	late bool     // see exchange
}

// outdated reports whether a refusal may be due to the time that retries took: a token or a signed address lives for seconds here and there.
func (a *answer) outdated() bool {
	switch a.StatusCode {
	case http.StatusUnauthorized:
		return a.late
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return a.late && !a.home
	}
	return false
}

// ask sends q as us, and where we are refused once more as nobody: an expired token for ghcr.io must not make public images fail.
// Where nobody is refused too, the question is whether our credential is bad as such: that is an outage, no answer about q.
func (r *Registry) ask(ctx context.Context, q query) (*answer, error) {
	has, trouble := r.hasCredential(ctx)
	r.credentialed.Store(has && !r.standing.refused())
	if !has && trouble == nil {
		return r.askAs(ctx, r.anonymous, q)
	}
	if trouble == nil && !r.standing.refused() {
		a, err := r.askAs(ctx, r.own, q)
		if !isDenied(err) {
			r.acceptCredential(err)
			return a, err
		}
		trouble = err
	}
	a, err := r.askAs(ctx, r.anonymous, q)
	outage := r.judgeCredential(ctx, trouble)
	switch {
	case !isDenied(err) && !errors.Is(err, cache.ErrNotFound):
		return a, err
	case outage != nil:
		return nil, outage
	case trouble != nil:
		return nil, trouble
	}
	return nil, err
}

// askAs sends q with one identity and maps what comes back: 2xx is an answer, everything else an error.
func (r *Registry) askAs(ctx context.Context, s *session, q query) (*answer, error) {
	a, err := r.follow(ctx, s, q)
	for err == nil && a.outdated() && r.now().Before(deadlineOf(ctx)) {
		discard(a.Response)
		a, err = r.follow(ctx, s, q)
	}
	if err != nil {
		return nil, r.explain(s, err)
	}
	switch a.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return a, nil
	}
	discard(a.Response)
	switch a.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", r.host, cache.ErrNotFound)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, r.denied(s, &statusError{a.StatusCode, a.Header})
	}
	return nil, &statusError{a.StatusCode, a.Header}
}

// explain turns refusals into denials; failures and the caller's own going away stay what they are.
func (r *Registry) explain(s *session, err error) error {
	var t *tokenRefusal
	var place *refusal
	var f *failure
	if !errors.As(err, &f) && (errors.As(err, &t) || errors.As(err, &place)) {
		return r.denied(s, err)
	}
	return err
}

// denied names the upstream and the credential, never its secret.
func (r *Registry) denied(s *session, why error) error {
	who := "no credential"
	if s.source != nil {
		who = s.source.name
	}
	return fmt.Errorf("%w: %s, asked with %s: %w", cache.ErrDenied, r.host, who, why)
}

func isDenied(err error) bool { return errors.Is(err, cache.ErrDenied) }

// follow sends q and follows redirects itself, so that nothing of ours goes along: from the first foreign host on, the request is
// nobody's. A foreign host that wants a token (registry.k8s.io sends manifests to one) is asked for an anonymous one.
func (r *Registry) follow(ctx context.Context, s *session, q query) (*answer, error) {
	to, home := q.url, r.guard.home(q.url)
	for hop := 0; ; hop++ {
		if !home {
			s = r.anonymous
		}
		e := &exchange{kind: q.kind, own: home && q.kind != KindSearch}
		resp, err := r.send(ctx, s, q, to, e)
		if err != nil {
			return nil, err
		}
		location := resp.Header.Get("Location")
		if !isRedirect(resp.StatusCode) || location == "" {
			return &answer{Response: resp, at: to, home: home, late: e.late}, nil
		}
		discard(resp)
		if hop == maxRedirects {
			return nil, broken("more than %d redirects", maxRedirects)
		}
		if to, err = r.next(to, location); err != nil {
			return nil, err
		}
		home = home && r.guard.home(to)
	}
}

// next resolves a redirect, if the guard lets us go there.
func (r *Registry) next(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil {
		return nil, broken("it redirects to what is no address")
	}
	if err := r.guard.visit(to); err != nil {
		return nil, broken("it redirects to a place that is refused: %w", err)
	}
	return to, nil
}

func (r *Registry) send(ctx context.Context, s *session, q query, to *url.URL, e *exchange) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, to.String(), nil)
	if err != nil {
		return nil, broken("building a request: %w", err)
	}
	req.Header = q.header.Clone()
	req.Header.Set("User-Agent", userAgent)
	if e.own && q.scope != "" {
		ctx = auth.WithScopesForHost(ctx, req.URL.Host, q.scope)
	}
	return s.send(ctx, req, e)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// discard ends an answer that nobody wants, reading a little so that the connection can be used again.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	resp.Body.Close()
}
