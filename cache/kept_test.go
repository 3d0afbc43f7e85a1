package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func (o *office) wantKept(repo Repo, ref string, want Manifest, checked time.Time) {
	o.t.Helper()
	man, at, err := o.manifests.Kept(o.t.Context(), repo, ref)
	if err != nil || man.Digest != want.Digest || string(man.Bytes) != string(want.Bytes) || man.MediaType != want.MediaType || !at.Equal(checked) {
		o.t.Errorf("%s of %s: %s %s checked %s, %v; want %s checked %s", ref, repo, man.MediaType, man.Bytes, at, err, want.Bytes, checked)
	}
}

func (o *office) wantNotKept(repo Repo, refs ...string) {
	o.t.Helper()
	for _, ref := range refs {
		man, at, err := o.manifests.Kept(o.t.Context(), repo, ref)
		if !errors.Is(err, ErrNotFound) || man.Bytes != nil || !at.IsZero() {
			o.t.Errorf("%q of %s: %+v, %s, %v", ref, repo, man, at, err)
		}
	}
}

// put writes a record behind the back of the cache.
func (o *office) put(key string, b []byte) {
	o.t.Helper()
	if err := o.store.Put(o.t.Context(), key, bytes.NewReader(b), int64(len(b))); err != nil {
		o.t.Fatal(err)
	}
}

func TestKeptIsWhatIsHereAndWasSeenInTheRepository(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory)
			up, other := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "library/other"})
			man := up.push("1", "one")
			checked := o.clock.now()
			o.wantGet(up, "1", man)
			o.clock.advance(time.Hour) // nothing is fresh any more
			hidden := up.push("1", "moved")
			o.wantGet(other, "x", other.push("x", "another repository's"))
			up.asked()
			other.asked()
			for range 2 {
				o.wantKept(nginx, "1", man, checked)
				o.wantKept(nginx, string(man.Digest), man, time.Time{})
				o.wantNotKept(nginx, "2", "", "..", "a/b", "sha256:1", "x:y", string(hidden.Digest), string(other.tags["x"]))
				o.wantNotKept(other.repo, "1", string(man.Digest))
				o.wantNotKept(Repo{"ghcr.io", nginx.Name}, "1", string(man.Digest))
				o.restart(memory)
			}
			up.wantAsked(t, 0, 0)
			other.wantAsked(t, 0, 0)
		})
	}
}

// A digest that a repository was seen to have as a blob is no manifest of it, though another repository has one.
func TestABlobOfTheSameDigestIsNotKeptAsAManifest(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("1", "one")
	o.wantGet(up, "1", man)
	other := Repo{"docker.io", "library/other"}
	o.seen.Add(t.Context(), other, man.Digest, "", int64(len(man.Bytes)))
	o.wantNotKept(other, string(man.Digest))
}

func TestDamagedManifestsAreNotKept(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("1", "one")
	o.wantGet(up, "1", man)
	for _, damaged := range [][]byte{append(bytes.Clone(man.Bytes), ' '), man.Bytes[1:], {}, []byte("{}")} {
		o.put(manifestKey(man.Digest), damaged)
		o.wantNotKept(nginx, "1", string(man.Digest))
	}
	o.put(manifestKey(man.Digest), man.Bytes)
	o.settle()
	for _, damaged := range []string{"", "{", "{}", `{"digest":"sha256:1","mediaType":"x"}`} {
		o.put(tagKey(nginx, "1"), []byte(damaged))
		o.wantNotKept(nginx, "1")
		o.settle()
	}
}

// Where the disk takes no records, memory is all there is.
func TestMemoryAloneIsKeptToo(t *testing.T) {
	full := errors.New("no space left")
	o := newOffice(t, 1<<20, func(o *office) {
		o.store = storagetest.Around(o.store, func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
			if op == storagetest.Put {
				return full
			}
			return do()
		})
	})
	up := newFakeManifests(nginx)
	man := up.push("1", "one")
	o.wantGet(up, "1", man)
	o.wantKept(nginx, "1", man, o.clock.now())
	o.wantKept(nginx, string(man.Digest), man, time.Time{})
	o.wantNotKept(Repo{"docker.io", "library/other"}, "1", string(man.Digest))
}

// What is looked at ages as what nobody looks at, and does not come into memory.
func TestLookingIsNoUse(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("1", "one")
	o.wantGet(up, "1", man)
	o.restart(1 << 20)
	for range 31 {
		o.clock.advance(24 * time.Hour)
		o.wantKept(nginx, string(man.Digest), man, time.Time{})
		o.manifests.Kept(t.Context(), nginx, "1")
		o.manifests.CachedTags(t.Context(), nginx, 10, "")
		o.manifests.KeptReferrers(t.Context(), nginx, man.Digest)
		for range o.manifests.Sizes(t.Context(), func(digest.Digest) int64 { return 1 }) {
		}
		o.settle()
	}
	_, manifest := o.memory.manifest(nginx, string(man.Digest))
	_, tag := o.memory.tag(nginx, "1")
	_, seen := o.memory.seen(nginx, man.Digest)
	if manifest || tag || seen {
		t.Errorf("in memory: manifest %v, tag %v, seen %v", manifest, tag, seen)
	}
	if left, err := o.sweep(0); err != nil || left != 0 {
		t.Errorf("%d bytes left after a month of looking, %v", left, err)
	}
}

