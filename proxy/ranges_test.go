package proxy

import (
	"math"
	"testing"

	"github.com/entrepot/entrepot/cache"
)

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		header string
		want   cache.Range
		ok     bool
	}{
		{"bytes=0-", cache.Range{Start: 0, End: -1}, true},
		{"bytes=0-0", cache.Range{Start: 0, End: 1}, true},
		{"bytes=500-1499", cache.Range{Start: 500, End: 1500}, true},
		{"bytes=500-", cache.Range{Start: 500, End: -1}, true},
		{"bytes=-500", cache.Range{Start: -500, End: -1}, true},
		{"Bytes=1-2", cache.Range{Start: 1, End: 3}, true},
		{"bytes= 1-2 ", cache.Range{Start: 1, End: 3}, true},
		{"bytes=500-0", cache.Range{Start: 500, End: 1}, true},
		{"bytes=-0", cache.Range{}, true},
		{"bytes=0-99999999999999999999", cache.Range{Start: 0, End: math.MaxInt64}, true},
		{"bytes=99999999999999999999-", cache.Range{Start: math.MaxInt64, End: -1}, true},
		{"bytes=-99999999999999999999", cache.Range{Start: -math.MaxInt64, End: -1}, true},
		{"", cache.Range{}, false},
		{"bytes", cache.Range{}, false},
		{"bytes=", cache.Range{}, false},
		{"bytes=-", cache.Range{}, false},
		{"bytes=5", cache.Range{}, false},
		{"bytes=a-b", cache.Range{}, false},
		{"bytes=+1-2", cache.Range{}, false},
		{"bytes=1--2", cache.Range{}, false},
		{"bytes=1-2,4-5", cache.Range{}, false},
		{"bytes=1 - 2", cache.Range{}, false},
		{"items=0-5", cache.Range{}, false},
	} {
		got, ok := parseRange(c.header)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: got %+v %v, want %+v %v", c.header, got, ok, c.want, c.ok)
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-5", "bytes=3-1", "bytes=9223372036854775807-9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, ok := parseRange(header)
		if ok && r.Start < 0 && r.End >= 0 {
			t.Errorf("%q: %+v is from the end and not to the end", header, r)
		}
		if r.Start == math.MinInt64 || r.End < -1 {
			t.Errorf("%q: %+v", header, r)
		}
	})
}

func TestParseContentRange(t *testing.T) {
	for header, want := range map[string][2]int64{
		"0-0": {0, 1}, "0-499": {0, 500}, "500-999": {500, 500}, "bytes 0-499/*": {0, 500}, "bytes 500-999/1000": {500, 500}, "bytes 0-499": {0, 500},
		"0-9223372036854775806": {0, 9223372036854775807},
	} {
		start, size, ok := parseContentRange(header)
		if !ok || start != want[0] || size != want[1] {
			t.Errorf("%q: got %d, %d, %v", header, start, size, ok)
		}
	}
	for _, header := range []string{"", "-", "0-", "-5", "5-4", "x-5", "5-x", "+1-5", "1 - 5", "0-9223372036854775807", "bytes 0-4/x", "bytes 0-4/", "bytes */5", "bytes=0-4", "items 0-4"} {
		if start, size, ok := parseContentRange(header); ok {
			t.Errorf("%q: got %d, %d", header, start, size)
		}
	}
}
