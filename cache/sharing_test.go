package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// late has an operation take so long, and then succeed.
func late(d time.Duration) func(context.Context, storagetest.Op, string) error {
	return func(ctx context.Context, _ storagetest.Op, _ string) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestAPurgeRemovesWhatWaitsForTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		var images []image
		s := f.alone(newOrigin(""))
		f.common.fail(only(storagetest.Put, late(3*time.Second)))
		for n := range 4 { // more layers than are on their way at once
			i := newImage(nginx, fmt.Sprint(n))
			s.from = i.origin()
			s.pull(i, fmt.Sprint(n))
			images = append(images, i)
		}
		if purged, err := s.manifests.Purge(t.Context(), nginx, "", s.blobs.Drop); err != nil || purged.Tags != len(images) {
			t.Fatalf("%+v, %v", purged, err)
		}
		time.Sleep(time.Minute)
		if keys := f.common.keys("cache/"); len(keys) > 0 {
			t.Errorf("left: %q", keys)
		}
	})
}

func TestAPurgeRemovesABlobThatIsOnItsWayToTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		s := f.alone(i.origin())
		f.common.fail(about(blobInBucket(i.layer), only(storagetest.Put, late(time.Minute))))
		s.pull(i, "1")
		if _, err := s.manifests.Purge(t.Context(), nginx, "", s.blobs.Drop); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if keys := f.common.keys("cache/"); len(keys) > 0 {
			t.Errorf("left: %q", keys)
		}
		s.pull(i, "1")
		time.Sleep(2 * time.Minute)
		if !f.common.holds(i.layer) {
			t.Error("what was pulled after it is not there")
		}
	})
}

func TestAPurgeFailsWhereARecordOfTheBucketCannotBeRead(t *testing.T) {
	for _, folder := range []string{tagFolder, seenFolder} {
		inFleet(t, folder, func(t *testing.T, f *fleet) {
			i := newImage(nginx, "1")
			f.alone(i.origin()).pull(i, "1")
			s := f.alone(i.origin())
			f.common.fail(only(storagetest.Get, func(_ context.Context, _ storagetest.Op, key string) error {
				if strings.HasPrefix(key, "cache/"+folder) {
					return errGoneBucket
				}
				return nil
			}))
			if purged, err := s.manifests.Purge(t.Context(), nginx, "", s.blobs.Drop); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%+v, %v", purged, err)
			}
			f.common.fail(nil)
			time.Sleep(bucketRest)
			if purged, err := s.manifests.Purge(t.Context(), nginx, "", s.blobs.Drop); err != nil {
				t.Errorf("again: %+v, %v", purged, err)
			}
			if keys := f.common.keys("cache/"); len(keys) > 0 {
				t.Errorf("left: %q", keys)
			}
		})
	}
}

func TestKeysThatNobodyHasWrittenDisturbNothing(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		f.alone(i.origin()).pull(i, "1")
		record := encodeRecord(tagRecord{Digest: i.man.Digest, MediaType: i.man.MediaType})
		odd := []string{"cache/" + tagKey(nginx, "a/b"), "cache/" + seenFolder + repoKey(nginx) + "/a/b"}
		for _, key := range odd {
			f.common.put(t, key, record)
		}
		s := f.alone(i.origin())
		if purged, err := s.manifests.Purge(t.Context(), nginx, "", s.blobs.Drop); err != nil || purged.Tags != 1 {
			t.Errorf("purge: %+v, %v", purged, err)
		}
		for e, err := range s.manifests.List(t.Context(), Repo{}) {
			t.Errorf("list: %+v, %v", e, err)
		}
		slices.Sort(odd)
		if keys := f.common.keys("cache/"); !slices.Equal(keys, odd) {
			t.Errorf("left: %q", keys)
		}
	})
}

