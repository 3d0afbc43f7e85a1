package cache

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage/storagetest"
)

func TestServersTogetherFetchABlobOnce(t *testing.T) {
	for _, size := range []int{1, 6 << 20} {
		inFleet(t, fmt.Sprint(size, " bytes"), func(t *testing.T, f *fleet) {
			b := randomBytes(1, size)
			from := newOrigin("library/x", b)
			from.gate = make(chan struct{})
			together(b, from.gate, f.named("a", from), f.named("b", from), f.named("c", from), f.named("d", from))
			if from.gave() != int64(size) || from.twice > 0 {
				t.Errorf("upstream gave %d of %d bytes, %d twice", from.gave(), size, from.twice)
			}
			if n := f.common.count("put cache/blobs/"); n != 1 || !f.common.holds(b) {
				t.Errorf("it was stored %d times, right: %v", n, f.common.holds(b))
			}
			f.wantNoLease()
		})
	}
}

func TestWhatIsBeingStoredIsReadFromTheServerThatHasIt(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(2, 3<<20)
		a, other := f.named("a", newOrigin("library/x", b)), f.named("b", newOrigin("library/x", b))
		f.common.fail(only(storagetest.Put, silentFor(persistence/2)))
		a.want(b, Whole)
		time.Sleep(10 * turnLife)
		other.wantFrom(0, b, Whole)
		f.common.fail(nil)
		time.Sleep(persistence)
		f.wantNoLease()
		if n := other.events.count("stored true"); n > 0 || !f.common.holds(b) {
			t.Errorf("stored %d times by who only borrowed it, right: %v", n, f.common.holds(b))
		}
	})
}

func TestWhoeverIsFailedByAHolderTakesOver(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(4, 3<<20)
		f.lease(b, "dead")
		from := newOrigin("library/x", b)
		from.gate = make(chan struct{})
		first, second := f.named("first", from), f.named("second", from)
		go first.blobs.Open(t.Context(), from, digest.FromBytes(b), Whole) // ends with the gate
		time.Sleep(turnLife - time.Second)
		if h := f.holder(b); h != "dead" {
			t.Errorf("%q holds the lease too soon", h)
		}
		time.Sleep(turnLife)
		if h := f.holder(b); h != "first" {
			t.Errorf("%q holds the lease", h)
		}
		time.Sleep(10 * turnLife)
		together(b, from.gate, second)
		if from.twice > 0 || from.gave() != int64(len(b)) {
			t.Errorf("%d bytes, %d twice", from.gave(), from.twice)
		}
		f.wantNoLease()
	})
}

func TestALeaseOfWhoDiedIsGoneOnceTheBlobIsThere(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(5, 10)
		f.lease(b, "dead")
		f.named("s", newOrigin("library/x", b)).want(b, Whole)
		synctest.Wait()
		f.wantNoLease()
	})
}

func TestAServersOwnEarlierLeaseIsNotWaitedFor(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(6, 10)
		f.lease(b, "s")
		s := f.named("s", newOrigin("library/x", b))
		delete(f.peers, "s")
		s.wantFrom(10, b, Whole)
		if n := s.events.count("borrowed true"); n > 0 {
			t.Error("it asked itself")
		}
		f.wantNoLease()
	})
}

func TestARequestOfAnotherServerIsHandedToNoThird(t *testing.T) {
	for _, tier := range []string{"with a disk", "without a disk"} {
		inFleet(t, tier, func(t *testing.T, f *fleet) {
			b := randomBytes(7, 3<<20)
			up := newFakeManifests(nginx)
			man := up.push("1", "x")
			f.lease(b, "third")
			f.lease(man.Bytes, "third")
			third := &askedPeer{}
			f.peers["third"] = third
			s := f.named("s", newOrigin("library/x", b), diskTiers[tier])
			rd, err := s.blobs.Open(Alone(t.Context()), s.from, digest.FromBytes(b), Whole)
			if err != nil {
				t.Fatal(err)
			}
			defer rd.Close()
			if _, err := io.Copy(io.Discard, rd); err != nil {
				t.Error(err)
			}
			if _, err := s.manifests.Get(Alone(t.Context()), up, string(man.Digest)); err != nil {
				t.Error(err)
			}
			if n := third.n.Load(); n > 0 {
				t.Errorf("the third was asked %d times", n)
			}
		})
	}
}

func TestABucketThatFailsOverALeaseCostsNoPullAndLeavesNone(t *testing.T) {
	for name, test := range map[string]struct {
		op    storagetest.Op
		fault func(context.Context, storagetest.Op, string) error
		later bool // once the blob is being fetched
		left  bool // for who sweeps
	}{
		"taking is refused":               {op: storagetest.PutIf, fault: refusal},
		"taking gets no answer":           {op: storagetest.PutIf, fault: silence},
		"the answer to taking is lost":    {op: storagetest.PutIf, fault: lost, left: true},
		"renewing is refused":             {op: storagetest.PutIf, fault: refusal, later: true, left: true},
		"renewing gets no answer":         {op: storagetest.PutIf, fault: silence, later: true, left: true},
		"the answer to renewing is lost":  {op: storagetest.PutIf, fault: lost, later: true, left: true},
		"releasing is refused":            {op: storagetest.Delete, fault: refusal},
		"releasing gets no answer":        {op: storagetest.Delete, fault: silence},
		"the answer to releasing is lost": {op: storagetest.Delete, fault: lost},
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			b := randomBytes(8, 3<<20)
			from := newOrigin("library/x", b)
			from.gate = make(chan struct{})
			s := f.named("s", from)
			if !test.later {
				f.common.fail(only(test.op, test.fault))
			}
			time.AfterFunc(10*time.Second, func() { f.common.fail(only(test.op, test.fault)) })
			time.AfterFunc(time.Minute, func() { close(from.gate) })
			s.wantFrom(int64(len(b)), b, Whole)
			time.Sleep(time.Minute)
			f.common.fail(nil)
			time.Sleep(time.Minute)
			if !f.common.holds(b) {
				t.Error("the blob is not in the bucket")
			}
			if test.left {
				time.Sleep(staleLease)
				if _, err := s.bucket.Sweep(t.Context(), 0); err != nil {
					t.Error(err)
				}
			}
			f.wantNoLease()
		})
	}
}

func lost(context.Context, storagetest.Op, string) error { return errLost }

func TestCloseGivesLeasesBack(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(context.Context, storagetest.Op, string) error
		stop  func(o *fakeOrigin)
	}{
		"while it fetches":    {stop: func(o *fakeOrigin) { stall(o, 500_000) }},
		"before it fetches":   {stop: func(o *fakeOrigin) { o.gate = make(chan struct{}) }},
		"while it stores":     {fault: only(storagetest.Put, silence)},
		"before it can store": {fault: only(storagetest.Put, refusal)},
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			b := randomBytes(9, 3<<20)
			s := f.named("s", newOrigin("library/x", b))
			f.common.fail(test.fault)
			if test.stop != nil {
				test.stop(s.from)
			}
			go matchBlob(s.blobs, s.from, b, Whole) // ends with Close
			synctest.Wait()
			if h := f.holder(b); h != "s" {
				t.Errorf("%q holds the lease", h)
			}
			s.blobs.Close()
			f.wantNoLease()
		})
	}
}

func TestAFillThatFailedDoesNotEndTheLeaseOfTheNextOne(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(10, 3<<20)
		s := f.named("s", newOrigin("library/x", b))
		s.from.fail = func(int64, int64) error { return outage(CauseFailed) }
		f.common.fail(only(storagetest.Delete, func(context.Context, storagetest.Op, string) error { time.Sleep(time.Second); return nil }))
		if _, err := readBlob(t, s.blobs, s.from, digest.FromBytes(b), Whole); !IsOutage(err) {
			t.Fatal(err)
		}
		s.from.fail, s.from.gate = nil, make(chan struct{})
		go matchBlob(s.blobs, s.from, b, Whole) // ends with Close
		time.Sleep(2 * turnLife)
		if h := f.holder(b); h != "s" {
			t.Errorf("%q holds the lease", h)
		}
	})
}
