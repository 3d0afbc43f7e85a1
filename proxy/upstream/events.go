package upstream

import "time"

// Kind is what a request asks for.
type Kind string

const (
	KindManifest  Kind = "manifest"
	KindBlob      Kind = "blob"
	KindTags      Kind = "tags"
	KindReferrers Kind = "referrers"
	KindToken     Kind = "token"
	KindPing      Kind = "ping"
	KindSearch    Kind = "search"
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{KindManifest, KindBlob, KindTags, KindReferrers, KindToken, KindPing, KindSearch}
}

// Whose rate limit an upstream tells of.
const (
	AccountAnonymous  = "anonymous"  // nobody's: that of our address
	AccountCredential = "credential" // that of our credential
)

// Events is told what passes between this process and upstreams. host is always the configured name ("docker.io"), also for what was
// asked of its token server or of a host that it redirected to. The methods are called from many goroutines and must not block.
type Events interface {
	// Requested tells of one HTTP exchange, up to its headers. outcome is the status ("200"), or "timeout", "failed", "canceled".
	Requested(host string, kind Kind, outcome string, took time.Duration)
	Received(host string, kind Kind, bytes int64) // body bytes, when a body has ended
	Retried(host string, kind Kind)
	BreakerChanged(host, state string) // "closed", "half-open", "open"
	RateLimit(host, account string, limit, remaining int64)
	CredentialRefused(host string, refused bool) // upstream refuses our credential for everything, or does so no longer
}

// NoEvents ignores everything.
type NoEvents struct{}

func (NoEvents) Requested(string, Kind, string, time.Duration) {}
func (NoEvents) Received(string, Kind, int64)                  {}
func (NoEvents) Retried(string, Kind)                          {}
func (NoEvents) BreakerChanged(string, string)                 {}
func (NoEvents) RateLimit(string, string, int64, int64)        {}
func (NoEvents) CredentialRefused(string, bool)                {}
