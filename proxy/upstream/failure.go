package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// errPatience and errStalled end a call's context from inside; errStalled during its body, errPatience before.
var (
	errPatience = errors.New("no answer within the time allowed")
	errStalled  = errors.New("the body stalled")
)

// failure is an exchange that upstream did not answer as it should. It leaves this package as a cache.UnavailableError.
type failure struct {
	cause      cache.Cause
	retryAfter time.Duration // 0 where upstream named none
	again      bool          // asking again may help
	silent     bool          // there was no answer at all
	hasty      bool          // the caller's deadline was shorter than our patience: says nothing of upstream
	err        error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// broken is an answer that makes no sense, and would make none if asked again.
func broken(format string, args ...any) error {
	return &failure{cause: cache.CauseFailed, err: fmt.Errorf(format, args...)}
}

// statusError is an answer that is neither content nor an outage nor a refusal: 405, 416, 400 ...
type statusError struct {
	status int
	header http.Header
}

func (e *statusError) Error() string {
	return fmt.Sprintf("it answered %d %s", e.status, http.StatusText(e.status))
}

func hasStatus(err error, statuses ...int) bool {
	var e *statusError
	if !errors.As(err, &e) {
		return false
	}
	for _, s := range statuses {
		if e.status == s {
			return true
		}
	}
	return false
}

// judgeStatus gives the failure that a status means, or nil for an answer.
func judgeStatus(resp *http.Response, now time.Time) *failure {
	f := &failure{cause: cache.CauseFailed, again: true, err: fmt.Errorf("it answered %s", resp.Status)}
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests:
		f.cause = cache.CauseLimited
	case s == http.StatusRequestTimeout, s == http.StatusGatewayTimeout:
		f.cause = cache.CauseTimeout
	case s == http.StatusNotImplemented, s == http.StatusHTTPVersionNotSupported:
		f.again = false
	case s < 500:
		return nil
	}
	f.retryAfter, _ = parseRetryAfter(resp.Header.Get("Retry-After"), now)
	return f
}

// judgeError tells what an exchange that gave no answer means. A caller that went away is no failure of anybody.
func judgeError(ctx context.Context, err error) error {
	var own *failure
	var refused *refusal
	var certificate *tls.CertificateVerificationError
	var slow net.Error
	switch cause := context.Cause(ctx); {
	case errors.As(err, &own):
		return own
	case errors.Is(cause, errPatience), errors.Is(cause, errStalled):
		return &failure{cause: cache.CauseTimeout, silent: true, err: cause}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &failure{cause: cache.CauseTimeout, hasty: true, err: ctx.Err()}
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refused):
		return &failure{cause: cache.CauseFailed, err: refused}
	case errors.As(err, &certificate):
		return &failure{cause: cache.CauseFailed, silent: true, err: err}
	case errors.As(err, &slow) && slow.Timeout():
		return &failure{cause: cache.CauseTimeout, again: true, silent: true, err: err}
	}
	return &failure{cause: cache.CauseFailed, again: true, silent: true, err: err}
}

// report turns what happened inside into one of the cache's errors, saying what was being done. Answers (not found, denied, corrupt)
// and a caller's own going away pass as they are.
func (r *Registry) report(doing string, err error) error {
	var f *failure
	var s *statusError
	switch {
	case err == nil:
		return nil
	case cache.IsOutage(err):
		return err
	case isDenied(err):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.As(err, &f):
		return &cache.UnavailableError{Upstream: r.host, Cause: f.cause, RetryAfter: f.retryAfter, Err: fmt.Errorf("%s: %w", doing, f)}
	case errors.As(err, &s):
		return &cache.UnavailableError{Upstream: r.host, Cause: cache.CauseFailed, Err: fmt.Errorf("%s: %w", doing, s)}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
