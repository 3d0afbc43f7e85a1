package cache

import (
	"testing"
	"time"
)

func TestTTLs(t *testing.T) {
	ttls, err := NewTTLs(time.Minute, map[string]time.Duration{
		"latest": 1, "v*": 2, "v1.*": 3, "v1.0": 4, "*-rc[0-9]": 5, "*": 6, "v?": 7,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, tag string
		want      time.Duration
	}{
		{"a name beats every pattern", "v1.0", 4},
		{"an exact name", "latest", 1},
		{"the longer literal beginning wins", "v1.2", 3},
		{"a shorter one serves the rest", "v2.2", 2},
		{"equally specific: byte order", "v2", 2},
		{"equal beginnings: the longer pattern wins", "3-rc1", 5},
		{"the catch-all comes last", "3", 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ttls.For(c.tag); got != c.want {
				t.Errorf("%s: %v, want %v", c.tag, got, c.want)
			}
		})
	}
	usual, err := NewTTLs(time.Minute, map[string]time.Duration{"v*": 0})
	if err != nil {
		t.Fatal(err)
	}
	if got := usual.For("latest"); got != time.Minute {
		t.Errorf("without a match: %v", got)
	}
}

func TestTTLsRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		usual   time.Duration
		pattern string
		ttl     time.Duration
	}{
		{"an open bracket", 1, "v[1", 1},
		{"an empty pattern", 1, "", 1},
		{"a negative exception", 1, "v*", -1},
		{"a negative usual time", -1, "v*", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewTTLs(c.usual, map[string]time.Duration{c.pattern: c.ttl}); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func FuzzTTLs(f *testing.F) {
	f.Add("v*", "v1")
	f.Add("[a-", "a")
	f.Add(`\`, `\`)
	f.Fuzz(func(t *testing.T, pattern, tag string) {
		ttls, err := NewTTLs(time.Minute, map[string]time.Duration{pattern: time.Hour})
		if err != nil {
			return
		}
		if got := ttls.For(tag); got != time.Minute && got != time.Hour {
			t.Errorf("%q for %q: %v", pattern, tag, got)
		}
	})
}
