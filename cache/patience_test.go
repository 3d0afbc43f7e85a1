package cache

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// about has only what concerns one key fail.
func about(key string, fault func(context.Context, storagetest.Op, string) error) func(context.Context, storagetest.Op, string) error {
	return func(ctx context.Context, op storagetest.Op, k string) error {
		if k == key {
			return fault(ctx, op, k)
		}
		return nil
	}
}

var errArchived = errors.New("InvalidObjectState: the object is archived")

func archived(context.Context, storagetest.Op, string) error { return errArchived }

func TestAPullWaitsForTwoSlowAnswers(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		s := f.named("s", i.origin())
		const slow = bucketPatience - 100*time.Millisecond
		f.common.fail(late(slow))
		began := time.Now()
		s.wantManifest(i, "1")
		s.wantManifest(i, string(i.man.Digest))
		s.want(i.layer, Whole)
		if took := time.Since(began); took > 2*slow { // by the clock of the bubble
			t.Errorf("it took %v", took)
		}
		if n := s.events.count("failed"); n != 1 {
			t.Errorf("the bucket failed %d times, by our count", n)
		}
	})
}

func TestOneSlowAnswerTakesTheBucketFromNobody(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		f.alone(i.origin()).pull(i, "1")
		synctest.Wait()
		time.Sleep(2 * time.Second)
		away := outage(CauseTimeout)
		from := i.origin()
		from.fail, from.stat = func(int64, int64) error { return away }, func() (int64, error) { return 0, away }
		i.up.fail(away, away)
		s := f.alone(from)
		f.common.fail(about("cache/"+tagKey(nginx, "1"), late(bucketSlow+100*time.Millisecond)))
		s.wantManifest(i, "1")
		s.want(i.layer, Whole)
	})
}

func TestABodyThatDripsIsLeftForUpstream(t *testing.T) {
	for tier, disk := range diskTiers {
		inFleet(t, tier, func(t *testing.T, f *fleet) {
			b := randomBytes(1, 20<<20)
			f.stock(newOrigin("library/x", b))
			s := f.alone(newOrigin("library/x", b), disk)
			f.common.fail(only(storagetest.Read, late(1500*time.Millisecond))) // 50,000 bytes each
			began := time.Now()
			s.want(b, Whole)
			if took := time.Since(began); took > slowAfter+2*time.Second {
				t.Errorf("it took %v", took)
			}
			if from, given := s.from.gave(), f.common.given.bytes(); s.from.twice > 0 || from == 0 || given == 0 {
				t.Errorf("the bucket gave %d bytes, upstream %d, and %d twice", given, from, s.from.twice)
			}
		})
	}
}

func TestOneOddObjectIsNoFailureOfTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		odd, good := randomBytes(1, 3<<20), randomBytes(2, 3<<20)
		f.stock(newOrigin("library/x", odd, good))
		f.common.fail(about(blobInBucket(odd), archived))
		s := f.alone(newOrigin("library/x", odd, good))
		s.wantFrom(int64(len(odd)), odd, Whole)
		s.wantFrom(0, good, Whole)
	})
}

func TestALeaseThatCannotBeWrittenIsNoFailureOfTheBucket(t *testing.T) {
	for name, err := range map[string]error{"denied": errArchived, "unavailable": errGoneBucket} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			cold, stored := randomBytes(1, 3<<20), randomBytes(2, 3<<20)
			f.stock(newOrigin("library/x", stored))
			f.common.fail(only(storagetest.PutIf, func(context.Context, storagetest.Op, string) error { return err }))
			s := f.named("s", newOrigin("library/x", cold, stored))
			s.want(cold, Whole)
			s.wantFrom(0, stored, Whole)
			if n := f.common.count("putif "); n != 1 {
				t.Errorf("%d leases were asked for", n)
			}
		})
	}
}

