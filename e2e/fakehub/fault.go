package fakehub

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Fault says which requests go wrong, how often, and how. Empty fields match everything.
type Fault struct {
	Kind        Kind
	Path        string        // a part of the path
	Digest      digest.Digest // of the blob or manifest that the path names
	Skip        int           // so many matching requests pass first
	Count       int           // so many go wrong, then no more; 0 for no end
	Probability float64       // of those, this part, by the Hub's seed; 0 for all
	Do          Action
}

// Action is what a fault does: it answers in the Hub's place, or changes the body that the Hub sends.
type Action struct {
	answer func(*exchange)
	alter  func(*body)
}

// Status answers with an error; retryAfter is the header's value, "" for none.
func Status(code int, retryAfter string) Action {
	return Action{answer: func(x *exchange) {
		if retryAfter != "" {
			x.w.Header().Set("Retry-After", retryAfter)
		}
		if code == http.StatusTooManyRequests {
			x.fail(code, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
			return
		}
		x.fail(code, "UNKNOWN", http.StatusText(code))
	}}
}

// Challenge is a 401 that names this token server.
func Challenge(realm string) Action {
	return Action{answer: func(x *exchange) {
		name, _, _ := route(x.r.URL.Path)
		x.challenge(realm, name, "")
	}}
}

// Redirect sends the client to this address.
func Redirect(address string) Action {
	return Action{answer: func(x *exchange) {
		x.w.Header().Set("Location", address)
		x.w.WriteHeader(http.StatusTemporaryRedirect)
	}}
}

// Page answers 200 with a page that is not what was asked, as captive portals do.
func Page(html string) Action {
	return Action{answer: func(x *exchange) {
		x.w.Header().Set("Content-Type", "text/html")
		x.w.Write([]byte(html))
	}}
}

// Drop closes the connection without an answer.
func Drop() Action { return Action{answer: func(*exchange) { panic(http.ErrAbortHandler) }} }

// Hang accepts the request and says nothing until the client leaves.
func Hang() Action { return Action{answer: func(x *exchange) { <-x.r.Context().Done(); x.abort() }} }

// Delay makes the answer late.
func Delay(d time.Duration) Action { return Action{answer: func(x *exchange) { x.sleep(d) }} }

// Cut announces the whole body and breaks the connection after n bytes of it.
func Cut(n int64) Action { return Action{alter: func(b *body) { b.stop = min(n, b.n) }} }

// HangAfter announces the whole body and falls silent after n bytes of it.
func HangAfter(n int64) Action {
	return Action{alter: func(b *body) { b.stop, b.hang = min(n, b.n), true }}
}

// Short announces and sends a body whose last n bytes are missing: the answer itself is in order.
func Short(n int64) Action { return Action{alter: func(b *body) { b.n = max(b.n-n, 0) }} }

// Garbage sends other bytes of the right length.
func Garbage() Action {
	return Action{alter: func(b *body) { b.content = Random(0xbad, b.content.Size()) }}
}

// Flip changes the blob's byte at off, wherever a range includes it.
func Flip(off int64) Action {
	return Action{alter: func(b *body) { b.content = flipped{b.content, off} }}
}

// Partial answers 206 with n bytes from off on (n < 0: to the end), whatever was asked.
func Partial(off, n int64) Action {
	return Action{alter: func(b *body) {
		if n < 0 {
			n = b.content.Size() - off
		}
		b.part(off, n)
	}}
}

// Whole answers 200 with the whole blob, whatever range was asked.
func Whole() Action {
	return Action{alter: func(b *body) { b.status, b.off, b.n = http.StatusOK, 0, b.content.Size() }}
}

type flipped struct {
	Content
	at int64
}

func (f flipped) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.Content.ReadAt(p, off)
	if f.at >= off && f.at < off+int64(n) {
		p[f.at-off] ^= 0xff
	}
	return n, err
}

// Injected is a fault at work. The Hub's lock guards it.
type Injected struct {
	hub     *Hub
	fault   Fault
	matched int
	hits    int
}

// Inject makes requests go wrong from now on. Where several faults match, the first injected decides.
func (h *Hub) Inject(f Fault) *Injected {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := &Injected{hub: h, fault: f}
	h.faults = append(h.faults, i)
	return i
}

// Heal ends all faults.
func (h *Hub) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = nil
}

// Hits is how many requests went wrong by this fault.
func (i *Injected) Hits() int {
	i.hub.mu.Lock()
	defer i.hub.mu.Unlock()
	return i.hits
}

// strikes counts a matching request and decides whether it goes wrong.
func (i *Injected) strikes(x *exchange) bool {
	f := i.fault
	if f.Kind != "" && f.Kind != x.kind || !strings.Contains(x.r.URL.Path, f.Path) || f.Digest != "" && f.Digest != x.digest {
		return false
	}
	i.matched++
	if i.matched <= f.Skip || f.Count > 0 && i.hits >= f.Count {
		return false
	}
	if f.Probability > 0 && i.hub.dice.Float64() >= f.Probability {
		return false
	}
	i.hits++
	return true
}

// faulty applies the first fault that strikes, and reports whether the request is answered by it.
func (x *exchange) faulty() bool {
	x.hub.mu.Lock()
	var struck *Injected
	for _, i := range x.hub.faults {
		if i.strikes(x) {
			struck = i
			break
		}
	}
	x.hub.mu.Unlock()
	if struck == nil {
		return false
	}
	x.alter = struck.fault.Do.alter
	if struck.fault.Do.answer == nil {
		return false
	}
	struck.fault.Do.answer(x)
	return x.w.status != 0
}

// RetryAt is the date form of Retry-After.
func RetryAt(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// RetryIn is the form in seconds.
func RetryIn(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
