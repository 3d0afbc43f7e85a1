package upstream

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Every header of an answer that is read for more than its bare value is read here, by functions that see nothing else.
// Their input comes from other people's servers: each has a fuzz target.

// maxRetryAfter bounds what an upstream can make us believe about its own return.
const maxRetryAfter = 24 * time.Hour

// parseRetryAfter reads seconds or an HTTP date (RFC 9110, 10.2.3). Anything else is as good as absent.
func parseRetryAfter(v string, now time.Time) (time.Duration, bool) {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0, false
	}
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		if !(n >= 0) {
			return 0, false
		}
		return time.Duration(min(n, maxRetryAfter.Seconds()) * float64(time.Second)), true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

// parseRate reads one of Docker Hub's ratelimit headers, "100;w=21600": a count, and the window it belongs to (0 if not said).
func parseRate(v string) (n int64, window time.Duration, ok bool) {
	count, rest, _ := strings.Cut(v, ";")
	count, _, _ = strings.Cut(count, ",")
	n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
	if err != nil || n < 0 {
		return 0, 0, false
	}
	for param := range strings.SplitSeq(rest, ";") {
		seconds, found := strings.CutPrefix(strings.TrimSpace(param), "w=")
		if w, err := strconv.ParseInt(seconds, 10, 32); found && err == nil && w > 0 {
			window = time.Duration(w) * time.Second
		}
	}
	return n, window, true
}

// contentRange is what a 206 or a 416 says of its place in the whole. A 416 has only the size; size is -1 where unknown.
type contentRange struct {
	first, last, size int64
	satisfied         bool
}

// parseContentRange reads "bytes 0-9/100", "bytes 0-9/*" and "bytes */100" (RFC 9110, 14.4).
func parseContentRange(v string) (contentRange, bool) {
	unit, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
	span, total, found := strings.Cut(strings.TrimSpace(rest), "/")
	if !found || !strings.EqualFold(unit, "bytes") {
		return contentRange{}, false
	}
	r := contentRange{size: -1}
	ok := true
	if total != "*" {
		r.size, ok = parseLength(total)
	}
	if span == "*" {
		return r, ok && r.size >= 0
	}
	first, last, found := strings.Cut(span, "-")
	if !found || !ok {
		return contentRange{}, false
	}
	var a, b bool
	r.first, a = parseLength(first)
	r.last, b = parseLength(last)
	r.satisfied = true
	return r, a && b && r.first <= r.last && (r.size < 0 || r.last < r.size)
}

// parseLength reads a number of bytes: digits, and nothing but digits. The largest int64 is left out, so that one more never overflows.
func parseLength(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n < 1<<63-1
}

// parseNext gives the query of a Link header's rel="next". Only the query: registries behind proxies put hosts and schemes
// of their own there, and a page of a list is never worth following to another place.
func parseNext(links []string) (url.Values, bool) {
	for _, header := range links {
		for {
			_, rest, found := strings.Cut(header, "<")
			target, after, closed := strings.Cut(rest, ">")
			if !found || !closed {
				break
			}
			params, next, _ := strings.Cut(after, "<")
			if relNext(params) {
				if u, err := url.Parse(target); err == nil {
					return u.Query(), true
				}
			}
			header = "<" + next
		}
	}
	return nil, false
}

func relNext(params string) bool {
	for param := range strings.FieldsFuncSeq(params, func(c rune) bool { return c == ';' || c == ',' }) {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "rel") && strings.EqualFold(strings.Trim(value, "\" \t"), "next") {
			return true
		}
	}
	return false
}
