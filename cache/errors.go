package cache

import (
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
)

// Answers of an upstream. They are passed on, not worked around: a 404 or a refusal is never papered over by stale content.
var (
	ErrNotFound = errors.New("not found upstream")
	ErrDenied   = errors.New("refused by upstream")
)

// ErrCorrupt says that the bytes an origin sent do not have the digest asked for.
var ErrCorrupt = errors.New("bytes do not match their digest")

// Cause tells outages apart, for the status line and for metrics.
type Cause string

const (
	CauseLimited    Cause = "limited"    // 429
	CauseTimeout    Cause = "timeout"    // no answer in time
	CauseFailed     Cause = "failed"     // 5xx, refused connection, broken answer
	CauseOpen       Cause = "breaker"    // known to be down; not asked
	CauseCredential Cause = "credential" // our own credential is refused for everything
)

// UnavailableError is an outage: content that is cached is served stale, and the rest waits.
type UnavailableError struct {
	Upstream   string
	Cause      Cause
	RetryAfter time.Duration // 0 where upstream named none
	Err        error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("upstream %s unavailable (%s): %v", e.Upstream, e.Cause, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// IsOutage reports whether err says that an upstream could not answer, rather than what it answered.
func IsOutage(err error) bool {
	var u *UnavailableError
	return errors.As(err, &u)
}

// RangeError says that no byte of the range asked for exists: 416, with the blob's size.
type RangeError struct {
	Digest digest.Digest
	Size   int64
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("range not satisfiable: %s has %d bytes", e.Digest, e.Size)
}
