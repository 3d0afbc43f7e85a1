package cache

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestExtents(t *testing.T) {
	f := func(name string, add []span, want extents) {
		t.Helper()
		var e extents
		for _, s := range add {
			e.add(s.from, s.to)
		}
		if !slices.Equal(e, want) {
			t.Errorf("%s: got %v, want %v", name, e, want)
		}
	}
	f("nothing", nil, nil)
	f("an empty span adds nothing", []span{{5, 5}}, nil)
	f("apart", []span{{10, 20}, {0, 5}}, extents{{0, 5}, {10, 20}})
	f("touching spans become one", []span{{0, 5}, {5, 9}}, extents{{0, 9}})
	f("touching from below", []span{{5, 9}, {0, 5}}, extents{{0, 9}})
	f("one that covers all", []span{{2, 3}, {5, 6}, {0, 10}}, extents{{0, 10}})
	f("one that bridges two", []span{{0, 3}, {6, 9}, {2, 7}}, extents{{0, 9}})
	f("one inside another", []span{{0, 9}, {2, 7}}, extents{{0, 9}})
}

func TestExtentsGapAndReach(t *testing.T) {
	e := extents{{0, 10}, {20, 30}}
	gap := func(from, to int64, want span, found bool) {
		t.Helper()
		got, ok := e.gap(from, to)
		if ok != found || found && got != want {
			t.Errorf("gap(%d, %d) = %v, %v; want %v, %v", from, to, got, ok, want, found)
		}
	}
	gap(0, 40, span{10, 20}, true)
	gap(12, 40, span{12, 20}, true)
	gap(12, 15, span{12, 15}, true)
	gap(20, 40, span{30, 40}, true)
	gap(20, 30, span{}, false)
	gap(0, 10, span{}, false)
	gap(35, 40, span{35, 40}, true)

	for off, want := range map[int64]int64{0: 10, 9: 10, 10: 10, 15: 15, 20: 30, 29: 30, 30: 30} {
		if got := e.reach(off); got != want {
			t.Errorf("reach(%d) = %d, want %d", off, got, want)
		}
	}
}

// The set must agree with the plainest one there is: a flag per byte.
func TestExtentsAgreeWithAFlagPerByte(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		const size = 64
		var e extents
		var flags [size]bool
		for range 12 {
			from := rng.Int64N(size)
			to := from + rng.Int64N(size-from+1)
			e.add(from, to)
			for i := from; i < to; i++ {
				flags[i] = true
			}
			if !e.valid(size) {
				t.Fatalf("not a valid set: %v", e)
			}
		}
		n := int64(0)
		for i, have := range flags {
			if have {
				n++
			}
			if got := e.reach(int64(i)) > int64(i); got != have {
				t.Fatalf("%v: byte %d: got %v, want %v", e, i, got, have)
			}
		}
		if e.bytes() != n {
			t.Fatalf("%v has %d bytes, want %d", e, e.bytes(), n)
		}
	}
}
