// Package upstream talks to upstream registries: it is all the HTTP that goes out. A Registry is one configured upstream, a Repository one
// repository of it as the cache's contract wants it.
//
// A request passes these layers, from the top: ask (identity, anonymous second try), follow (redirects), session (oras's token
// handshake), gate (where tokens may come from), retrier, wire (breaker, rate limit, events), guard (what may be dialled).
package upstream

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// Registry is one upstream. It is safe for concurrent use.
type Registry struct {
	host     string
	base     *url.URL
	guard    *guard
	pool     *http.Transport
	retrier  *retrier
	breaker  *breaker
	patience time.Duration
	stall    time.Duration
	now      func() time.Time
	events   Events
	log      *slog.Logger

	tokenPath string // see gate
	anonymous *session
	own       *session // nil without a credential
	standing  standing // whether our credential is any good
	// credentialed: the last request was begun with our credential, so the next one will be.
	credentialed atomic.Bool

	searchBase *url.URL // where its search is

	slots    chan struct{} // all requests
	searches chan struct{} // those of searches
	bodies   chan struct{} // those that fetch a blob's body: an eighth less, so that no manifest waits for somebody's gigabyte
}

var (
	_ cache.Upstream = (*Repository)(nil)
	_ cache.Lister   = (*Repository)(nil)
)

// New makes a registry of its options. Its error names all that is wrong with them. Nothing is sent yet.
func New(o Options) (*Registry, error) {
	o = o.withDefaults()
	base, err := o.check()
	config, tlsErr := tlsConfig(o.CA, o.ClientCert, o.ClientKey)
	if err := errors.Join(err, tlsErr); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", o.Host, err)
	}
	r := &Registry{
		host: o.Host, base: base, guard: newGuard(o, base),
		patience: o.Patience, stall: o.Stall, now: o.Now, events: o.Events, log: o.Log,
		tokenPath:  "/" + rand.Text(),
		searchBase: searchBase(o.Host, base),
		slots:      make(chan struct{}, o.MaxRequests),
		searches:   make(chan struct{}, max(1, min(searches, o.MaxRequests/8))),
		bodies:     make(chan struct{}, max(1, o.MaxRequests-(o.MaxRequests+7)/8)),
	}
	r.standing.now, r.standing.turn = o.Now, make(chan struct{}, 1)
	r.pool = newTransport(o, r.guard, config, o.Proxy.ProxyFunc())
	r.breaker = newBreaker(o.Host, openFor, o.Now, func(state string) {
		o.Log.Warn("upstream's breaker changed", "upstream", o.Host, "state", state)
		o.Events.BreakerChanged(o.Host, state)
	})
	r.retrier = r.newRetrier(o)
	r.anonymous = r.newSession(nil, false, newBudget(o, AccountAnonymous))
	if s := newSource(o); s != nil {
		r.own = r.newSession(s, o.Auth == "basic" || o.Auth == "ecr", newBudget(o, AccountCredential))
		r.credentialed.Store(true)
	}
	return r, nil
}

func newBudget(o Options, account string) *budget {
	return &budget{account: account, floor: int64(o.RateFloor), now: o.Now, update: func(limit, remaining int64) {
		o.Events.RateLimit(o.Host, account, limit, remaining)
	}}
}

func newGuard(o Options, base *url.URL) *guard {
	g := &guard{
		base: base, own: authority(base), proxies: proxyAuthorities(o.Proxy), connect: o.Patience / 2,
		listed: make(map[string]bool), known: make(map[string]bool),
	}
	for _, h := range o.TokenHosts {
		g.listed[authority(&url.URL{Scheme: base.Scheme, Host: h})] = true
		g.listed[authority(&url.URL{Scheme: "https", Host: h})] = true
	}
	for _, h := range knownTokenHosts(o.Host) {
		g.known[authority(&url.URL{Scheme: "https", Host: h})] = true
	}
	return g
}

func (r *Registry) newRetrier(o Options) *retrier {
	w := &wire{
		transport: r.pool, guard: r.guard, breaker: r.breaker, now: o.Now,
		requested: func(kind Kind, outcome string, took time.Duration) {
			o.Events.Requested(o.Host, kind, outcome, took)
		},
	}
	return &retrier{next: w, now: o.Now, random: o.Random, retried: func(k Kind) { o.Events.Retried(o.Host, k) }}
}

// Host is the registry's name in image references.
func (r *Registry) Host() string { return r.host }

// Repository gives one of its repositories, by its full name there ("library/nginx"). It is cheap. The value remembers where the
// registry redirected each blob to, so it should live as long as one fill, and not longer.
func (r *Registry) Repository(name string) *Repository {
	return &Repository{registry: r, name: name, locations: make(map[string]*url.URL)}
}

// Close drops idle connections. Running requests end with their own contexts.
func (r *Registry) Close() { r.pool.CloseIdleConnections() }
