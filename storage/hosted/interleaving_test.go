package hosted

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

var (
	interleavings = flag.Int64("interleavings", 600, "how many random schedules of pushers and collectors to run")
	switchesDeep  = flag.Int("switches", 0, "how many switches from one actor to another to try at every moment; 0: one, at every third")
	interleaving  = flag.Int64("interleaving", -1, "run only the random schedule of this seed")
)

// testImage is a manifest and the blobs that it names.
type testImage struct {
	name     string
	bytes    []byte
	digest   digest.Digest
	subject  digest.Digest
	blobs    [][]byte
	children []*testImage
}

// cast is what a schedule pushes: few things, so that its actors meet.
type cast struct {
	images []*testImage
	blobs  [][]byte
}

func newCast() *cast {
	x, y, empty := []byte("a layer that all have"), []byte("a layer of one"), []byte{}
	c := &cast{blobs: [][]byte{x, y, empty}}
	for _, blobs := range [][][]byte{{x}, {x, y}, {y, empty}} {
		b := imageOf(blobs...)
		c.images = append(c.images, &testImage{name: fmt.Sprint("image", len(c.images)), bytes: b, blobs: blobs})
	}
	first := c.images[0]
	first.digest = digest.FromBytes(first.bytes)
	described := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}`, first.digest, len(first.bytes))
	signature := bytes.Replace(imageOf(y), []byte(`{`), []byte(`{"subject":`+described+`,`), 1)
	list := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + described + `]}`)
	c.images = append(c.images,
		&testImage{name: "signature", bytes: signature, blobs: [][]byte{y}, subject: first.digest},
		&testImage{name: "index", bytes: list, children: []*testImage{first}})
	for _, m := range c.images {
		m.digest = digest.FromBytes(m.bytes)
	}
	return c
}

// expected are the errors that interleaving may cause.
func expected(err error) bool {
	for _, e := range []error{ErrBlobUnknown, ErrManifestUnknown, ErrUploadUnknown, ErrConflict} {
		if errors.Is(err, e) {
			return true
		}
	}
	return err == nil || errors.As(err, new(*MissingBlobError)) || errors.As(err, new(*OffsetError))
}

// did notes the outcome of an operation, and looks whether all that was acknowledged is there.
func (a *actor) did(what string, e *event, err error) error {
	a.w.step++
	a.w.trace = append(a.w.trace, traced{actor: a, note: fmt.Sprintf("%s: %v", what, err)})
	if !expected(err) {
		a.w.fail("%s: %s: %v", a.name, what, err)
	}
	if e != nil {
		e.end, e.err = a.w.step, err
		a.w.writes = -1
	}
	a.w.promises()
	return err
}

func (a *actor) began(e event) *event {
	e.begin = a.w.step
	a.w.events = append(a.w.events, &e)
	return &e
}

func (a *actor) push(repo string, m *testImage, tags ...string) error {
	e := a.began(event{kind: "put", repo: repo, digest: m.digest, tags: tags, image: m})
	_, err := a.repo(repo).PutManifest(context.Background(), ManifestPush{Bytes: m.bytes, Tags: tags})
	a.pause() // the answer may never be written
	return a.did(fmt.Sprint("put ", m.name, " as ", repo, tags), e, err)
}

// pushWhole does what clients do: it skips the blobs that a HEAD finds.
func (a *actor) pushWhole(way int, repo string, m *testImage, tags ...string) error {
	for _, child := range m.children {
		if err := a.pushWhole(way, repo, child); err != nil {
			return err
		}
	}
	for _, b := range m.blobs {
		_, err := a.repo(repo).RenewBlob(context.Background(), digest.FromBytes(b))
		if a.did("HEAD", nil, err); err != nil {
			_ = a.pushBlob(repo, b, way)
		}
	}
	return a.push(repo, m, tags...)
}

func (a *actor) send(b []byte) io.Reader { return body{a, bytes.NewReader(b)} }

// pushBlob pushes a blob in one of several ways.
func (a *actor) pushBlob(repo string, b []byte, way int) error {
	ctx, d, r := context.Background(), digest.FromBytes(b), a.repo(repo)
	if way == 0 {
		return a.did("push blob", nil, r.PushBlob(ctx, d, a.send(b), int64(len(b))))
	}
	id, err := r.StartUpload(ctx, digest.SHA256)
	if err != nil {
		return a.did("start upload", nil, err)
	}
	return a.upload(repo, id, b, []int{0, 0, len(b) / 2, len(b)}[way])
}

// upload sends the bytes up to middle as a chunk, and the rest with the commit.
func (a *actor) upload(repo, id string, b []byte, middle int) error {
	ctx, r := context.Background(), a.repo(repo)
	if middle > 0 {
		if _, err := r.AppendUpload(ctx, id, 0, a.send(b[:middle]), int64(middle)); err != nil {
			return a.did("append", nil, err)
		}
	}
	return a.commit(repo, id, b, middle)
}

func (a *actor) commit(repo, id string, b []byte, start int) error {
	err := a.repo(repo).CommitUpload(context.Background(), id, int64(start), a.send(b[start:]), -1, digest.FromBytes(b))
	return a.did("commit", nil, err)
}

// skip pushes a manifest as whoever has found its blobs with a HEAD.
func (a *actor) skip(repo string, m *testImage, tags ...string) {
	for _, b := range m.blobs {
		_, err := a.repo(repo).RenewBlob(context.Background(), digest.FromBytes(b))
		_ = a.did("HEAD", nil, err)
	}
	_ = a.push(repo, m, tags...)
}

func (a *actor) mount(repo, from string, m *testImage, tags ...string) {
	for _, b := range m.blobs {
		_, err := a.repo(repo).MountBlob(context.Background(), digest.FromBytes(b), from)
		_ = a.did("mount", nil, err)
	}
	_ = a.push(repo, m, tags...)
}

// share goes on with an upload of repository a that others go on with too.
func (a *actor) share(b []byte, what, retries int) {
	ctx, r := context.Background(), a.repo("a")
	if len(a.w.shared) == 0 {
		id, err := r.StartUpload(ctx, digest.SHA256)
		if err != nil {
			_ = a.did("start upload", nil, err)
			return
		}
		a.w.shared = append(a.w.shared, id)
	}
	id := a.w.shared[0]
	switch what {
	case 0:
		_ = a.did("cancel", nil, r.CancelUpload(ctx, id))
	case 1:
		_, err := r.AppendUpload(ctx, id, 0, a.send(b), -1)
		_ = a.did("append", nil, err)
	default:
		_ = a.upload("a", id, b, len(b)*(what%2))
		for range retries {
			_ = a.commit("a", id, b, len(b))
		}
	}
}

func (a *actor) deleteBlob(repo string, b []byte) {
	e := a.began(event{kind: "delete blob", repo: repo, digest: digest.FromBytes(b)})
	_ = a.did("delete blob of "+repo, e, a.repo(repo).DeleteBlob(context.Background(), e.digest))
}

func (a *actor) deleteTag(repo, tag string) {
	e := a.began(event{kind: "delete tag", repo: repo, tags: []string{tag}})
	_ = a.did("delete tag "+repo+" "+tag, e, a.repo(repo).DeleteTag(context.Background(), tag))
}

func (a *actor) deleteManifest(repo string, m *testImage) {
	e := a.began(event{kind: "delete manifest", repo: repo, digest: m.digest})
	_ = a.did("delete "+m.name+" of "+repo, e, a.repo(repo).DeleteManifest(context.Background(), m.digest))
}

func (a *actor) collect(runs int, grace time.Duration) {
	for range runs {
		_, err := a.g.Collect(context.Background(), CollectOptions{Grace: grace, Full: true})
		_ = a.did("collect", nil, err)
	}
}

// read reads a blob as it is served, with everybody else going on meanwhile.
func (a *actor) read(repo string, b []byte) {
	ctx, d := context.Background(), digest.FromBytes(b)
	blob, err := a.repo(repo).Blob(ctx, d)
	if err != nil {
		_ = a.did("read", nil, err)
		return
	}
	var got []byte
	in, err := blob.Open(ctx, 0, blob.Size)
	if err == nil {
		got, err = io.ReadAll(in)
		in.Close()
	}
	if err == nil && !bytes.Equal(got, b) {
		a.w.fail("%s read %q, want %q", a.name, got, b)
	}
	rec, _, _ := readAs[blobRecord](ctx, a.w.g, blobKey(d))
	if err != nil && rec.usable() && slices.Equal(rec.Parts, blob.parts) {
		a.w.fail("%s could not read a blob that has not ended: %v", a.name, err)
	}
}

// blobOf reads a blob whole while nobody else does anything.
func (w *world) blobOf(repo string, want []byte) error {
	d := digest.FromBytes(want)
	blob, err := w.g.Repo(repo).Blob(context.Background(), d)
	if err != nil {
		return err
	}
	in, err := blob.Open(context.Background(), 0, blob.Size)
	if err == nil {
		var got []byte
		if got, err = io.ReadAll(in); err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("it is %q", got)
		}
	}
	if err != nil {
		w.fail("blob %.11s of %s is found, and: %v", d, repo, err)
	}
	return err
}

// deleted: somebody has asked for it since e began.
func (w *world) deleted(e *event, kind string, d digest.Digest, tag string) bool {
	return slices.ContainsFunc(w.events, func(o *event) bool {
		return o.kind == kind && o.repo == e.repo && o.digest == d && (tag == "" || slices.Contains(o.tags, tag)) && o.after(e)
	})
}

// promises checks that all that was acknowledged, and that nobody asked to delete since, is served.
func (w *world) promises() {
	if w.writes == w.steady.writes {
		return
	}
	w.writes = w.steady.writes
	type thing struct {
		repo   string
		digest digest.Digest
	}
	served := map[thing]error{}
	for _, repo := range []string{"a", "b"} {
		for _, b := range w.cast.blobs {
			served[thing{repo, digest.FromBytes(b)}] = w.blobOf(repo, b)
		}
		for _, m := range w.cast.images {
			got, err := w.g.Repo(repo).Manifest(context.Background(), string(m.digest))
			if err == nil && !bytes.Equal(got.Bytes, m.bytes) {
				err = fmt.Errorf("it is %q", got.Bytes)
			}
			served[thing{repo, m.digest}] = err
			if err == nil && !w.mayBe(repo, m.digest, "") {
				w.fail("%s of %s is there, and each of its pushes failed", m.name, repo)
			}
		}
	}
	for _, e := range w.events {
		if e.kind != "put" || e.end == 0 || e.err != nil || w.deleted(e, "delete manifest", e.digest, "") {
			continue
		}
		if err := served[thing{e.repo, e.digest}]; err != nil {
			w.fail("acknowledged %s of %s: %v", e.image.name, e.repo, err)
		}
		for _, b := range e.image.blobs {
			d := digest.FromBytes(b)
			if err := served[thing{e.repo, d}]; err != nil && !w.deleted(e, "delete blob", d, "") {
				w.fail("acknowledged %s of %s names a blob: %v", e.image.name, e.repo, err)
			}
		}
		for _, tag := range e.tags {
			w.promisedTag(e, tag)
		}
	}
}

func (w *world) promisedTag(e *event, tag string) {
	if w.deleted(e, "delete tag", "", tag) {
		return
	}
	for _, o := range w.events {
		if o.kind == "put" && o.repo == e.repo && o.digest != e.digest && slices.Contains(o.tags, tag) && o.after(e) && o.err == nil {
			return // it may have been the later one
		}
	}
	m, err := w.g.Repo(e.repo).Manifest(context.Background(), tag)
	if err != nil || m.Digest != e.digest {
		w.fail("acknowledged tag %s of %s: %.11s, %v; want %s", tag, e.repo, m.Digest, err, e.image.name)
	}
}

// rest stops everybody and looks at what stays after collection.
func (w *world) rest() {
	if w.failed != "" {
		return
	}
	crashed := slices.ContainsFunc(w.actors, func(a *actor) bool { return a.crashed })
	w.clock.pass(w.latest.Sub(w.clock.Now()))
	if !crashed {
		w.tagsLead()
	}
	for range 3 {
		w.collectAll()
		w.promises()
	}
	if w.failed == "" {
		w.nothingLeft()
	}
	if w.failed == "" {
		w.onlyWhatWasPushed()
	}
}

func (w *world) collectAll() {
	w.clock.pass(time.Hour + 2*w.grace)
	if _, err := w.g.Collect(context.Background(), CollectOptions{Full: true}); err != nil {
		w.fail("collection at rest: %v", err)
	}
}

// nothingLeft checks that the store has nothing but what manifests need, and tombstones where it cannot remove them.
func (w *world) nothingLeft() {
	ctx := context.Background()
	needed := map[string]bool{runKey: true}
	for _, repo := range []string{"a", "b"} {
		for _, m := range w.cast.images {
			if _, err := w.g.Repo(repo).Manifest(ctx, string(m.digest)); err != nil {
				continue
			}
			needed[nameKey(repo)], needed[manifestKey(repo, m.digest)] = true, true
			needed[referrerKey(repo, m.subject, m.digest)] = true
			for _, b := range m.blobs {
				d := digest.FromBytes(b)
				needed[holdKey(d, repo)], needed[blobKey(d)] = true, true
				rec, _, _ := readAs[blobRecord](ctx, w.g, blobKey(d))
				for _, p := range rec.Parts {
					needed[partKey(p.Name)] = true
				}
			}
			for _, child := range m.children {
				needed[holdKey(child.digest, repo)], needed[blobKey(child.digest)] = true, true
			}
		}
	}
	_, conditional := w.store.(storage.ConditionalDeleter)
	for info := range w.store.List(ctx, "", "") {
		tombstone := info.Size == int64(tombstoneSize) && !strings.HasPrefix(info.Key, partFolder)
		if needed[info.Key] || strings.Contains(info.Key, "/tags/") || tombstone && !conditional {
			continue
		}
		record, _, _ := w.store.Get(ctx, info.Key)
		w.fail("left at rest: %s %s", shortKey(info.Key), stateOf(record))
	}
}

// onlyWhatWasPushed checks that tags, referrers and catalog lead to manifests and the other way round, and that no push
// that failed left any.
func (w *world) onlyWhatWasPushed() {
	w.tagsLead()
	ctx := context.Background()
	names, _, err := w.g.Repositories(ctx, -1, "")
	if err != nil {
		w.fail("catalog: %v", err)
	}
	for _, repo := range []string{"a", "b"} {
		r, any := w.g.Repo(repo), false
		for _, m := range w.cast.images {
			if _, err := r.Manifest(ctx, string(m.digest)); err != nil {
				continue
			}
			any = true
			if !w.mayBe(repo, m.digest, "") {
				w.fail("%s of %s is there, and each of its pushes failed", m.name, repo)
			}
		}
		if any != slices.Contains(names, repo) {
			w.fail("%s has manifests is %v, and the catalog lists %v", repo, any, names)
		}
		for _, m := range w.cast.images {
			if m.subject == "" {
				continue
			}
			_, err := r.Manifest(ctx, string(m.digest))
			referrers, _, _ := r.Referrers(ctx, m.subject, "", -1, "")
			if there, listed := err == nil, len(referrers) > 0; there != listed {
				w.fail("%s of %s is there is %v, and among the referrers is %v", m.name, repo, there, listed)
			}
		}
	}
}

// tagsLead checks that all tags lead to manifests, and none to where no push that succeeded pointed it.
func (w *world) tagsLead() {
	for _, repo := range []string{"a", "b"} {
		r := w.g.Repo(repo)
		tags, _, _ := r.Tags(context.Background(), -1, "")
		for _, tag := range tags {
			m, err := r.Manifest(context.Background(), tag)
			if err != nil {
				w.fail("tag %s of %s is listed: %v", tag, repo, err)
			} else if !w.mayBe(repo, m.Digest, tag) {
				w.fail("tag %s of %s is there, and each of its pushes failed", tag, repo)
			}
		}
	}
}

func (w *world) mayBe(repo string, d digest.Digest, tag string) bool {
	return slices.ContainsFunc(w.events, func(e *event) bool {
		return e.kind == "put" && e.repo == repo && e.digest == d && e.err == nil && (tag == "" || slices.Contains(e.tags, tag))
	})
}

// usableAgain checks that whatever happened can be pushed over, and that nothing stays when all of it is deleted.
func (w *world) usableAgain() {
	if w.failed != "" {
		return
	}
	for _, repo := range []string{"a", "b"} {
		for _, m := range w.cast.images {
			pusher := w.start("last pusher", 0, func(a *actor) {
				if err := a.pushWhole(0, repo, m, "t", "u"); err != nil {
					w.fail("push at rest: %v", err)
				}
			})
			w.finish(pusher)
		}
	}
	deleter := w.start("last deleter", 0, func(a *actor) {
		for _, repo := range []string{"a", "b"} {
			for _, m := range w.cast.images {
				a.deleteManifest(repo, m)
			}
		}
	})
	w.finish(deleter)
	for range 3 {
		w.collectAll()
	}
	if w.failed == "" {
		w.nothingLeft()
	}
}

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

// randomCast runs actors that do anything.
func randomCast(c *cast, r *rand.Rand) *world {
	w := newWorld(c, []time.Duration{1, 100, 10_000}[r.IntN(3)], r.IntN(4) > 0)
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
	c := newCast()
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
}

func runSeed(t *testing.T, c *cast, seed int64) {
	t.Helper()
	w := schedule(c, seed)
	switch {
	case w.failed != "":
		t.Fatalf("seed %d: %s\nIt runs again with -run TestInterleavings -interleaving %d\n%s", seed, w.failed, seed, w.story())
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
