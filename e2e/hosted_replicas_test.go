package e2e

import (
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/entrepot/entrepot/e2e/bucket"
	"github.com/entrepot/entrepot/e2e/server"
)

// hosting starts what hosts every name and has no upstream.
type hosting func(t *testing.T, settings ...string) site

// everywhere runs a test where what is pushed is kept on a disk, and where it is kept in a bucket. The test is one that may
// be run in parallel, and says so.
func everywhere(t *testing.T, test func(t *testing.T, newRegistry hosting)) {
	t.Parallel()
	t.Run("on disk", func(t *testing.T) { test(t, newRegistry) })
	t.Run("in a bucket", func(t *testing.T) { test(t, newReplicas) })
}

// newReplicas starts two servers on one bucket. Each request goes to the one that did not get the request before.
func newReplicas(t *testing.T, settings ...string) site {
	t.Helper()
	s := replicasOn(t, registryOptions(settings...))
	s.each((*server.Server).Start)
	t.Cleanup(func() {
		s.each(func(r *server.Server) {
			if checkMemory(t, r); !strings.Contains(r.Log(), "msg=answered") {
				t.Error("one of the replicas was asked nothing")
			}
		})
	})
	return s
}

// replicasOn starts a bucket, and prepares two servers on it.
func replicasOn(t *testing.T, o server.Options) site {
	t.Helper()
	b := bucket.Start(t)
	env, others := bucket.Settings("http://" + b.Addr)
	maps.Copy(o.Env, env)
	o.Others = others
	first, second := server.New(t, o), server.New(t, o)
	s := site{T: t, server: first, client: newClient(t, first), others: []*server.Server{second}, bucket: b}
	s.client.http.Transport = &turns{Transport: s.client.transport(), addrs: []string{first.Addr, second.Addr}}
	return s
}

// turns is a load balancer without stickiness: each request goes to the next of several servers.
type turns struct {
	*http.Transport
	addrs []string
	taken atomic.Int64
	gone  atomic.Pointer[string] // the address of one that is known to have died
}

// next is the address of the server whose turn it is.
func (b *turns) next() string {
	for {
		addr := b.addrs[b.taken.Add(1)%int64(len(b.addrs))]
		if gone := b.gone.Load(); gone == nil || *gone != addr {
			return addr
		}
	}
}

func (b *turns) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Host == "" {
		r.Host = r.URL.Host // as clients see it
	}
	r.URL.Host = b.next()
	return b.Transport.RoundTrip(r)
}

// transport is what the client's connections are made by.
func (c *client) transport() *http.Transport {
	if b, ok := c.http.Transport.(*turns); ok {
		return b.Transport
	}
	return c.http.Transport.(*http.Transport)
}

// addr is where a request goes that is not the client's.
func (s site) addr() string {
	if b, ok := s.client.http.Transport.(*turns); ok {
		return b.next()
	}
	return s.server.Addr
}

// each does something with each server.
func (s site) each(do func(*server.Server)) {
	do(s.server)
	for _, r := range s.others {
		do(r)
	}
}

// restart ends each server and starts it again.
func (s site) restart(end func(*server.Server)) {
	s.Helper()
	s.each(func(r *server.Server) { end(r); r.Start() })
}
