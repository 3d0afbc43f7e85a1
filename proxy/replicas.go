package proxy

import (
	"context"
	"net/http"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/replica"
)

const replicaIDLimit = 64

// knowReplica finds out whether another server asks, and fails where it is this one: with two servers behind one address, one
// would wait for itself. What is no ID is nobody's, and says nothing.
func (c *call) knowReplica() error {
	if c.server.o.ReplicaID == "" {
		return nil
	}
	id := view(c.ctx.Request.Header.Peek(replica.Header))
	if !validReplicaID(id) {
		return nil
	}
	if id == c.server.o.ReplicaID {
		return &Error{Code: CodeUnsupported, Status: http.StatusMisdirectedRequest,
			Message: "a request of this server came back to it: an ADVERTISE_URL leads to several servers, or to the wrong one"}
	}
	c.alone = true
	return nil
}

func validReplicaID(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= replicaIDLimit
}

// context is that of calls into the cache which may fetch.
func (c *call) context() context.Context {
	if c.alone {
		return cache.Alone(c.server.ctx)
	}
	return c.server.ctx
}
