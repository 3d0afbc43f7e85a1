package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
)

// notedEvents counts what these tests ask about.
type notedEvents struct {
	NoEvents
	unverified atomic.Int64
}

func (e *notedEvents) Unverified() { e.unverified.Add(1) }

func TestARangeBesideAnotherOneFetchesNoByteTwice(t *testing.T) {
	f := newFill(nil, nil, "")
	f.size, f.ranged = 60<<20, true
	f.have.add(40<<20, 41<<20)
	f.readers[&follower{pos: 40<<20 - 100, end: 40<<20 - 50, waits: true}] = struct{}{}
	if want, _ := f.next(); want != (span{40<<20 - 100, 40 << 20}) {
		t.Errorf("bytes %d-%d are to be fetched, want the 100 before byte %d, which is there", want.from, want.to, 40<<20)
	}
}

// parkBlob leaves the first bytes of a blob in a folder, as if a fill had been paused.
func parkBlob(t *testing.T, dir string, b []byte, size, have int64) {
	t.Helper()
	p, err := testDisk(t, dir, 1<<30).create(digest.FromBytes(b), size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.file.WriteAt(b[:min(have, int64(len(b)))], 0); err != nil {
		t.Fatal(err)
	}
	if err := p.park(extents{{0, have}}); err != nil {
		t.Fatal(err)
	}
}

func TestAPartialBlobOfAnotherSizeIsFetchedAnew(t *testing.T) {
	b := randomBytes(3, 3<<20)
	for name, size := range map[string]int64{"smaller": 1 << 20, "larger": 5 << 20, "larger, and upstream has no more": 10 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			parkBlob(t, dir, b, size, size/2)
			c := blobsAt(t, dir)
			wantBlob(t, c, newOrigin("library/x", b), b, Whole)
			settled(t, c)
			if u := c.Usage(); u.Blobs != 1 || u.Reserved != 0 {
				t.Errorf("usage %+v", u)
			}
		})
	}
}

func TestADropWhileSkippingToWhatIsMissingIsResumed(t *testing.T) {
	b := randomBytes(3, 3<<20)
	o := newOrigin("library/x", b)
	o.plain = true
	var answers atomic.Int64
	o.cut = func(int64) int64 {
		if answers.Add(1) == 1 {
			return 1 << 20
		}
		return -1
	}
	dir := t.TempDir()
	parkBlob(t, dir, b, int64(len(b)), 2<<20)
	wantBlob(t, blobsAt(t, dir), o, b, Whole)
}

func TestBlobsOfEveryAlgorithmAreKept(t *testing.T) {
	b := randomBytes(4, 3<<20)
	for _, a := range []digest.Algorithm{digest.SHA384, digest.SHA512} {
		o := newOrigin("library/x")
		d := a.FromBytes(b)
		o.content[d] = b
		dir := t.TempDir()
		c := blobsAt(t, dir)
		for range 2 {
			if got, err := readBlob(t, c, o, d, Whole); err != nil || a.FromBytes(got) != d {
				t.Errorf("%s: %d bytes, err %v", a, len(got), err)
			}
			settled(t, c)
			c.Close()
			c = blobsAt(t, dir)
		}
		if gets, _ := o.requests(); gets > 2 {
			t.Errorf("%s: %d requests for a blob that is kept", a, gets)
		}
	}
}

func TestAnOutageOfAnotherRegistryIsNotOurs(t *testing.T) {
	b := randomBytes(5, 3<<20)
	d := digest.FromBytes(b)
	down, up := newOrigin("library/x"), newOrigin("library/y", b)
	down.gate = make(chan struct{})
	down.fail = func(int64, int64) error { return &UnavailableError{Upstream: "down", Cause: CauseFailed} }
	c := blobsAt(t, t.TempDir())
	if _, _, err := c.fillFor(t.Context(), down, d); err != nil {
		t.Fatal(err)
	}
	up.stat = func() (int64, error) { close(down.gate); return int64(len(b)), nil } // asked before it joins
	wantBlob(t, c, up, b, Whole)
}

func TestRangesOfAFileInDoubtAreCounted(t *testing.T) {
	b := randomBytes(6, 3<<20)
	o := newOrigin("library/x", b)
	dir := t.TempDir()
	c := blobsAt(t, dir)
	wantBlob(t, c, o, b, Whole)
	c.Close()
	var events notedEvents
	c = blobsAt(t, dir, func(o *BlobOptions) { o.Clean, o.Events = false, &events })
	wantBlob(t, c, o, b, Range{100, 200})
	if n := events.unverified.Load(); n != 1 {
		t.Errorf("%d ranges were counted as unverified, want 1", n)
	}
}

