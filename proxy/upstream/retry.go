package upstream

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// The waits between attempts: 50 ms, 100 ms ... 2 s, each shortened by up to a half at random. Within ten seconds that is about ten
// attempts, so that an upstream of which every fifth answer fails is never noticed.
const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// retrier asks again while that may help and the call's patience lasts. It works on single exchanges (a token, one hop of a redirect),
// so what has been reached is never repeated. Unlike most RoundTrippers it turns failing statuses into errors: nobody above
// wants such an answer.
type retrier struct {
	next    http.RoundTripper
	now     func() time.Time
	random  func() float64 // in [0,1)
	retried func(Kind)
}

func (t *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	var last *failure // the last that upstream itself had a part in, if any
	for n := 0; ; n++ {
		resp, err := t.next.RoundTrip(req)
		var f *failure
		if !errors.As(err, &f) {
			return resp, err
		}
		if last == nil || f.cause != cache.CauseOpen {
			last = f
		}
		wait, ok := t.wait(ctx, n, f)
		if !ok {
			return nil, last
		}
		if !sleep(ctx, wait) {
			return nil, interrupted(ctx, last)
		}
		if req, err = rewind(req); err != nil {
			return nil, err
		}
		e := exchangeOf(ctx)
		e.late = true
		t.retried(e.kind)
	}
}

// wait says how long to wait after the nth failure, and whether there is time for that at all. Whoever finds the breaker open
// fails at once; who was under way when it opened waits for its next probe.
func (t *retrier) wait(ctx context.Context, n int, f *failure) (time.Duration, bool) {
	if !f.again || n == 0 && f.cause == cache.CauseOpen {
		return 0, false
	}
	backoff := min(firstBackoff<<min(n, 10), maxBackoff)
	backoff -= time.Duration(t.random() * float64(backoff) / 2)
	wait := max(backoff, f.retryAfter)
	end := deadlineOf(ctx)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	return wait, t.now().Add(wait).Before(end)
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// interrupted gives the reason why a wait was cut short: the caller's going away, or else the failure that led to the wait.
func interrupted(ctx context.Context, f *failure) error {
	if ctx.Err() == context.Canceled && context.Cause(ctx) != errPatience {
		return ctx.Err()
	}
	return f
}

// rewind readies a request with a body (an OAuth2 token request) to be sent again.
func rewind(req *http.Request) (*http.Request, error) {
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	again.Body = body
	return again, nil
}
