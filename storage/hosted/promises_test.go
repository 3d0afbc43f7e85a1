package hosted

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

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
	w.landed(math.MaxInt)
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
		tombstone := hasEnded(info) && !strings.HasPrefix(info.Key, partFolder)
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
	names, _, err := w.g.Repositories(ctx, -1, "", nil)
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
