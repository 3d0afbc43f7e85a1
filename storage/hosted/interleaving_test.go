package hosted

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	interleavings = flag.Int64("interleavings", 600, "how many random schedules of pushers and collectors to run on each kind of store")
	switchesDeep  = flag.Int("switches", 0, "how many switches from one actor to another to try at every moment; 0: one, at every third")
	interleaving  = flag.Int64("interleaving", -1, "run only the random schedule of this seed")
)

// schedule runs the schedule of a seed.
func schedule(c *cast, seed int64) *world {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	kind := randomScene
	if seed%3 == 0 {
		kind = randomCast
	}
	w := kind(c, r)
	defer w.end()
	w.rest()
	if seed%16 == 0 {
		w.usableAgain()
	}
	return w
}

// TestInterleavings runs pushers, deleters, readers and collectors operation by operation, in orders that a seed decides.
// Time never protects anybody: the grace may be a nanosecond, clocks differ and jump, and every actor may stop anywhere,
// for a while or for ever.
func TestInterleavings(t *testing.T) {
	for name, bucket := range kinds {
		t.Run(name, func(t *testing.T) {
			c := newCast()
			c.bucket = bucket
			if *interleaving >= 0 {
				runSeed(t, c, *interleaving)
				return
			}
			const lanes = 8
			for lane := range int64(lanes) {
				t.Run(fmt.Sprint("lane ", lane), func(t *testing.T) {
					t.Parallel()
					for seed := lane; seed < *interleavings; seed += lanes {
						runSeed(t, c, seed)
					}
				})
			}
		})
	}
}

// kinds are those of stores: all that a machine can do, and what S3 can.
var kinds = map[string]bool{"machine": false, "bucket": true}

func runSeed(t *testing.T, c *cast, seed int64) {
	t.Helper()
	w := schedule(c, seed)
	switch {
	case w.failed != "":
		t.Fatalf("seed %d: %s\nIt runs again with -run %s -interleaving %d\n%s", seed, w.failed, strings.Join(strings.Split(t.Name(), "/")[:2], "/"), seed, w.story())
	case *interleaving >= 0:
		t.Log(w.story())
	}
}

// TestEverySwitch runs each scene with every actor stopped for ever after each of its writes, and with switches from one
// actor to another: one at every third moment, with -switches so many at every moment.
func TestEverySwitch(t *testing.T) {
	c := newCast()
	for n, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			t.Parallel()
			x := &exploration{t: t, cast: c, scene: n}
			for i := range scene.actors {
				first := map[int]int{0: i}
				x.time = (n + i) % len(times)
				for _, k := range append(x.run(first, -1, 0).wrote, 0) {
					x.run(first, i, k)
					x.back = true
					x.run(first, i, k)
					x.back = false
				}
			}
			for i := range scene.actors {
				x.explore(map[int]int{0: i}, 1, max(*switchesDeep, 1))
			}
			t.Log(x.ran, "schedules")
		})
	}
}

// exploration is of all schedules of a scene that have few switches.
type exploration struct {
	t       *testing.T
	cast    *cast
	scene   int
	time    int
	back    bool // the store's clock goes back at the last operation of the actor that stops, once
	ran     int
	choices []choice // of the schedule that ran last
}

// run runs the schedule that switches at some steps to the actors named, where one of them stops for ever after so many
// operations; -1: none does. It gives that actor, or the one that begins.
func (x *exploration) run(at map[int]int, stops, after int) *actor {
	x.t.Helper()
	w := sceneWorld(x.cast, x.scene, x.time, x.ran%4 > 0)
	defer w.end()
	x.ran++
	first := len(scenes[x.scene].before)
	stopped := w.actors[first+at[0]]
	if stops >= 0 {
		stopped = w.actors[first+stops]
		stopped.crash = after
	}
	if x.back {
		w.pass = func() {
			if w.move(1); x.back && stopped.ops == after {
				x.back = false // it has been
				w.move(-time.Hour)
			}
		}
	}
	x.choices = x.choices[:0]
	w.run(switches(at, &x.choices))
	w.rest()
	if w.failed != "" {
		x.t.Fatalf("schedule: switches %v, actor %d stops after %d: %s\n%s", at, stops, after, w.failed, w.story())
	}
	return stopped
}

// explore runs the schedule with the switches named, and those with up to so many more after from.
func (x *exploration) explore(at map[int]int, from, more int) {
	turn := x.ran % len(times)
	for x.time = range times {
		if *switchesDeep > 1 || x.time == turn {
			x.run(at, -1, 0)
		}
	}
	if more == 0 {
		return
	}
	choices := slices.Clone(x.choices)
	stride := 1
	if *switchesDeep == 0 {
		stride = 3
	}
	for step := from; step < len(choices); step += stride {
		for i := range choices[step].ready {
			if i != choices[step].taken {
				at[step] = i
				x.explore(at, step+1, more-1)
				delete(at, step)
			}
		}
	}
}