func TestARecordOfTheBucketNeverReplacesWhatIsKnownHere(t *testing.T) {
	key, old, fresh := tagKey(nginx, "1"), "old", "fresh"
	for name, change := range map[string]recordWrite{
		fresh: {verb: verbPut, key: key, record: []byte(fresh)},
		"":    {verb: verbRemove, key: key},
	} {
		for _, stuck := range []bool{false, true} { // whether the disk takes it only after the bucket's answer
			inFleet(t, fmt.Sprintf("%q waits %v", name, stuck), func(t *testing.T, f *fleet) {
				gate := make(chan struct{})
				store := storagetest.Around(mem.New(time.Now), func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
					if stuck && (op == storagetest.Put || op == storagetest.Delete) {
						<-gate
					}
					return do()
				})
				r := NewRecords(store, RecordOptions{Bucket: f.alone(newOrigin("library/x")).bucket})
				defer r.Close()
				read := func() string {
					b, err := r.get(t.Context(), key)
					if err != nil && !errors.Is(err, storage.ErrNotFound) {
						t.Error(err)
					}
					return string(b)
				}
				f.common.put(t, "cache/"+key, []byte(old))
				f.common.fail(func(ctx context.Context, op storagetest.Op, key string) error {
					if op == storagetest.Delete {
						return errGoneBucket // so that it is still there
					}
					return late(bucketSlow/2)(ctx, op, key)
				})
				var asked sync.WaitGroup
				asked.Go(func() {
					if got := read(); got != name {
						t.Errorf("whoever asked before got %q", got)
					}
				})
				synctest.Wait()
				r.write(t.Context(), change)
				asked.Wait()
				r.write(t.Context(), recordWrite{verb: verbAdopt, key: key, record: []byte(old)}) // as one who was about to
				if got := read(); stuck && got != name {
					t.Errorf("while it waits: %q", got)
				}
				close(gate)
				if err := r.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, when := range []string{"at once", "later"} {
					if got := read(); got != name {
						t.Errorf("%s: %q", when, got)
					}
					time.Sleep(persistence / 2)
				}
			})
		}
	}
}

func TestFirstPullsAtOnceAskTheBucketForEachRecordOnce(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		for _, what := range []string{"what nobody has", "what another server has"} {
			s := f.alone(i.origin())
			f.common.forget()
			f.common.fail(late(30 * time.Millisecond))
			var clients sync.WaitGroup
			for range 200 {
				clients.Go(func() {
					if _, err := s.manifests.Get(t.Context(), i.up, "1"); err != nil {
						t.Error(err)
					}
				})
			}
			clients.Wait()
			time.Sleep(time.Minute)
			synctest.Wait()
			asked := map[string]int{}
			for _, a := range f.common.asked {
				if asked[a]++; strings.HasPrefix(a, "get ") && asked[a] > 1 {
					t.Errorf("%s: %s, %d times", what, a, asked[a])
				}
			}
			if asked["get cache/"+tagKey(nginx, "1")] == 0 {
				t.Errorf("%s: asked only %v", what, asked)
			}
		}
	})
}

func TestRecordsOfARepositoryAreSharedInOrderBesideOthers(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		const each, slow = 20, 100 * time.Millisecond
		s := f.alone(newOrigin("library/x"))
		f.common.fail(only(storagetest.Put, late(slow)))
		var want []string
		for n := range each {
			d := digest.FromString(fmt.Sprint(n))
			for r := range 16 {
				s.seen.Add(t.Context(), Repo{"docker.io", fmt.Sprint(r)}, d, "", 1)
			}
			want = append(want, digestKey(d))
		}
		time.Sleep(16 * each * slow / (sharers / 2)) // by one of them it would take twice as long
		synctest.Wait()
		got := map[string][]string{}
		for _, a := range f.common.asked {
			if repo, last, err := parseKey("put cache/"+seenFolder, a); err == nil {
				got[repo.Name] = append(got[repo.Name], last)
			}
		}
		for r := range 16 {
			if keys := got[fmt.Sprint(r)]; !slices.Equal(keys, want) {
				t.Errorf("repository %d: %d of %d are shared, in order: %v", r, len(keys), each, slices.Equal(keys, want[:len(keys)]))
			}
		}
	})
}
