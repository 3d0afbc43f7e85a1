package hosted

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/entrepot/entrepot/storage/storagetest"
)

// parts are what an actor may do in a random schedule, by weight.
var parts = []struct {
	name   string
	weight int
	write  func(r *rand.Rand, c *cast, repo string) func(*actor)
}{
	{"pusher", 6, func(r *rand.Rand, c *cast, repo string) func(*actor) {
		m, tags, way := c.image(r), anyTags(r), r.IntN(4)
		return func(a *actor) {
			if a.pushWhole(way, repo, m, tags...) != nil {
				_ = a.pushWhole(way, repo, m, tags...)
			}
		}
	}},
	{"skipper", 3, func(r *rand.Rand, c *cast, repo string) func(*actor) {
		m, tags := c.image(r), anyTags(r)
		return func(a *actor) { a.skip(repo, m, tags...) }
	}},
	{"mounter", 2, func(r *rand.Rand, c *cast, repo string) func(*actor) {
		m, tags, from := c.image(r), anyTags(r), []string{"", "a", "b"}[r.IntN(3)]
		return func(a *actor) { a.mount(repo, from, m, tags...) }
	}},
	{"uploader", 3, func(r *rand.Rand, c *cast, repo string) func(*actor) {
		b, way := c.blob(r), r.IntN(4)
		return func(a *actor) { _ = a.pushBlob(repo, b, way) }
	}},
	{"sharer", 3, func(r *rand.Rand, c *cast, _ string) func(*actor) {
		what, retries := r.IntN(6), r.IntN(3)
		return func(a *actor) { a.share(c.blobs[0], what, retries) }
	}},
	{"deleter", 3, func(r *rand.Rand, c *cast, repo string) func(*actor) {
		m, b, tag, what := c.image(r), c.blob(r), []string{"t", "u"}[r.IntN(2)], r.IntN(3)
		return func(a *actor) {
			[]func(){func() { a.deleteBlob(repo, b) }, func() { a.deleteTag(repo, tag) }, func() { a.deleteManifest(repo, m) }}[what]()
		}
	}},
	{"collector", 7, func(r *rand.Rand, _ *cast, _ string) func(*actor) {
		runs, grace := 1+r.IntN(3), time.Duration(r.IntN(2)-1)
		return func(a *actor) { a.collect(runs, grace) }
	}},
	{"reader", 2, func(r *rand.Rand, c *cast, repo string) func(*actor) {
		b := c.blob(r)
		return func(a *actor) { a.read(repo, b) }
	}},
}

func (c *cast) image(r *rand.Rand) *testImage {
	return c.images[[]int{0, 0, 0, 1, 1, 2, 3, 4}[r.IntN(8)]]
}
func (c *cast) blob(r *rand.Rand) []byte { return c.blobs[[]int{0, 0, 0, 1, 2}[r.IntN(5)]] }
func anyTags(r *rand.Rand) []string {
	return [][]string{nil, {"t"}, {"t"}, {"u"}, {"t", "u"}}[r.IntN(5)]
}

func (w *world) anyActor(r *rand.Rand, n int) *actor {
	sum := 0
	for _, p := range parts {
		sum += p.weight
	}
	at := r.IntN(sum)
	for _, p := range parts {
		if at -= p.weight; at < 0 {
			skew := []time.Duration{0, 0, 3 * w.grace, -3 * w.grace}[r.IntN(4)]
			repo := []string{"a", "a", "a", "b"}[r.IntN(4)]
			return w.start(fmt.Sprint(p.name, n), skew, p.write(r, w.cast, repo))
		}
	}
	panic("weights")
}

// play is a script without parameters.
type play func(a *actor, c *cast)

