package main

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage"
)

func TestRoomForPushes(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		free, cached int64 // before; what the cache gives up at most
		bytes        int64
		refused      bool
	}{
		"there is enough":                          {100 * mib, 0, 50 * mib, false},
		"the cache gives up what is needed":        {20 * mib, 80 * mib, 50 * mib, false},
		"the cache has too little":                 {20 * mib, 10 * mib, 50 * mib, true},
		"just enough beside what is kept free":     {66 * mib, 0, 50 * mib, false},
		"a byte too few beside what is kept free":  {66*mib - 1, 0, 50 * mib, true},
		"nothing to write, but nothing to spare":   {16*mib - 1, 0, 0, true},
		"more than there can be":                   {100 * mib, 0, math.MaxInt64, true},
		"a chunk whose size nobody knows, in time": {16 * mib, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			free := c.free
			asked := int64(-1)
			r := room{
				giveUp: func(bytes int64) bool { asked = bytes; free += c.cached; return c.cached >= bytes },
				free:   func() (int64, error) { return free, nil },
			}
			err := r.forPush(t.Context(), c.bytes)
			if errors.Is(err, storage.ErrNoSpace) != c.refused || err != nil && !c.refused {
				t.Errorf("got %v, want it refused: %v", err, c.refused)
			}
			if want := min(c.bytes, math.MaxInt64-keptFree) + keptFree; asked != want {
				t.Errorf("the cache was asked for %d bytes, want %d", asked, want)
			}
		})
	}
}

func TestWhatIsAnnouncedIsMeasuredAgainstEverything(t *testing.T) {
	const mib = 1 << 20
	r := room{giveUp: func(int64) bool { t.Error("the cache gives up blobs for an announcement"); return false },
		givable: func() int64 { return 50 * mib }, free: func() (int64, error) { return 66 * mib, nil }}
	for bytes, want := range map[int64]error{0: nil, 100 * mib: nil, 100*mib + 1: storage.ErrNoSpace, math.MaxInt64: storage.ErrNoSpace} {
		if err := r.fits(t.Context(), bytes); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", bytes, err, want)
		}
	}
}

func TestARefusalSaysHowMuchIsFree(t *testing.T) {
	r := room{giveUp: func(int64) bool { return false }, free: func() (int64, error) { return 20 << 20, nil }}
	if err := r.forPush(t.Context(), 1<<30); err == nil || !strings.Contains(err.Error(), "1.0 GiB") || !strings.Contains(err.Error(), "20 MiB") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("no such file system")
	r.free = func() (int64, error) { return 0, broken }
	if err := r.forPush(t.Context(), 1); !errors.Is(err, broken) || errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("got %v, want the failure itself", err)
	}
}
