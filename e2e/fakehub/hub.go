// Package fakehub is a Docker Hub for tests: a registry, a token server and a CDN, each a real HTTP service on a port of
// its own, with Hub's habits (anonymous tokens that expire, redirects to signed addresses, rate limit headers) and, on
// demand, every fault a registry has shown. It counts requests and remembers which bytes of which blob it served.
package fakehub

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Options say how a Hub behaves. The zero value is a plain HTTP Hub that wants tokens and redirects blobs.
type Options struct {
	Addr   string    // of the registry; a free port of 127.0.0.1 unless set
	TLS    bool      // https, with HTTP/2 as real registries offer it
	CAFile string    // where the CA's certificate is written; a temporary file unless set
	Seed   uint64    // of everything that is left to chance
	Log    io.Writer // one line for each request; nil for none

	// What follows may be changed while the Hub runs, see Set.
	NoAuth      bool          // no tokens asked
	TokenLife   time.Duration // 300 s unless set, whole seconds
	NoRedirect  bool          // the registry sends blobs itself
	URLLife     time.Duration // of signed CDN addresses; 60 s unless set
	NoRanges    bool          // Range is ignored
	NoReferrers bool          // no referrers API: the fallback tag instead
	NoDigest    bool          // manifests come without Docker-Content-Digest
	Bandwidth   int64         // bytes a second of each connection; 0 for no bound
	Latency     time.Duration // before each answer
	RateLimit   int           // manifest GETs that are allowed; 0 for no limit and no headers
	LimitHEAD   bool          // at the limit, HEAD is refused too
}

// Host is one of a Hub's services.
type Host int

const (
	Registry Host = iota
	Token
	CDN
)

// Hub is a running service. Its methods are safe for concurrent use. Close ends it.
type Hub struct {
	log   io.Writer
	hosts [3]*host
	ca    *authority
	sign  []byte // the key of signed addresses

	mu       sync.Mutex // guards what follows
	options  Options
	dice     *rand.Rand
	repos    map[string]*Repo
	users    map[string]string // name to password
	tokens   map[string]grant
	pulls    int // counted against RateLimit
	faults   []*Injected
	counts   map[Kind]int
	served   map[string]*Served
	requests []Request
}

// Start runs a Hub.
func Start(o Options) (*Hub, error) {
	h := &Hub{log: o.Log, options: o, dice: rand.New(rand.NewPCG(o.Seed, 1)), repos: map[string]*Repo{},
		users: map[string]string{}, tokens: map[string]grant{}}
	h.ResetCounters()
	h.sign = fmt.Appendf(nil, "%016x", h.dice.Uint64())
	if o.TLS {
		var err error
		if h.ca, err = newAuthority(o.CAFile); err != nil {
			return nil, err
		}
	}
	handlers := [3]http.HandlerFunc{Registry: h.serveRegistry, Token: h.serveToken, CDN: h.serveCDN}
	for i, handler := range handlers {
		h.hosts[i] = &host{hub: h, handler: handler}
	}
	h.hosts[Registry].addr = o.Addr
	if err := h.Up(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// TB is the part of testing.TB that New needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// New runs a Hub for as long as the test.
func New(t TB, o Options) *Hub {
	t.Helper()
	h, err := Start(o)
	if err != nil {
		t.Fatalf("start the fake hub: %v", err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// Set changes how the Hub behaves from the next request on. What Options names before Set has no effect.
func (h *Hub) Set(change func(*Options)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.options)
}

func (h *Hub) current() Options {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.options
}

// URL is the registry's address: "http://127.0.0.1:34567".
func (h *Hub) URL() string { return h.scheme() + "://" + h.Addr() }

// Addr is the registry's host and port.
func (h *Hub) Addr() string { return h.HostAddr(Registry) }

// HostAddr is a service's host and port.
func (h *Hub) HostAddr(which Host) string { return h.hosts[which].address() }

// CAFile is the certificate that a client must trust, or "" without TLS.
func (h *Hub) CAFile() string {
	if h.ca == nil {
		return ""
	}
	return h.ca.file
}

func (h *Hub) scheme() string {
	if h.ca != nil {
		return "https"
	}
	return "http"
}

// Down closes the services named, or all: every connection breaks and new ones are refused.
func (h *Hub) Down(which ...Host) {
	for _, host := range h.pick(which) {
		host.close()
	}
}

// Up brings services that are down back at the same address.
func (h *Hub) Up(which ...Host) error {
	for _, host := range h.pick(which) {
		if err := host.open(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) pick(which []Host) []*host {
	if len(which) == 0 {
		return h.hosts[:]
	}
	var picked []*host
	for _, w := range which {
		picked = append(picked, h.hosts[w])
	}
	return picked
}

// Close ends the Hub. Requests that hang are broken off.
func (h *Hub) Close() error {
	h.Down()
	if h.ca != nil {
		return h.ca.remove()
	}
	return nil
}