// scenes are the meetings that matter, each with few actors, so that few switches between them reach every interleaving
// that matters. before is played to its end, one after the other.
var scenes = []struct {
	name   string
	before []play
	actors []play
}{
	{"HEAD and skip", []play{blobX}, []play{skipX, collectTwice}},
	{"HEAD and skip of a condemned blob", []play{blobX, collectOnce}, []play{skipX, collectTwice}},
	{"HEAD and skip, two collectors", []play{blobX}, []play{skipX, collectTwice, collectTwice}},
	{"push of a condemned blob", []play{blobX, collectOnce}, []play{wholeX, collectTwice}},
	{"push of an ended blob", []play{blobX, collectOnce, collectOnce}, []play{wholeX, collectTwice}},
	{"first push", nil, []play{wholeX, collectTwice}},
	{"two first pushes", nil, []play{wholeX, wholeX, collectTwice}},
	{"push in chunks while uploads are expired", nil, []play{chunksX, collectTwice}},
	{"push in chunks of a blob that ends", []play{blobX, collectOnce}, []play{chunksX, collectTwice}},
	{"commit sent again", []play{appendX}, []play{commitX, collectTwice, commitX}},
	{"commit sent again after a crash", []play{appendX}, []play{commitX, commitX, collectTwice, collectOnce}},
	{"commit and cancel", []play{appendX}, []play{commitX, cancelX, collectTwice}},
	{"two chunks", nil, []play{appendX, appendX, collectOnce}},
	{"the same manifest again, and its deletion", []play{wholeX}, []play{pushU, deleteX, collectTwice}},
	{"the same manifest twice, and its deletion", []play{wholeX}, []play{pushU, pushU, deleteX}},
	{"the same manifest again, and the deletion of its blob", []play{wholeX}, []play{pushU, deleteBlobX, collectTwice}},
	{"the same manifest again, its deletion and that of its blob", []play{wholeX}, []play{deleteX, deleteBlobX, pushU}},
	{"the same manifest again, and the deletion of its tag", []play{wholeX}, []play{pushT, deleteT}},
	{"a deleted manifest comes back", []play{wholeX, deleteX}, []play{wholeX, collectTwice}},
	{"a deleted manifest comes back for another", []play{wholeX, deleteX, collectOnce}, []play{wholeXY, collectTwice}},
	{"two deletions", []play{wholeX}, []play{deleteX, deleteX, wholeX}},
	{"one tag, two images", []play{wholeX}, []play{wholeXY, pushT, deleteX}},
	{"mount", []play{blobX}, []play{mountX, collectTwice}},
	{"mount of a condemned blob", []play{blobX, collectOnce}, []play{mountX, collectTwice}},
	{"signature and its deletion", []play{wholeX, sign}, []play{sign, unsign, collectOnce}},
	{"signature after its deletion", []play{wholeX, sign, unsign}, []play{sign, collectTwice}},
	{"reading what ends", []play{chunksX, collectOnce}, []play{readX, collectTwice, wholeX}},
	{"two collectors that delete", []play{blobX, collectOnce}, []play{collectTwice, collectTwice, blobX}},
}

func blobX(a *actor, c *cast)        { _ = a.pushBlob("a", c.blobs[0], 0) }
func skipX(a *actor, c *cast)        { a.skip("a", c.images[0], "t") }
func wholeX(a *actor, c *cast)       { _ = a.pushWhole(0, "a", c.images[0], "t") }
func wholeXY(a *actor, c *cast)      { _ = a.pushWhole(2, "a", c.images[1], "t") }
func chunksX(a *actor, c *cast)      { _ = a.pushBlob("a", c.blobs[0], 2) }
func appendX(a *actor, c *cast)      { a.share(c.blobs[0], 1, 0) }
func commitX(a *actor, c *cast)      { _ = a.commit("a", a.w.shared[0], c.blobs[0], len(c.blobs[0])) }
func cancelX(a *actor, c *cast)      { a.share(c.blobs[0], 0, 0) }
func pushT(a *actor, c *cast)        { _ = a.push("a", c.images[0], "t") }
func pushU(a *actor, c *cast)        { _ = a.push("a", c.images[0], "u") }
func deleteX(a *actor, c *cast)      { a.deleteManifest("a", c.images[0]) }
func deleteBlobX(a *actor, c *cast)  { a.deleteBlob("a", c.blobs[0]) }
func deleteT(a *actor, c *cast)      { a.deleteTag("a", "t") }
func mountX(a *actor, c *cast)       { a.mount("b", "a", c.images[0], "t") }
func sign(a *actor, c *cast)         { _ = a.pushWhole(0, "a", c.images[3]) }
func unsign(a *actor, c *cast)       { a.deleteManifest("a", c.images[3]) }
func readX(a *actor, c *cast)        { a.read("a", c.blobs[0]) }
func collectOnce(a *actor, c *cast)  { a.collect(1, a.w.young) }
func collectTwice(a *actor, c *cast) { a.collect(2, a.w.young) }

// times are how little time may mean.
var times = []struct {
	grace, young time.Duration
	frozen       bool
}{
	{grace: 1, frozen: true}, // nothing is ever claimed, and all claims look the same
	{grace: time.Hour},       // everything is claimed, and all of it is old to collectors
	{grace: time.Hour, young: 30 * time.Minute, frozen: true}, // so is what was there before; what the actors write is young
}

// sceneWorld is a world in which a scene can begin.
func sceneWorld(c *cast, scene, time int, conditional bool) *world {
	w := newWorld(c, times[time].grace, conditional)
	w.frozen, w.young = times[time].frozen, times[time].young
	w.pass = func() { w.move(1) }
	for i, p := range scenes[scene].before {
		w.finish(w.start(fmt.Sprint("before", i), 0, func(a *actor) { p(a, c) }))
		w.move(w.grace)
	}
	for i, p := range scenes[scene].actors {
		w.start(fmt.Sprint("actor", i), 0, func(a *actor) { p(a, c) })
	}
	return w
}

// randomScene runs one of the scenes with few switches.
func randomScene(c *cast, r *rand.Rand) *world {
	n := r.IntN(len(scenes))
	w := sceneWorld(c, n, r.IntN(len(times)), r.IntN(4) > 0)
	w.trace = append(w.trace, traced{actor: w.actors[len(w.actors)-1], note: scenes[n].name})
	w.mislay(r)
	if r.IntN(3) == 0 {
		w.actors[len(scenes[n].before)+r.IntN(len(scenes[n].actors))].crash = 1 + r.IntN(30)
	}
	if r.IntN(4) == 0 { // the store's clock goes back in the middle
		at, back := w.step+1+r.IntN(100), -time.Duration(r.IntN(200))
		w.pass = func() {
			if w.move(1); w.step == at {
				w.move(back)
			}
		}
	}
	w.run(priorities(r, 30*len(scenes[n].actors)))
	return w
}

// mislay has some answers of a bucket lost, and some writes late.
func (w *world) mislay(r *rand.Rand) {
	if most := r.IntN(4); w.cast.bucket && most > 0 {
		w.fate = func() storagetest.Fate {
			return map[int]storagetest.Fate{0: storagetest.Lost, 1: storagetest.Late}[r.IntN(40/most)]
		}
	}
}

// randomCast runs actors that do anything.
func randomCast(c *cast, r *rand.Rand) *world {
	w := newWorld(c, []time.Duration{1, 100, 10_000}[r.IntN(3)], r.IntN(4) > 0)
	w.mislay(r)
	tick, back := time.Duration(r.IntN(3)), r.IntN(4) == 0
	w.pass = func() {
		w.move(tick)
		switch n := r.IntN(200); {
		case n < 4:
			w.move(2 * w.grace)
		case n == 5 && back:
			w.move(-10 * w.grace)
		}
	}
	for n := range r.IntN(5) { // what came before
		w.finish(w.anyActor(r, n))
		w.move(w.grace * time.Duration(r.IntN(3)))
	}
	for n := range 2 + r.IntN(4) {
		if a := w.anyActor(r, 10+n); r.IntN(6) == 0 {
			a.crash = r.IntN(40)
		}
	}
	pick := [](func([]*actor) *actor){walk(r), sticky(r), priorities(r, 100*len(w.actors))}[r.IntN(3)]
	w.run(pick)
	return w
}
