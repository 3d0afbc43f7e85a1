package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// call is one operation as the cache sees it, from taking a slot to the end of its body. It holds a slot and a context of its own;
// whoever began it must end it.
type call struct {
	kind     Kind
	parent   context.Context
	deadline time.Time // by the registry's clock; no retry begins after it
	patience *time.Timer
	cancel   context.CancelCauseFunc
	release  func()
	once     sync.Once
}

type callKey struct{}

// begin waits for a slot (and, for a blob's body, for one of those that bodies may have) and starts the clock of the call's patience.
func (r *Registry) begin(ctx context.Context, kind Kind, lanes ...chan struct{}) (context.Context, *call, error) {
	release, err := take(ctx, append(lanes, r.slots))
	if err != nil {
		return nil, nil, judgeError(ctx, err)
	}
	c := &call{kind: kind, parent: ctx, deadline: r.now().Add(r.patience), release: release}
	if cache.TriesOnce(ctx) {
		c.deadline = r.now()
	}
	ctx, c.cancel = context.WithCancelCause(context.WithValue(ctx, callKey{}, c))
	c.patience = time.AfterFunc(r.patience, func() { c.cancel(errPatience) })
	return ctx, c, nil
}

// take takes one place in each lane, in order, or none.
func take(ctx context.Context, lanes []chan struct{}) (release func(), err error) {
	var taken []chan struct{}
	release = func() {
		for _, lane := range taken {
			<-lane
		}
	}
	for _, lane := range lanes {
		select {
		case lane <- struct{}{}:
			taken = append(taken, lane)
		case <-ctx.Done():
			release()
			return nil, ctx.Err()
		}
	}
	return release, nil
}

// settle says that the headers are in: from here on the body's own guard decides.
func (c *call) settle() { c.patience.Stop() }

// end gives the slot back and ends everything that runs for the call. It may be called again.
func (c *call) end() {
	c.once.Do(func() {
		c.patience.Stop()
		c.cancel(context.Canceled)
		c.release()
	})
}

// deadlineOf is the end of patience of the call that ctx belongs to.
func deadlineOf(ctx context.Context) time.Time { return ctx.Value(callKey{}).(*call).deadline }

// exchange is one request on its way through the transport's layers: a registry request or, derived from it, its token request.
type exchange struct {
	kind   Kind
	budget *budget // of the account that asks
	own    bool    // sent to the registry itself or to its token server, not to a host that it redirected to; never of a search
	order  uint64  // see tokens
	late   bool    // it was sent more than once, so what it carries (a token, a signed address) may have expired on the way
	realm  *realm  // set by the gate when a challenge comes, read by the gate when the token request that follows comes
}

type exchangeKey struct{}

func withExchange(ctx context.Context, e *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, e)
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }
