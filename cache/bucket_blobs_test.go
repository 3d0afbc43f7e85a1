package cache

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage/storagetest"
)

// stores has a server pull a blob, and wants to know how often it is put into the bucket.
func (s *server) stores(f *fleet, b []byte, puts int) {
	s.t.Helper()
	f.common.forget()
	s.want(b, Whole)
	synctest.Wait()
	if n := f.common.count("put cache/blobs/"); n != puts || s.events.count("stored false") > 0 {
		s.t.Errorf("%d PUTs, want %d; events %v", n, puts, s.events.counts)
	}
	if puts > 0 && !f.common.holds(b) {
		s.t.Error("it is not in the bucket")
	}
}

func TestWhatIsStored(t *testing.T) {
	b := randomBytes(4, 3<<20)
	tests := map[string]func(t *testing.T, f *fleet){
		"what upstream gave": func(t *testing.T, f *fleet) {
			s := f.alone(newOrigin("library/x", b))
			s.stores(f, b, 1)
			s.stores(f, b, 0)
		},
		"a blob without a byte": func(t *testing.T, f *fleet) {
			f.alone(newOrigin("library/x", nil)).stores(f, nil, 1)
		},
		"not what came from the bucket": func(t *testing.T, f *fleet) {
			f.stock(newOrigin("library/x", b))
			f.alone(newOrigin("library/x", b)).stores(f, b, 0)
		},
		"not again what the bucket gave in part": func(t *testing.T, f *fleet) {
			f.stock(newOrigin("library/x", b))
			f.common.breakAfter(2<<20, false)
			f.alone(newOrigin("library/x", b)).stores(f, b, 0)
		},
		"again what the bucket gave in part and has lost": func(t *testing.T, f *fleet) {
			f.stock(newOrigin("library/x", b))
			f.common.breakAfter(2<<20, true)
			time.AfterFunc(time.Second, func() { f.common.whole.Delete(context.Background(), blobInBucket(b)) })
			f.alone(newOrigin("library/x", b)).stores(f, b, 1)
		},
		"not what is streamed": func(t *testing.T, f *fleet) {
			f.alone(newOrigin("library/x", b), diskTiers["without a disk"]).stores(f, b, 0)
		},
		"not what is not whole": func(t *testing.T, f *fleet) {
			s := f.alone(newOrigin("library/x", b))
			s.from.cut = func(off int64) int64 { return max(0, 2<<20-off) }
			if _, whole, err := matchBlob(s.blobs, s.from, b, Whole); whole || err == nil {
				t.Error("a part is served as the whole")
			}
			synctest.Wait()
			if n := f.common.count("put cache/blobs/") + s.events.count("stored false"); n > 0 {
				t.Errorf("%d attempts to store it", n)
			}
		},
		"what nobody waits for any more": func(t *testing.T, f *fleet) {
			s := f.alone(newOrigin("library/x", b))
			s.want(b, Range{2 << 20, 2<<20 + 10})
			synctest.Wait()
			if !f.common.holds(b) {
				t.Error("it is not in the bucket")
			}
		},
	}
	for name, test := range tests {
		inFleet(t, name, test)
	}
}

func TestWhatTheBucketCouldNotTakeIsStoredLater(t *testing.T) {
	for name, fault := range map[string]func(context.Context, storagetest.Op, string) error{"refused": refusal, "silent for a while": silentFor(time.Minute)} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			kept, evicted := randomBytes(5, 3<<20), randomBytes(6, 3<<20)
			s := f.alone(newOrigin("library/x", kept, evicted))
			f.common.fail(fault)
			s.want(kept, Whole)
			s.want(evicted, Whole)
			synctest.Wait()
			s.blobs.dropHere(digest.FromBytes(evicted))
			time.Sleep(persistence / 2)
			if stored := f.common.keys("cache/blobs/"); len(stored) > 0 && name == "refused" {
				t.Errorf("stored: %q", stored)
			}
			f.common.fail(nil)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if !f.common.holds(kept) || f.common.holds(evicted) {
				t.Errorf("kept %v, evicted %v", f.common.holds(kept), f.common.holds(evicted))
			}
			if s.events.count("stored true") != 1 || s.events.count("stored false") != 1 {
				t.Errorf("events: %v", s.events.counts)
			}
		})
	}
}

// silentFor is a store whose own time-out says that it does not answer.
func silentFor(d time.Duration) func(context.Context, storagetest.Op, string) error {
	return func(ctx context.Context, _ storagetest.Op, _ string) error {
		select {
		case <-time.After(d):
			return errGoneBucket
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestABucketThatTakesNothingHoldsUpNoFill(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		inHand := [storers][]byte{randomBytes(8, 10), randomBytes(9, 10)}
		s := f.alone(newOrigin("library/x", inHand[:]...))
		f.common.fail(silence)
		for _, b := range inHand {
			s.want(b, Whole)
			synctest.Wait()
		}
		const more = 10
		for i := range mostStoring + more {
			d := digest.FromString(fmt.Sprint(i))
			ended := newFill(s.blobs, s.blobs.supplied(t.Context(), s.from, d), d)
			ended.supply.fetched = true
			s.blobs.settle(ended)
		}
		if n := s.events.count("stored false"); n != more {
			t.Errorf("%d blobs found no room, want %d", n, more)
		}
	})
}

func TestCloseIsHeldUpByNoBucketAndLosesNoByte(t *testing.T) {
	const size = 3 << 20
	for name, stop := range map[string]func(f *fleet, from *fakeOrigin){
		"while the bucket keeps silent": func(f *fleet, _ *fakeOrigin) { f.common.breakAfter(2<<20, true) },
		"while upstream keeps silent":   func(f *fleet, from *fakeOrigin) { f.common.breakAfter(1<<20, false); stall(from, 1<<20) },
		"while the bucket is asked":     func(f *fleet, _ *fakeOrigin) { f.common.fail(only(storagetest.Open, silence)) },
		"while a record is asked for":   func(f *fleet, _ *fakeOrigin) { f.common.fail(only(storagetest.Get, silence)) },
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			b := randomBytes(7, size)
			f.stock(newOrigin("library/x", b))
			from := newOrigin("library/x", b)
			s := f.alone(from)
			stop(f, from)
			done := make(chan error, 1)
			go func() { _, err := readBlob(t, s.blobs, from, digest.FromBytes(b), Whole); done <- err }() // ends with Close
			synctest.Wait()
			s.blobs.Close()
			if err := <-done; err == nil {
				t.Error("the reader has all of it")
			}
			had := f.common.given.bytes() + from.gave()
			f.common.fail(nil)
			f.common.breakAfter(-1, false)
			f.common.forget()

			again := f.start(BucketOptions{}, s.dir, newOrigin("library/x", b))
			again.want(b, Whole)
			if n := f.common.given.bytes() + again.from.gave(); n != size-had {
				t.Errorf("%d bytes were fetched after %d of %d", n, had, size)
			}
		})
	}
}

// Whoever stops a server soon after a pull loses nothing by it.
func TestWhatIsNotStoredAtCloseIsStoredByTheNextRun(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(context.Context, storagetest.Op, string) error
		here  bool // before the next run
	}{
		"the bucket takes it while it closes": {func(ctx context.Context, _ storagetest.Op, _ string) error {
			select {
			case <-time.After(parting / 2):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, true},
		"the bucket keeps silent": {silence, false},
		"the bucket refuses it":   {refusal, false},
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			b, dir := randomBytes(12, 3<<20), t.TempDir()
			in := func(o *BlobOptions) { o.Dir = dir }
			s := f.alone(newOrigin("library/x", b), in)
			f.common.fail(only(storagetest.Put, test.fault))
			s.want(b, Whole)
			s.close()
			if f.common.holds(b) != test.here {
				t.Errorf("in the bucket: %v", !test.here)
			}
			f.common.fail(nil)
			next := f.alone(newOrigin("library/x"), in)
			synctest.Wait()
			if !f.common.holds(b) {
				t.Error("the next run has not stored it")
			}
			next.close()
			if left := next.blobs.disk.readList(unstoredList); len(left) > 0 {
				t.Errorf("still to be stored: %v", left)
			}
		})
	}
}

func TestADamagedFileDoesNotReplaceWhatTheBucketHas(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b, dir := randomBytes(13, 100<<10), t.TempDir()
		in := func(o *BlobOptions) { o.Dir, o.Clean = dir, false }
		s := f.alone(newOrigin("library/x", b), in)
		s.want(b, Whole)
		s.close()
		if err := s.blobs.disk.writeList(unstoredList, []digest.Digest{digest.FromBytes(b)}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.blobs.disk.blobPath(digest.FromBytes(b)), b[:50<<10], 0o644); err != nil { // in an unclean stop
			t.Fatal(err)
		}
		f.alone(newOrigin("library/x"), in)
		synctest.Wait()
		if !f.common.holds(b) {
			t.Error("the bucket has other bytes now")
		}
	})
}