func TestKeptReferrersAreWhatUpstreamSaidLast(t *testing.T) {
	o := newOffice(t, 0)
	d := digest.FromString("subject")
	index, at, err := o.manifests.KeptReferrers(t.Context(), nginx, d)
	if err != nil || !at.IsZero() || len(index.Manifests) > 0 {
		t.Errorf("never asked: %+v, %s, %v", index, at, err)
	}
	said := ocispec.Index{Manifests: []ocispec.Descriptor{{Digest: digest.FromString("signature"), ArtifactType: "x/y"}}}
	o.put(referrerKey(nginx, d), encodeRecord(referrersRecord{Index: said, Checked: o.clock.now()}))
	o.clock.advance(1000 * time.Hour)
	index, at, err = o.manifests.KeptReferrers(t.Context(), nginx, d)
	if err != nil || !at.Equal(o.clock.now().Add(-1000*time.Hour)) || len(index.Manifests) != 1 || index.Manifests[0].ArtifactType != "x/y" {
		t.Errorf("%+v, %s, %v", index, at, err)
	}
	for _, c := range []struct {
		repo Repo
		d    digest.Digest
	}{{Repo{"docker.io", "library/other"}, d}, {nginx, "sha256:1"}, {nginx, ""}, {nginx, "../x:y"}} {
		if index, at, err := o.manifests.KeptReferrers(t.Context(), c.repo, c.d); err != nil || !at.IsZero() || len(index.Manifests) > 0 {
			t.Errorf("%s of %s: %+v, %s, %v", c.d, c.repo, index, at, err)
		}
	}
}

func TestCachedTagsArePagedInByteOrder(t *testing.T) {
	o := newOffice(t, 0)
	up, other := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "library/nginx-x"})
	names := []string{"1", "1-a", "1.0", "10", "A", "_x", "a", "latest", "v1"}
	var want []Entry
	for _, tag := range names {
		o.clock.advance(time.Minute)
		man := up.push(tag, tag)
		o.wantGet(up, tag, man)
		o.wantGet(other, tag, other.push(tag, tag))
		want = append(want, Entry{nginx, tag, man.Digest, man.MediaType, int64(len(man.Bytes)), o.clock.now()})
	}
	o.put(tagKey(nginx, "a-folder/x"), []byte("{}"))
	up.asked()
	for n := 1; n <= len(names)+1; n++ {
		var all []Entry
		for last, more := "", true; more; {
			var page []Entry
			var err error
			if page, more, err = o.manifests.CachedTags(t.Context(), nginx, n, last); err != nil || len(page) > n || len(page) == 0 {
				t.Fatalf("page of %d after %q: %d, %v", n, last, len(page), err)
			}
			all, last = append(all, page...), page[len(page)-1].Tag
		}
		if !slices.Equal(all, want) {
			t.Errorf("pages of %d: %+v, want %+v", n, all, want)
		}
	}
	if all, more, err := o.manifests.CachedTags(t.Context(), nginx, -1, ""); err != nil || more || !slices.Equal(all, want) {
		t.Errorf("all at once: %+v, %v, %v", all, more, err)
	}
	if none, more, err := o.manifests.CachedTags(t.Context(), Repo{"docker.io", "library"}, 10, ""); err != nil || more || len(none) > 0 {
		t.Errorf("a repository without tags: %+v, %v, %v", none, more, err)
	}
	up.wantAsked(t, 0, 0)
}

// bulk is a store with very many tags that says how many were taken from it.
type bulk struct {
	storage.Store
	tags  int
	taken int
}

func (b *bulk) List(_ context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for i := range b.tags {
			key := fmt.Sprintf("%sv%06d", prefix, i)
			if key <= after {
				continue
			}
			if b.taken++; !yield(storage.Info{Key: key, Size: 1}, nil) {
				return
			}
		}
	}
}

func (b *bulk) Get(ctx context.Context, key string) ([]byte, storage.Version, error) {
	return encodeRecord(tagRecord{Digest: digest.FromString(key), MediaType: "x/y"}), "1", nil
}

func TestAPageOfManyTagsTakesNoMoreThanThePage(t *testing.T) {
	var store *bulk
	o := newOffice(t, 0, func(o *office) {
		store = &bulk{Store: o.store, tags: 100_000}
		o.store = store
	})
	page, more, err := o.manifests.CachedTags(t.Context(), nginx, 50, "v099900")
	if err != nil || !more || len(page) != 50 || page[0].Tag != "v099901" || store.taken != 51 {
		t.Errorf("%d tags, more %v, %d taken, %v", len(page), more, store.taken, err)
	}
	store.taken = 0
	if page, more, err = o.manifests.CachedTags(t.Context(), nginx, 1_000_000, ""); err != nil || !more || len(page) != mostListed || store.taken != mostListed+1 {
		t.Errorf("%d tags, more %v, %d taken, %v", len(page), more, store.taken, err)
	}
}

func TestALongListingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var left int
	o := newOffice(t, 0, func(o *office) {
		o.store = storagetest.Around(&bulk{Store: o.store, tags: 100_000}, func(ctx context.Context, op storagetest.Op, key string, do func() error) error {
			if left--; left == 0 {
				cancel()
			}
			return do()
		})
	})
	left = 100
	if _, _, err := o.manifests.CachedTags(ctx, nginx, -1, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("tags: %v after %d more operations", err, -left)
	}
	if left < -10 {
		t.Errorf("%d operations after the end", -left)
	}
	if _, _, err := o.manifests.Kept(ctx, nginx, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("a manifest: %v", err)
	}
	for _, err := range o.manifests.Sizes(ctx, nil) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("sizes: %v", err)
		}
	}
}

// A purge that runs at the same time leaves nothing that is half there, and no errors but the one.
func TestLookingWhilePurging(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	var mans []Manifest
	for i := range 20 {
		mans = append(mans, up.push(fmt.Sprint(i), fmt.Sprint(i)))
	}
	done := make(chan struct{})
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() { // until done is closed
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				man := mans[i%len(mans)]
				for _, ref := range []string{fmt.Sprint(i % len(mans)), string(man.Digest)} {
					if got, _, err := o.manifests.Kept(t.Context(), nginx, ref); err == nil && string(got.Bytes) != string(man.Bytes) || err != nil && !errors.Is(err, ErrNotFound) {
						t.Errorf("%s: %s, %v", ref, got.Bytes, err)
					}
				}
				if _, _, err := o.manifests.CachedTags(t.Context(), nginx, 5, "1"); err != nil {
					t.Errorf("tags: %v", err)
				}
				for _, err := range o.manifests.Sizes(t.Context(), func(digest.Digest) int64 { return 1 }) {
					if err != nil {
						t.Errorf("sizes: %v", err)
					}
				}
			}
		})
	}
	for range 10 {
		for i, man := range mans {
			o.wantGet(up, fmt.Sprint(i), man)
		}
		if _, _, err := o.purge(nginx, ""); err != nil {
			t.Error(err)
		}
	}
	close(done)
	looking.Wait()
	o.wantNotKept(nginx, "1", string(mans[1].Digest))
}

func TestWhatOtherServersHaveInTheBucketIsKept(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		f.alone(i.origin()).pull(i, "1")
		i.up.asked()
		s := f.alone(i.origin())
		for _, ref := range []string{"1", string(i.man.Digest)} {
			man, _, err := s.manifests.Kept(t.Context(), nginx, ref)
			if err != nil || string(man.Bytes) != string(i.man.Bytes) {
				t.Errorf("%s: %s, %v", ref, man.Bytes, err)
			}
			if _, _, err := s.manifests.Kept(t.Context(), Repo{"docker.io", "other"}, ref); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s of another repository: %v", ref, err)
			}
		}
		i.up.wantAsked(t, 0, 0)
	})
}

// A bucket that keeps silent, or says no, costs a page two seconds at most, and nothing that is here.
func TestABucketThatIsAwayHidesNothingThatIsHere(t *testing.T) {
	for name, fault := range map[string]func(ctx context.Context) error{
		"silent": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"gone":   func(context.Context) error { return errGoneBucket },
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			i := newImage(nginx, "1")
			s := f.alone(i.origin())
			s.pull(i, "1")
			f.common.fail(func(ctx context.Context, _ storagetest.Op, _ string) error { return fault(ctx) })
			began := time.Now()
			for _, ref := range []string{"1", string(i.man.Digest)} {
				if man, _, err := s.manifests.Kept(t.Context(), nginx, ref); err != nil || string(man.Bytes) != string(i.man.Bytes) {
					t.Errorf("%s: %s, %v", ref, man.Bytes, err)
				}
			}
			if tags, _, err := s.manifests.CachedTags(t.Context(), nginx, 10, ""); err != nil || len(tags) != 1 {
				t.Errorf("%+v, %v", tags, err)
			}
			for size, err := range s.manifests.Sizes(t.Context(), func(d digest.Digest) int64 { have, _ := s.blobs.Presence(d); return have }) {
				if want := int64(len(i.man.Bytes) + len(i.layer)); err != nil || size != (RepoSize{nginx, want}) {
					t.Errorf("%+v, %v, want %d bytes", size, err, want)
				}
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("what is here took %s", took)
			}
			for n := range 20 { // children that are not here
				if _, _, err := s.manifests.Kept(t.Context(), nginx, digest.FromString(fmt.Sprint(n)).String()); !errors.Is(err, ErrNotFound) {
					t.Errorf("what is not here: %v", err)
				}
			}
			if took := time.Since(began); took > bucketPatience {
				t.Errorf("what is not here took %s", took)
			}
			synctest.Wait()
		})
	}
}

func TestNotHereSaysSo(t *testing.T) {
	err := notKept(nginx, "1")
	if !errors.Is(err, ErrNotFound) || errors.Is(err, io.EOF) || strings.Contains(err.Error(), "upstream") {
		t.Error(err)
	}
}
