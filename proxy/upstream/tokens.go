package upstream

import (
	"context"
	"sync"
	"sync/atomic"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// maxTokens bounds the tokens kept: one per repository that was asked for, and names are chosen by clients.
const maxTokens = 4096

// tokens is oras's token cache with three things it lacks: a bound; one fetch where several callers found the same token expired one
// after the other; and a caller that leaves while it fetches for others does not take them along.
type tokens struct {
	order atomic.Uint64 // counts the tokens fetched, so that a request can say which of them are younger than itself

	mu      sync.Mutex // guards inner and fetched
	inner   auth.Cache
	fetched map[string]fetchedToken
}

type fetchedToken struct {
	token string
	order uint64
}

func newTokens() *tokens {
	return &tokens{inner: auth.NewCache(), fetched: make(map[string]fetchedToken)}
}

// cache gives the present generation of oras's cache.
func (t *tokens) cache() auth.Cache {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inner
}

func (t *tokens) GetScheme(ctx context.Context, registry string) (auth.Scheme, error) {
	return t.cache().GetScheme(ctx, registry)
}

func (t *tokens) GetToken(ctx context.Context, registry string, scheme auth.Scheme, key string) (string, error) {
	return t.cache().GetToken(ctx, registry, scheme, key)
}

func (t *tokens) Set(ctx context.Context, registry string, scheme auth.Scheme, key string, fetch func(context.Context) (string, error)) (string, error) {
	id := registry + " " + scheme.String() + " " + key
	return t.cache().Set(ctx, registry, scheme, key, func(ctx context.Context) (string, error) {
		// A token younger than the request cannot be the one that was refused.
		if token, ok := t.younger(id, exchangeOf(ctx).order); ok {
			return token, nil
		}
		token, err := fetch(ctx)
		if ctx.Err() != nil {
			return "", ctx.Err() // bare, by which oras knows to let the next caller fetch
		}
		if err == nil {
			t.keep(id, token)
		}
		return token, err
	})
}

func (t *tokens) younger(id string, than uint64) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.fetched[id]
	return f.token, ok && f.order > than
}

func (t *tokens) keep(id, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.fetched) >= maxTokens {
		t.inner, t.fetched = auth.NewCache(), make(map[string]fetchedToken)
	}
	t.fetched[id] = fetchedToken{token, t.order.Add(1)}
}
