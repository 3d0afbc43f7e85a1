package upstream

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// wire is the lowest layer above net/http: one exchange, timed, told to Events, read for the rate limit, kept from an upstream that is down.
// It gives answers, *failure, or the caller's context error.
type wire struct {
	transport http.RoundTripper
	guard     *guard
	breaker   *breaker
	now       func() time.Time
	requested func(kind Kind, outcome string, took time.Duration)
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	e := exchangeOf(req.Context())
	if !e.own {
		return w.exchange(req, e)
	}
	done, err := w.breaker.allow()
	if err != nil {
		return nil, err
	}
	resp, err := w.exchange(req, e)
	done(err)
	return resp, err
}

func (w *wire) exchange(req *http.Request, e *exchange) (*http.Response, error) {
	begun := w.now()
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		err = judgeError(req.Context(), err)
		w.requested(e.kind, outcomeOf(err), w.now().Sub(begun))
		return nil, err
	}
	w.requested(e.kind, strconv.Itoa(resp.StatusCode), w.now().Sub(begun))
	if e.budget != nil && resp.StatusCode != http.StatusUnauthorized && w.guard.home(req.URL) {
		e.budget.read(resp)
	}
	if f := judgeStatus(resp, w.now()); f != nil {
		discard(resp)
		return nil, f
	}
	return resp, nil
}

func outcomeOf(err error) string {
	var f *failure
	switch {
	case errors.Is(err, context.Canceled) && !errors.As(err, &f):
		return "canceled"
	case errors.As(err, &f) && f.cause == cache.CauseTimeout:
		return "timeout"
	}
	return "failed"
}
