package proxy

import (
	"math"
	"strings"

	"github.com/entrepot/entrepot/cache"
)

// parseRange reads a Range header (RFC 9110, 14.2). Malformed ones, other units and several ranges at once are not ok:
// such a header is ignored. One that ends before it starts is asked for but cannot be satisfied, and positions that no
// int64 holds lie behind every blob: the cache refuses both once it knows the size.
func parseRange(header string) (r cache.Range, ok bool) {
	const unit = "bytes="
	if len(header) < len(unit) || !strings.EqualFold(header[:len(unit)], unit) {
		return cache.Range{}, false
	}
	first, last, ok := strings.Cut(strings.Trim(header[len(unit):], " \t"), "-")
	if !ok {
		return cache.Range{}, false
	}
	start, startOK := position(first)
	end, endOK := position(last)
	switch {
	case startOK && endOK:
		return cache.Range{Start: start, End: min(end, math.MaxInt64-1) + 1}, true
	case startOK && last == "":
		return cache.Range{Start: start, End: -1}, true
	case first == "" && endOK && end == 0: // the last zero bytes
		return cache.Range{}, true
	case first == "" && endOK:
		return cache.Range{Start: -end, End: -1}, true
	}
	return cache.Range{}, false
}

// position reads decimal digits and nothing else, not even a sign.
func position(s string) (int64, bool) {
	var n int64
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, s != ""
}

// parseContentRange reads the Content-Range of an upload: first-last, both included. Some clients write it as HTTP does,
// "bytes first-last/size".
func parseContentRange(header string) (start, size int64, ok bool) {
	header, _ = strings.CutPrefix(header, "bytes ")
	header, whole, sized := strings.Cut(header, "/")
	if sized && whole != "*" {
		if _, ok := position(whole); !ok {
			return 0, 0, false
		}
	}
	first, last, _ := strings.Cut(header, "-")
	start, startOK := position(first)
	end, endOK := position(last)
	if !startOK || !endOK || end < start || end == math.MaxInt64 {
		return 0, 0, false
	}
	return start, end - start + 1, true
}
