package access

import (
	"slices"
	"strings"
	"time"
)

// replicaTokenLife is for one request, which is sent at once, between servers whose clocks differ.
const replicaTokenLife = time.Minute

// replica is who shows a token of another server. No user can be called so.
const replica Subject = "@replica"

// ReplicaToken is by what another server with the same keys lets this one pull a repository of an upstream, for a client who
// may by the policy here: the other one asks no policy. Empty where there are no users.
func (g *Guard) ReplicaToken(registry, name string) (string, error) {
	if !g.Closed() {
		return "", nil
	}
	s, now := g.state.Load(), g.o.Now().Truncate(time.Second) // which is all that a token says
	if s.keys == nil {
		return "", ErrNoKeys
	}
	return s.keys.sign(claims{
		Replica: true, Grants: []Grant{{scopeRepository, registry + "/" + name, []string{Pull.String()}}},
		Issued: now, Expires: now.Add(replicaTokenLife),
	}, g.o.Service, g.o.Random)
}

// newReplica is the caller of such a token. They may do nothing by any policy, and list nothing; nil where the token is not as
// ReplicaToken makes them.
func newReplica(c claims) *Caller {
	if c.Subject != Anonymous || len(c.Grants) != 1 || c.Grants[0].Type != scopeRepository || !slices.Equal(c.Grants[0].Actions, []string{Pull.String()}) {
		return nil
	}
	registry, name, _ := strings.Cut(c.Grants[0].Name, "/")
	return &Caller{
		Subject: replica, Proved: true, state: &state{policy: new(Policy)}, expires: c.Expires, limited: true,
		copies: Repository{Upstream: registry, Name: name},
	}
}

// Copies reports whether the caller is another server that may pull that repository of an upstream, whatever the policy says
// of it, since it has asked the policy for its own client.
func (c *Caller) Copies(repo Repository) bool { return repo.Upstream != "" && repo == c.copies }
