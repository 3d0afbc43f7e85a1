package cache

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// TTLs says how long a tag's meaning is believed without asking upstream again.
//
// Of several patterns that match a tag one decides: the tag's own name before every pattern, then the pattern with the
// most literal characters before its first wildcard, then the longer one, then the first in byte order. The order in
// which they were configured does not count.
type TTLs struct {
	usual time.Duration
	rules []ttlRule // most specific first
}

type ttlRule struct {
	pattern string
	ttl     time.Duration
}

// NewTTLs takes the usual time and, by pattern (the syntax of path.Match: v*, 1.?, *-rc[0-9]), exceptions from it.
// A time of 0 asks every time.
func NewTTLs(usual time.Duration, exceptions map[string]time.Duration) (TTLs, error) {
	if usual < 0 {
		return TTLs{}, fmt.Errorf("tag lifetime %v is negative", usual)
	}
	t := TTLs{usual: usual}
	for pattern, ttl := range exceptions {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return TTLs{}, fmt.Errorf("tag pattern %q is malformed", pattern)
		}
		if ttl < 0 {
			return TTLs{}, fmt.Errorf("tag pattern %q: lifetime %v is negative", pattern, ttl)
		}
		t.rules = append(t.rules, ttlRule{pattern, ttl})
	}
	slices.SortFunc(t.rules, func(a, b ttlRule) int {
		return cmp.Or(
			cmp.Compare(specificity(b.pattern), specificity(a.pattern)),
			cmp.Compare(len(b.pattern), len(a.pattern)),
			strings.Compare(a.pattern, b.pattern),
		)
	})
	return t, nil
}

// For gives the lifetime of a tag.
func (t TTLs) For(tag string) time.Duration {
	for _, r := range t.rules {
		if ok, _ := path.Match(r.pattern, tag); ok {
			return r.ttl
		}
	}
	return t.usual
}

// specificity is the length of a pattern's literal beginning; a pattern without wildcards is beyond all others.
func specificity(pattern string) int {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return i
	}
	return 1 << 30
}
