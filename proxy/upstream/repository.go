package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	// The algorithms of go-digest are those that the binary links.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Repository is one repository of an upstream. It fulfils cache.Upstream and cache.Lister.
type Repository struct {
	registry *Registry
	name     string

	mu        sync.Mutex          // guards locations
	locations map[string]*url.URL // where the registry redirected a blob's GET to, by digest
}

func (r *Repository) Repo() cache.Repo {
	return cache.Repo{Registry: r.registry.host, Name: r.name}
}

// Spare reports whether the rate budget allows requests that nobody waits for: that of the account with which they would be sent.
func (r *Repository) Spare() bool {
	if reg := r.registry; reg.credentialed.Load() {
		return reg.own.budget.spare()
	}
	return r.registry.anonymous.budget.spare()
}

// ReadableAnonymously asks for the manifest, or else the blob, ref without our credential. 401, 403 and 404 are a no.
func (r *Repository) ReadableAnonymously(ctx context.Context, ref string) (bool, error) {
	reg := r.registry
	parts := []query{r.query(KindManifest, http.MethodHead, "manifests", ref)}
	parts[0].header.Set("Accept", manifestTypes)
	if digest.Digest(ref).Validate() == nil {
		parts = append(parts, r.query(KindBlob, http.MethodHead, "blobs", ref))
	}
	for _, q := range parts {
		_, _, err := r.fetch(ctx, q, reg.askAnonymously)
		switch {
		case err == nil:
			return true, nil
		case isDenied(err), errors.Is(err, cache.ErrNotFound):
		default:
			return false, reg.report("asking whether "+r.Repo().String()+" is public", err)
		}
	}
	return false, nil
}

func (r *Registry) askAnonymously(ctx context.Context, q query) (*answer, error) {
	return r.askAs(ctx, r.anonymous, q)
}

// query begins a request for something of this repository. Its parts are not normalised: whoever asks has parsed the name and the
// reference, and what has not been parsed must not reach another path by "..".
func (r *Repository) query(kind Kind, method string, parts ...string) query {
	u := *r.registry.base
	u.Path += "/v2/" + r.name + "/" + strings.Join(parts, "/")
	return query{
		kind: kind, method: method, url: &u, header: http.Header{},
		scope: auth.ScopeRepository(r.name, auth.ActionPull),
	}
}

// Small answers are read whole, and what breaks on the way is asked again.
const (
	MaxManifest  = 4 << 20 // the limit that the distribution spec tells registries to allow
	maxList      = 8 << 20
	bodyAttempts = 3
)

// asker is one of Registry's ways to send a query.
type asker func(context.Context, query) (*answer, error)

// fetch sends q and reads its whole answer.
func (r *Repository) fetch(ctx context.Context, q query, ask asker) (*answer, []byte, error) {
	ctx, c, err := r.registry.begin(ctx, q.kind)
	if err != nil {
		return nil, nil, err
	}
	defer c.end()
	for n := 1; ; n++ {
		a, err := ask(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		body, err := r.registry.readAll(ctx, q, a)
		var f *failure
		if err == nil || n == bodyAttempts || !errors.As(err, &f) || !f.again {
			return a, body, err
		}
	}
}

func (r *Registry) readAll(ctx context.Context, q query, a *answer) ([]byte, error) {
	defer a.Body.Close()
	if q.method == http.MethodHead {
		return nil, nil
	}
	limit := int64(maxList)
	switch q.kind {
	case KindManifest:
		limit = MaxManifest
	case KindSearch:
		limit = maxSearch
	}
	if a.ContentLength > limit {
		return nil, broken("its answer has %d bytes, more than the %d allowed", a.ContentLength, limit)
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, limit+1))
	r.events.Received(r.host, q.kind, int64(len(body)))
	switch {
	case err != nil:
		return nil, judgeError(ctx, fmt.Errorf("reading the answer: %w", err))
	case int64(len(body)) > limit:
		return nil, broken("its answer has more than the %d bytes allowed", limit)
	case encoded(a.Header):
		return nil, broken("its answer is encoded (%s) although none was asked for", a.Header.Get("Content-Encoding"))
	}
	return body, nil
}

func encoded(h http.Header) bool {
	e := h.Get("Content-Encoding")
	return e != "" && !strings.EqualFold(e, "identity")
}
