package fakehub

import (
	"fmt"
	"net/http"
)

const limitWindow = "w=21600"

// SetRemaining sets how many manifest GETs are left of RateLimit.
func (h *Hub) SetRemaining(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pulls = h.options.RateLimit - n
}

// withinLimit counts a manifest request (a GET counts, a HEAD does not), tells the client how much is left and refuses it
// at the limit.
func (h *Hub) withinLimit(x *exchange) bool {
	h.mu.Lock()
	limit := h.options.RateLimit
	full := h.pulls >= limit
	if x.kind == KindManifestGet && !full {
		h.pulls++
	}
	left := limit - h.pulls
	h.mu.Unlock()
	if limit == 0 {
		return true
	}
	x.w.Header().Set("Ratelimit-Limit", fmt.Sprintf("%d;%s", limit, limitWindow))
	x.w.Header().Set("Ratelimit-Remaining", fmt.Sprintf("%d;%s", max(left, 0), limitWindow))
	x.w.Header().Set("Docker-Ratelimit-Source", "127.0.0.1")
	if full && (x.kind == KindManifestGet || x.options.LimitHEAD) {
		x.fail(http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit.")
		return false
	}
	return true
}
