package upstream

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/sony/gobreaker/v2"
)

// When an upstream counts as down: so many failures one after the other, with no answer between. Ten failing answers in a row do not
// happen to an upstream of which every fifth answer fails; four attempts without any answer are a dead host.
const (
	maxFailures = 10
	maxSilent   = 4
	openFor     = 5 * time.Second // then one request may try
)

// breaker spares callers the time-outs of an upstream that is known to be down. It counts exchanges with the registry and its
// token server, not those with hosts that they redirect to.
type breaker struct {
	two    *gobreaker.TwoStepCircuitBreaker[struct{}]
	silent atomic.Int32 // failures without an answer since the last answer
	now    func() time.Time
	opened atomic.Int64 // when, in Unix nanoseconds
	pause  time.Duration
}

func newBreaker(host string, pause time.Duration, now func() time.Time, changed func(state string)) *breaker {
	b := &breaker{now: now, pause: pause}
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:    host,
		Timeout: pause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= maxFailures || b.silent.Load() >= maxSilent
		},
		IsSuccessful: func(err error) bool { return !countsAsDown(err) },
		IsExcluded:   func(err error) bool { return err != nil && saysNothing(err) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.opened.Store(now().UnixNano())
			}
			b.silent.Store(0)
			changed(to.String())
		},
	})
	return b
}

// allow admits one exchange, whose outcome done must be told.
func (b *breaker) allow() (done func(error), err error) {
	tell, err := b.two.Allow()
	if err != nil {
		left := b.pause - b.now().Sub(time.Unix(0, b.opened.Load()))
		return nil, &failure{
			cause: cache.CauseOpen, again: true, retryAfter: max(left, time.Second/10),
			err: errors.New("it has not been answering and is not asked for a while"),
		}
	}
	return func(err error) {
		var f *failure
		switch {
		case errors.As(err, &f) && f.silent:
			b.silent.Add(1)
		case err == nil || !saysNothing(err):
			b.silent.Store(0)
		}
		tell(err)
	}, nil
}

// saysNothing is true of an exchange that its own caller gave up.
func saysNothing(err error) bool {
	var f *failure
	return !errors.As(err, &f) || f.hasty
}

// countsAsDown leaves out 429: a registry that counts requests is alive.
func countsAsDown(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.cause != cache.CauseLimited
}