func TestABlobThatTheBucketNeverTakesKeepsNoOtherFromIt(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		var blobs [][]byte
		for n := range storers + 3 {
			blobs = append(blobs, randomBytes(uint64(n), 100_000))
		}
		bad := map[string]bool{}
		for _, b := range blobs[:storers] {
			bad[blobInBucket(b)] = true
		}
		s := f.named("s", newOrigin("library/x", blobs...))
		f.common.fail(only(storagetest.Put, func(_ context.Context, _ storagetest.Op, key string) error {
			if bad[key] {
				return errGoneBucket
			}
			return nil
		}))
		for _, b := range blobs {
			s.want(b, Whole)
			synctest.Wait()
		}
		time.Sleep(persistence + time.Minute)
		for n, b := range blobs {
			if got, want := f.common.holds(b), n >= storers; got != want {
				t.Errorf("blob %d is there: %v, want %v", n, got, want)
			}
		}
		f.wantNoLease()
	})
}

// Whatever strangers ask for that does not exist, what does exist reaches the other servers, and nothing is left.
func TestWhatDoesNotExistFillsNoQueue(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		s := f.named("s", i.origin())
		f.common.fail(only(storagetest.Delete, late(30*time.Millisecond)))
		for n := range 1200 {
			d := digest.FromString(fmt.Sprint(n))
			if _, err := s.manifests.Get(t.Context(), i.up, string(d)); !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			if _, err := s.blobs.Open(t.Context(), s.from, d, Whole); !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		s.pull(i, "1")
		time.Sleep(time.Second)
		if keys := f.common.keys("cache/"); len(keys) != 5 { // tag, manifest, layer, and that the repository has the latter two
			t.Errorf("the bucket has %q", keys)
		}
		f.wantNoLease()
	})
}

func TestCloseWaitsForASlowBucketOnce(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		s := f.named("s", i.origin())
		f.common.fail(only(storagetest.Delete, refusal))
		for n := range 300 { // their leases cannot be released, so they wait
			_, _ = s.blobs.Open(t.Context(), s.from, digest.FromString(fmt.Sprint(n)), Whole)
		}
		synctest.Wait()
		if waiting := len(s.blobs.storing); waiting < 200 {
			t.Fatalf("%d leases wait", waiting)
		}
		f.common.fail(only(storagetest.Delete, late(time.Second)))
		began := time.Now()
		s.blobs.Close()
		if took := time.Since(began); took > parting+bucketPatience {
			t.Errorf("it took %v", took)
		}
	})
}

func TestASweepGoesOnBehindWhatCannotBeRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		left int
	}{"one object": {errArchived, 1}, "the store": {storage.ErrUnavailable, 3}} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			s := f.named("s", newOrigin("library/x"))
			keys := []string{"blobs/a", "blobs/b", "blobs/c"}
			for _, key := range keys {
				f.common.put(t, "cache/"+key, []byte("x"))
			}
			time.Sleep(48 * time.Hour)
			f.common.fail(about("cache/"+keys[0], func(_ context.Context, op storagetest.Op, _ string) error {
				if op == storagetest.Delete {
					return c.err
				}
				return nil
			}))
			swept, err := s.bucket.Sweep(t.Context(), time.Hour)
			if left := f.common.keys("cache/"); !errors.Is(err, c.err) || len(left) != c.left || swept.Removed != len(keys)-c.left {
				t.Errorf("%+v, %v; left %q", swept, err, left)
			}
		})
	}
}

func TestABucketWithAnAddressNeedsLeasesAndPeers(t *testing.T) {
	store, peer := newCommons(), func(string, Repo) Peer { return gone{} }
	for name, c := range map[string]struct {
		o     BucketOptions
		valid bool
	}{
		"alone":          {BucketOptions{}, true},
		"neither":        {BucketOptions{Address: "a"}, false},
		"without peers":  {BucketOptions{Address: "a", Leases: store}, false},
		"without leases": {BucketOptions{Address: "a", Peer: peer}, false},
		"both":           {BucketOptions{Address: "a", Leases: store, Peer: peer}, true},
	} {
		c.o.Store = store
		if _, err := NewBucket(c.o); (err == nil) != c.valid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLeasesThatCannotBeTakenAreWaitedForOnce(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		blobs := [][]byte{randomBytes(1, 100<<10), randomBytes(2, 100<<10), randomBytes(3, 100<<10)}
		s := f.named("s", newOrigin("library/x", blobs...))
		f.common.fail(only(storagetest.PutIf, silence))
		began := time.Now()
		for _, b := range blobs {
			s.want(b, Whole)
		}
		if took := time.Since(began); took > bucketPatience {
			t.Errorf("three pulls took %v", took)
		}
	})
}
