package upstream

import (
	"net/http"
	"sync"
	"time"
)

// budget is what an upstream said last of one account's rate limit. A reading counts until its window has passed; a 429 counts as
// nothing left for as long as it says, or a minute.
type budget struct {
	account string
	floor   int64
	now     func() time.Time
	update  func(limit, remaining int64)

	mu        sync.Mutex
	limit     int64
	remaining int64
	until     time.Time // the reading counts till then
	limited   time.Time // a 429 counts till then
}

const unsaidWindow = time.Minute

func (b *budget) read(resp *http.Response) {
	b.readRemaining(resp.Header)
	if resp.StatusCode != http.StatusTooManyRequests {
		return
	}
	pause, ok := parseRetryAfter(resp.Header.Get("Retry-After"), b.now())
	if !ok {
		pause = unsaidWindow
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limited = b.now().Add(pause)
}

func (b *budget) readRemaining(h http.Header) {
	remaining, window, ok := parseRate(h.Get("Ratelimit-Remaining"))
	if !ok {
		return
	}
	limit, limitWindow, _ := parseRate(h.Get("Ratelimit-Limit"))
	window = max(window, limitWindow)
	if window == 0 {
		window = unsaidWindow
	}
	b.mu.Lock()
	b.limit, b.remaining, b.until = limit, remaining, b.now().Add(window)
	b.mu.Unlock()
	b.update(limit, remaining)
}

// spare reports whether there is enough left for requests that nobody waits for.
func (b *budget) spare() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if now.Before(b.limited) {
		return false
	}
	return !now.Before(b.until) || b.remaining > 0 && b.remaining >= b.floor
}

// said gives the last reading, while it counts.
func (b *budget) said() (l Limit, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Limit{Account: b.account, Limit: b.limit, Remaining: b.remaining}, b.now().Before(b.until)
}
