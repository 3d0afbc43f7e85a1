package proxy

import (
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
)

// Answer says how a request was answered, when its last byte was sent. Registry comes from the configuration and may
// be a label of a metric.
type Answer struct {
	Kind     Kind
	Registry string // empty: no upstream's
	Hosted   bool   // of a hosted repository
	Replica  bool   // another server of the bucket asked, for a client of its own
	Allowed  bool   // somebody in particular asked for Action, and was let
	Action   access.Action
	Status   int
	Tier     cache.Tier // empty: no content of the cache
	Bytes    int64      // of the body, as far as it was sent
	Received int64      // of the request's body, as far as it was read
	Cut      bool       // the body ended before its end: the client left, or the content failed
	// FirstByte is how long the first byte of a body that is streamed took to be handed to the connection, and Duration where
	// the handler answers by itself, or nothing is to be sent; negative where a body had no byte in the end.
	FirstByte time.Duration
	Duration  time.Duration
}

// Kinds are all of them.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Figures are what the page shows of the traffic since the server began. They are about what is of upstreams.
type Figures struct {
	Since        time.Time
	Hits, Misses int64 // blobs and manifests that were here, and that upstream had to be asked for
	Stale        int64 // answers that were, since upstream was silent
	Registries   []RegistryFigures
}

// RegistryFigures are the bytes of one upstream: to clients, and from it.
type RegistryFigures struct {
	Host          string
	Sent, Fetched int64
}