func TestWhatIsKeptIsServedAlthoughItsRegistrySentWrongBytes(t *testing.T) {
	b := randomBytes(7, 3<<20)
	d := digest.FromBytes(b)
	bad, good := newOrigin("library/x", b), newOrigin("library/y", b)
	bad.damage = func(b []byte) []byte { b[0] ^= 1; return b }
	clock := newManualClock()
	c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Now = clock.now })
	if _, err := readBlob(t, c, bad, d, Whole); err == nil {
		t.Fatal("wrong bytes were served")
	}
	settled(t, c)
	wantBlob(t, c, good, b, Whole)
	settled(t, c)
	wantBlob(t, c, bad, b, Whole)
}

func TestAMisstatedSizeCostsNobodyElseABlob(t *testing.T) {
	for _, size := range []int{1000, 3 << 20} {
		b := randomBytes(8, size)
		honest, liar := newOrigin("library/x", b), newOrigin("library/y", b)
		liar.stat = func() (int64, error) { return 5, nil }
		c := blobsAt(t, t.TempDir())
		wantBlob(t, c, honest, b, Whole)
		settled(t, c)
		for range 2 {
			wantBlob(t, c, liar, b, Whole)
		}
		if gets, stats := liar.requests(); gets != 0 || stats > 1 {
			t.Errorf("%d bytes: %d GETs and %d HEADs for a blob that was here and right", size, gets, stats)
		}
	}
}

func TestABlobIsServedByARegistryThatNamesNoSizeAndFailsAtHead(t *testing.T) {
	b := randomBytes(9, 3<<20)
	for _, plain := range []bool{false, true} {
		o := newOrigin("library/x", b)
		o.unsized, o.plain = true, plain
		o.stat = func() (int64, error) { return 0, &UnavailableError{Upstream: "docker.io", Cause: CauseFailed} }
		wantBlob(t, blobsAt(t, t.TempDir()), o, b, Whole)
	}
}

func TestABusyCacheKeepsNoDescriptorOfAFileInDoubt(t *testing.T) {
	b, other := randomBytes(11, 3<<20), randomBytes(12, 3<<20)
	o := newOrigin("library/x", b, other)
	dir := t.TempDir()
	c := blobsAt(t, dir)
	wantBlob(t, c, o, b, Whole)
	c.Close()
	c = blobsAt(t, dir, func(o *BlobOptions) { o.Clean, o.MaxFills = false, 1 })
	slow := newOrigin("library/y", other)
	slow.gate = make(chan struct{})
	defer close(slow.gate)
	if _, _, err := c.fillFor(t.Context(), slow, digest.FromBytes(other)); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, c, o, b, Whole)
	if n := c.disk.index[digest.FromBytes(b)].pins; n != 0 {
		t.Errorf("%d descriptors leaked", n)
	}
}

// silentAfter makes an origin whose answers stop after n bytes and leave the connection open.
func silentAfter(n int64, blobs ...[]byte) *fakeOrigin {
	o := newOrigin("library/x", blobs...)
	o.plain, o.silent, o.cut = true, true, func(int64) int64 { return n }
	return o
}

func TestNoReaderSeesBytesThatWillBeWrittenAgain(t *testing.T) {
	b := randomBytes(13, 3<<20)
	dir := t.TempDir()
	p, err := testDisk(t, dir, 1<<30).create(digest.FromBytes(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.park(extents{{0, 10}, {1 << 20, 2 << 20}}); err != nil {
		t.Fatal(err)
	}
	f, _, err := blobsAt(t, dir).fillFor(t.Context(), silentAfter(100, b), digest.FromBytes(b)) // a registry without ranges
	if err != nil {
		t.Fatal(err)
	}
	<-f.settled
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have.reach(0) < 10 || f.have.reach(1<<20) > 1<<20 {
		t.Errorf("readers see %v: a reader could take the old bytes, and the hash the new ones", f.have)
	}
}

func TestNoReaderOfAnEndedFillOpensTheFileOfTheNextOne(t *testing.T) {
	b := randomBytes(14, 3<<20)
	d := digest.FromBytes(b)
	c := blobsAt(t, t.TempDir())
	ended, _, err := c.fillFor(t.Context(), newOrigin("library/x", b), d)
	if err != nil {
		t.Fatal(err)
	}
	settled(t, c)
	c.dropHere(d)
	next, _, err := c.fillFor(t.Context(), silentAfter(100, b), d)
	if err != nil {
		t.Fatal(err)
	}
	<-next.settled
	if w, err := ended.attach(context.Background(), Whole); !errors.Is(err, errMoved) {
		t.Errorf("err = %v, want %v", err, errMoved)
		w.Close()
	}
}
