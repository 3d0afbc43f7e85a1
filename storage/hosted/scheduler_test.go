package hosted

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// What a bucket is like in a schedule, whose operations take a nanosecond.
const (
	second       = 50
	pageOfBucket = 2
	lateness     = 70 // steps that a write may be late, at most
)

// world is a store in memory and the actors that work on it, one operation of one actor at a time. Who goes on is decided
// from outside, so that a schedule can be run again.
type world struct {
	cast   *cast
	clock  *clock // the store's
	latest time.Time
	frozen bool // the actors' clocks stand still
	grace  time.Duration
	young  time.Duration // what collectors of scenes leave alone
	store  storage.Store
	steady *steady   // the store, too
	g      *Registry // that no actor's operations wait in front of
	pass   func()    // lets time pass, before each operation

	fate func() storagetest.Fate // of the next request of a write, where the store is a bucket
	late []flying

	actors []*actor
	step   int
	trace  []traced
	events []*event
	writes int      // after which the promises were checked last; negative: they have changed
	shared []string // uploads that any actor may go on with
	failed string   // the first violation; nothing runs after it
}

// flying is a write that lands at a step, although whoever sent it has sent it again since.
type flying struct {
	step int
	by   *actor
	op   storagetest.Op
	key  string
	land func()
}

// traced is one operation, or something worth telling.
type traced struct {
	actor *actor
	op    storagetest.Op
	key   string
	note  string
}

func newWorld(c *cast, grace time.Duration, conditional bool) *world {
	w := &world{cast: c, clock: newClock(), grace: grace, pass: func() {}, fate: func() storagetest.Fate { return storagetest.Answered }}
	w.latest = w.clock.Now()
	w.steady = &steady{Store: mem.New(w.clock.Now), born: map[string]int{}}
	w.store = w.steady
	switch {
	case c.bucket:
		w.store = storagetest.Bucket(w.store, second, pageOfBucket)
	case !conditional:
		w.store = struct{ storage.Store }{w.store}
	}
	w.g = w.registry(w.store, 0)
	return w
}

func (w *world) registry(s storage.Store, skew time.Duration) *Registry {
	g, err := New(Options{Store: s, Grace: w.grace, Now: func() time.Time {
		if w.frozen {
			return newClock().Now()
		}
		return w.clock.Now().Add(skew)
	}})
	if err != nil {
		panic(err)
	}
	return g
}

func (w *world) move(d time.Duration) {
	w.clock.pass(d)
	if now := w.clock.Now(); now.After(w.latest) {
		w.latest = now
	}
}

func (w *world) fail(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf(format, args...)
	}
}

// actor is a process that does what its script says. It stops before each operation until it is told to go on.
type actor struct {
	w       *world
	name    string
	g       *Registry
	repo    func(name string) Repo
	crash   int // it stops for ever before this operation of its; negative: it does not
	ops     int
	wrote   []int // after which of its operations the store was another
	done    bool
	crashed bool
	resume  func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
}

// stopped is what the goroutine of an actor panics with that is never told to go on.
type stopped struct{}

func (w *world) start(name string, skew time.Duration, script func(*actor)) *actor {
	a := &actor{w: w, name: name, crash: -1}
	a.g = w.registry(w.asked(a), skew)
	a.repo = a.g.Repo
	// The goroutine ends when the script does, or at the call of stop that ends every run.
	a.resume, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if p := recover(); p != nil && p != any(stopped{}) {
				panic(p)
			}
		}()
		a.yield = yield
		a.pause()
		script(a)
		a.pause()
		a.done = true
	})
	a.resume()
	w.actors = append(w.actors, a)
	return a
}

// asked is the store as an actor asks it.
func (w *world) asked(a *actor) storage.Store {
	if !w.cast.bucket {
		return storagetest.Around(w.store, a.hook)
	}
	return storagetest.Client(w.store, a.hook, func() storagetest.Fate { return w.fate() }, func(op storagetest.Op, key string, land func()) {
		w.late = append(w.late, flying{w.step + 1 + w.step%lateness, a, op, key, land})
	})
}

