package replicas

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// history is what clients did with one thing that has one value at a time. No value is written twice.
type history struct {
	mu      sync.Mutex
	started time.Time
	all     []operation
}

// operation is a read that gave the value, or its write, and took place at some time between begin and end.
type operation struct {
	value      string
	write      bool
	begin, end time.Duration
}

func (h *history) did(value string, write bool, began time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, operation{value, write, began.Sub(h.started), time.Since(h.started)})
}

// zone is what the operations on one value say of the time in which it was the value: from the first that was over to the last
// that began, or, where these come in the other order, at one moment at least between the two.
type zone struct {
	value               string
	written             time.Duration // the begin of its write
	firstEnd, lastBegin time.Duration
}

func (z zone) lasts() bool { return z.firstEnd < z.lastBegin }

// order fails unless all operations can be put into an order in which each read gives what was written last before, and none
// comes before another that was over when it began: no write is lost, and nobody sees an older value after a newer one. With
// every value written once, the zones tell (Gibbons and Korach, Testing shared memories, 1997).
func (h *history) order() error {
	zones := map[string]*zone{}
	for _, o := range h.all {
		z := zones[o.value]
		if z == nil {
			z = &zone{o.value, math.MaxInt64, math.MaxInt64, math.MinInt64}
			zones[o.value] = z
		}
		z.firstEnd, z.lastBegin = min(z.firstEnd, o.end), max(z.lastBegin, o.begin)
		if o.write {
			z.written = o.begin
		}
	}
	var lasting []zone
	for _, z := range zones {
		if z.firstEnd < z.written {
			return fmt.Errorf("%s was read before anybody wrote it", z.value)
		}
		if z.lasts() {
			lasting = append(lasting, *z)
		}
	}
	slices.SortFunc(lasting, func(a, b zone) int { return int(a.firstEnd - b.firstEnd) })
	for i := range lasting[:max(len(lasting)-1, 0)] {
		if lasting[i+1].firstEnd < lasting[i].lastBegin {
			return fmt.Errorf("%s came back after %s, or is still there", lasting[i].value, lasting[i+1].value)
		}
	}
	for _, z := range zones {
		for _, l := range lasting {
			if !z.lasts() && l.firstEnd < z.lastBegin && z.firstEnd < l.lastBegin {
				return fmt.Errorf("%s was never there: before and after it was %s", z.value, l.value)
			}
		}
	}
	return nil
}

func TestHistoriesWithoutAnOrderAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		all []operation
		ok  bool
	}{
		"one after the other":                            {[]operation{{"a", true, 0, 1}, {"a", false, 2, 3}, {"b", true, 4, 5}, {"b", false, 6, 7}}, true},
		"a read during a write sees it":                  {[]operation{{"a", true, 0, 1}, {"b", true, 2, 9}, {"b", false, 3, 4}}, true},
		"a read during a write does not":                 {[]operation{{"a", true, 0, 1}, {"b", true, 2, 9}, {"a", false, 3, 4}}, true},
		"writes at once, the later one to end is over":   {[]operation{{"a", true, 0, 9}, {"b", true, 1, 8}, {"b", false, 10, 11}}, true},
		"writes at once, the earlier one to end is over": {[]operation{{"a", true, 0, 9}, {"b", true, 1, 8}, {"a", false, 10, 11}}, true},
		"nobody wrote what is read":                      {[]operation{{"a", true, 0, 1}, {"b", false, 2, 3}}, false},
		"read before it is written":                      {[]operation{{"a", true, 4, 5}, {"a", false, 2, 3}}, false},
		"a lost write":                                   {[]operation{{"a", true, 0, 1}, {"b", true, 2, 3}, {"a", false, 4, 5}}, false},
		"a lost write that nobody saw, among others":     {[]operation{{"a", true, 0, 1}, {"b", true, 2, 3}, {"c", true, 1, 9}, {"a", false, 4, 5}}, false},
		"a reader goes back":                             {[]operation{{"a", true, 0, 9}, {"b", true, 0, 9}, {"a", false, 1, 2}, {"b", false, 3, 4}, {"a", false, 5, 6}}, false},
		"two readers disagree":                           {[]operation{{"a", true, 0, 1}, {"b", true, 2, 20}, {"b", false, 3, 4}, {"a", false, 5, 6}}, false},
		"two readers disagree while they read at once":   {[]operation{{"a", true, 0, 1}, {"b", true, 2, 20}, {"b", false, 3, 6}, {"a", false, 5, 8}}, true},
		"a write comes back after it was over":           {[]operation{{"a", true, 0, 1}, {"b", true, 2, 3}, {"b", false, 4, 5}, {"a", false, 6, 7}}, false},
	} {
		if err := (&history{all: c.all}).order(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