// landed lets those writes land whose step has come.
func (w *world) landed(step int) {
	w.late = slices.DeleteFunc(w.late, func(f flying) bool {
		if f.step > step {
			return false
		}
		f.land()
		w.trace = append(w.trace, traced{f.by, f.op, f.key, "lands late"})
		return true
	})
}

func (a *actor) pause() {
	if !a.yield(struct{}{}) {
		panic(stopped{})
	}
}

func (a *actor) hook(ctx context.Context, op storagetest.Op, key string, do func() error) error {
	a.pause()
	a.w.pass()
	before := a.w.steady.writes
	err := do()
	if a.w.steady.writes > before {
		a.wrote = append(a.wrote, a.ops)
	}
	t := traced{actor: a, op: op, key: key}
	if op == storagetest.PutIf && err == nil {
		record, _, _ := a.w.store.Get(ctx, key)
		t.note = stateOf(record)
	} else if err != nil {
		t.note = "failed"
	}
	a.w.trace = append(a.w.trace, t)
	return err
}

func stateOf(record []byte) string {
	if len(record) == tombstoneSize {
		return "tombstone"
	}
	var r struct {
		State  state
		Over   bool
		Commit *commitment
	}
	head, _, _ := bytes.Cut(record, []byte("\n"))
	_ = json.Unmarshal(head, &r)
	switch {
	case r.Over:
		return "over"
	case r.Commit != nil:
		return "commit"
	}
	return string(r.State)
}

// body is what an actor sends: it may stop before each piece.
type body struct {
	a *actor
	io.Reader
}

func (b body) Read(p []byte) (int, error) {
	b.a.pause()
	return b.Reader.Read(p)
}

// goOn lets an actor do one operation.
func (w *world) goOn(a *actor) {
	w.step++
	w.landed(w.step)
	if a.ops == a.crash {
		a.crashed = true
		w.trace = append(w.trace, traced{actor: a, note: "stops for ever"})
		return
	}
	a.ops++
	a.resume()
}

// finish lets an actor do all that it has to do.
func (w *world) finish(a *actor) {
	for !a.done && !a.crashed && w.failed == "" {
		w.goOn(a)
	}
}

// run lets the actors go on in the order that pick decides, until all are done.
func (w *world) run(pick func(ready []*actor) *actor) {
	var last *actor
	for w.failed == "" {
		ready := slices.DeleteFunc(slices.Clone(w.actors), func(a *actor) bool { return a.done || a.crashed })
		if len(ready) == 0 {
			return
		}
		a := pick(ready)
		if a != last {
			w.promises()
		}
		w.goOn(a)
		last = a
	}
}

// end stops every actor where it is.
func (w *world) end() {
	for _, a := range w.actors {
		a.crashed = a.crashed || !a.done
		a.stop()
	}
}

// story is what happened, for whoever has to understand it.
func (w *world) story() string {
	var s strings.Builder
	var last *actor
	reads := 0
	for _, t := range w.trace {
		if t.actor != last {
			if reads > 0 {
				fmt.Fprintf(&s, " (%d reads)", reads)
			}
			fmt.Fprintf(&s, "\n%s:", t.actor.name)
			last, reads = t.actor, 0
		}
		if t.note == "" && t.op != storagetest.Put && t.op != storagetest.Delete && t.op != storagetest.DeleteIf && t.op != storagetest.PutIf {
			reads++
			continue
		}
		if reads > 0 {
			fmt.Fprintf(&s, " (%d reads)", reads)
			reads = 0
		}
		fmt.Fprintf(&s, " [%s %s %s]", t.op, shortKey(t.key), t.note)
	}
	return s.String()
}

func shortKey(key string) string {
	elements := strings.Split(key, "/")
	for i, e := range elements {
		if alg, hex, found := strings.Cut(e, "-"); found && (alg == "sha256" || alg == "sha512") {
			e = hex[:4]
		}
		elements[i] = e[:min(len(e), 12)]
	}
	return strings.Join(elements, "/")
}
