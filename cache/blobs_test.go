package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestBlobIsFetchedOnceAndServedFromThenOn(t *testing.T) {
	for _, size := range []int{0, 1, 1000, smallBlob, smallBlob + 1, firstChunk, firstChunk + 1, 3 << 20, 20<<20 + 7} {
		for _, kind := range []string{"ranges", "plain", "unsized"} {
			t.Run(fmt.Sprint(size, " bytes, ", kind), func(t *testing.T) {
				b := randomBytes(1, size)
				o := newOrigin("library/x", b)
				o.plain, o.unsized = kind != "ranges", kind == "unsized"
				dir := t.TempDir()
				c := blobsAt(t, dir)
				for range 3 {
					wantBlob(t, c, o, b, Whole)
				}
				settled(t, c)
				if o.served.bytes() != int64(size) || o.twice != 0 {
					t.Errorf("served %v, %d bytes twice; want each of %d once", o.served, o.twice, size)
				}
				c.Close()

				o.content = nil // upstream forgets; another process serves what was kept
				wantBlob(t, blobsAt(t, dir, func(b *BlobOptions) { b.Seen = c.seen }), o, b, Whole)
			})
		}
	}
}

func TestManyReadersShareOneFill(t *testing.T) {
	b := randomBytes(2, 12<<20)
	o := newOrigin("library/x", b)
	c := blobsAt(t, t.TempDir())
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if n, whole, err := matchBlob(c, o, b, Whole); err != nil || !whole {
				t.Errorf("got %d bytes, right and complete: %v, err %v", n, whole, err)
			}
		})
	}
	wg.Wait()
	if o.twice != 0 {
		t.Errorf("%d bytes were fetched twice", o.twice)
	}
}

func TestFillOutlivesItsReaders(t *testing.T) {
	b := randomBytes(3, 12<<20)
	o := newOrigin("library/x", b)
	c := blobsAt(t, t.TempDir())
	rd, err := c.Open(context.Background(), o, digest.FromBytes(b), Whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rd.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	rd.Close()
	settled(t, c)
	gets, _ := o.requests()
	wantBlob(t, c, o, b, Whole)
	if again, _ := o.requests(); again != gets || o.twice != 0 {
		t.Errorf("%d requests became %d; %d bytes twice", gets, again, o.twice)
	}
}

func TestRangesOfAColdBlob(t *testing.T) {
	const size = 20 << 20
	b := randomBytes(4, size)
	for _, r := range []Range{{0, 1}, {0, -1}, {5, 10}, {size - 1, -1}, {-1, -1}, {-20000, -1}, {15 << 20, 16 << 20},
		{size - 10, size + 10}, {-2 * size, -1}} {
		t.Run(fmt.Sprint(r), func(t *testing.T) {
			o := newOrigin("library/x", b)
			c := blobsAt(t, t.TempDir())
			wantBlob(t, c, o, b, r)
			settled(t, c)
			wantBlob(t, c, o, b, Whole)
			if o.served.bytes() != size || o.twice != 0 {
				t.Errorf("served %d bytes, %d of them twice; want %d once", o.served.bytes(), o.twice, size)
			}
		})
	}
}

func TestARangeDoesNotWaitForWhatComesBefore(t *testing.T) {
	const size = 40 << 20
	b := randomBytes(5, size)
	o := newOrigin("library/x", b)
	front := make(chan struct{})
	o.fail = func(off, n int64) error {
		if off > 0 && off < 20<<20 {
			<-front // the middle of the blob hangs
		}
		return nil
	}
	c := blobsAt(t, t.TempDir())
	wantBlob(t, c, o, b, Range{-20000, -1})
	wantBlob(t, c, o, b, Range{30 << 20, 30<<20 + 100})
	close(front)
	wantBlob(t, c, o, b, Whole)
	if o.twice != 0 {
		t.Errorf("%d bytes twice", o.twice)
	}
}

func TestRangeThatDoesNotExist(t *testing.T) {
	b := randomBytes(6, 100)
	o := newOrigin("library/x", b)
	c := blobsAt(t, t.TempDir())
	for _, r := range []Range{{100, -1}, {500, 600}, {5, 5}} {
		_, err := readBlob(t, c, o, digest.FromBytes(b), r)
		var re *RangeError
		if !errors.As(err, &re) || re.Size != 100 {
			t.Errorf("%v: err = %v, want a RangeError that names 100 bytes", r, err)
		}
	}
}

func TestWhatMayBeServedIsDecidedByRepository(t *testing.T) {
	b := randomBytes(7, 3<<20)
	d := digest.FromBytes(b)
	mine, other, theirs := newOrigin("library/mine", b), newOrigin("library/other"), newOrigin("library/theirs", b)
	gate := make(chan struct{})
	mine.gate = gate
	c := blobsAt(t, t.TempDir())
	done := make(chan error)
	go func() { _, err := readBlob(t, c, mine, d, Whole); done <- err }()
	for {
		if gets, _ := mine.requests(); gets > 0 {
			break
		}
	}
	if _, err := readBlob(t, c, other, d, Whole); !errors.Is(err, ErrNotFound) {
		t.Errorf("joining a running fill from a repository without the blob: %v", err)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := readBlob(t, c, other, d, Whole); !errors.Is(err, ErrNotFound) {
		t.Errorf("a repository without the blob: %v", err)
	}
	if _, _, err := c.Stat(context.Background(), other, d); !errors.Is(err, ErrNotFound) {
		t.Errorf("HEAD in a repository without the blob: %v", err)
	}
	if _, ok := c.Hot(other.repo, d); ok {
		t.Error("Hot serves a repository without the blob")
	}
	wantBlob(t, c, theirs, b, Whole)
	if gets, stats := theirs.requests(); gets != 0 || stats != 1 {
		t.Errorf("a second repository with the blob cost %d GETs and %d HEADs, want one HEAD", gets, stats)
	}
}

func TestHeadOfAColdBlobStartsNoFill(t *testing.T) {
	b := randomBytes(8, 3<<20)
	o := newOrigin("library/x", b)
	c := blobsAt(t, t.TempDir())
	size, tier, err := c.Stat(context.Background(), o, digest.FromBytes(b))
	if gets, stats := o.requests(); err != nil || size != 3<<20 || tier != TierUpstream || gets != 0 || stats != 1 {
		t.Errorf("size %d, tier %s, err %v, %d GETs, %d HEADs", size, tier, err, gets, stats)
	}
}

func TestAnswersAreRememberedForATime(t *testing.T) {
	clock := newManualClock()
	o := newOrigin("library/x")
	c := blobsAt(t, t.TempDir(), func(b *BlobOptions) { b.Now, b.NegativeTTL = clock.now, corruptFor })
	d := digest.FromString("absent")
	for range 5 {
		if _, err := readBlob(t, c, o, d, Whole); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		settled(t, c)
	}
	if gets, _ := o.requests(); gets != 1 {
		t.Errorf("an absent blob was asked for %d times", gets)
	}
	clock.advance(corruptFor)
	readBlob(t, c, o, d, Whole)
	if gets, _ := o.requests(); gets != 2 {
		t.Errorf("after its time: %d requests in all, want 2", gets)
	}
}

func TestDamagedFilesAreNotServed(t *testing.T) {
	for _, size := range []int{1000, 3 << 20} {
		for _, f := range []struct {
			name   string
			clean  bool
			damage func(path string) error
		}{
			{"truncated", true, func(p string) error { return os.Truncate(p, int64(size-1)) }},
			{"removed", true, os.Remove},
			{"a byte flipped while it was down", false, func(p string) error {
				b, err := os.ReadFile(p)
				b[size/2] ^= 1
				return errors.Join(err, os.WriteFile(p, b, 0o644))
			}},
		} {
			t.Run(fmt.Sprint(f.name, " ", size), func(t *testing.T) {
				b := randomBytes(9, size)
				o := newOrigin("library/x", b)
				dir := t.TempDir()
				c := blobsAt(t, dir)
				wantBlob(t, c, o, b, Whole)
				c.Close()
				if err := f.damage(c.disk.blobPath(digest.FromBytes(b))); err != nil {
					t.Fatal(err)
				}
				c = blobsAt(t, dir, func(o *BlobOptions) { o.Clean, o.Seen = f.clean, c.seen })
				got, err := readBlob(t, c, o, digest.FromBytes(b), Whole)
				if err == nil && !bytes.Equal(got, b) || len(got) == size && err != nil {
					t.Fatalf("%d bytes, err %v: a damaged blob looked complete", len(got), err)
				}
				if size <= smallBlob && err != nil {
					t.Errorf("a small blob is verified before it is promised, and could have been fetched again: %v", err)
				}
				settled(t, c)
				wantBlob(t, c, o, b, Whole)
			})
		}
	}
}

func TestAfterAnUncleanStopABlobIsVerifiedOnce(t *testing.T) {
	b, never := randomBytes(10, 3<<20), randomBytes(11, 3<<20)
	o := newOrigin("library/x", b, never)
	dir := t.TempDir()
	c := blobsAt(t, dir)
	wantBlob(t, c, o, b, Whole)
	wantBlob(t, c, o, never, Whole)
	c.Close()
	c = blobsAt(t, dir, func(o *BlobOptions) { o.Clean = false })
	wantBlob(t, c, o, b, Whole)
	settled(t, c)
	c.Close()
	c = blobsAt(t, dir)
	for blob, want := range map[digest.Digest]bool{digest.FromBytes(b): true, digest.FromBytes(never): false} {
		if got := c.disk.index[blob].verified; got != want {
			t.Errorf("%s verified = %v, want %v", blob, got, want)
		}
	}
	gets, _ := o.requests()
	wantBlob(t, c, o, never, Whole)
	if again, _ := o.requests(); again != gets {
		t.Error("a blob that only had to be verified was fetched again")
	}
}

func TestManyBlobsAreIndexed(t *testing.T) {
	const n = 10_000
	dir := t.TempDir()
	for i := range n {
		d := digest.FromString(fmt.Sprint(i))
		path := filepath.Join(dir, "blobs", "sha256", d.Encoded()[:2], d.Encoded())
		f, err := os.Create(path)
		if os.IsNotExist(err) {
			os.MkdirAll(filepath.Dir(path), 0o755)
			f, err = os.Create(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	c := blobsAt(t, dir)
	if got := c.Usage().Blobs; got != n {
		t.Errorf("indexed %d blobs, want %d", got, n)
	}
}

func TestPrefetchTakesTheOtherLayersWhenTheFirstIsAsked(t *testing.T) {
	config, l1, l2, l3 := randomBytes(1, 100), randomBytes(2, 2<<20), randomBytes(3, 2<<20), randomBytes(4, 100)
	manifest := func() *Manifest {
		d := func(b []byte) string { return digest.FromBytes(b).String() }
		return &Manifest{Bytes: fmt.Appendf(nil, `{"config":{"digest":%q,"size":100},"layers":[{"digest":%q,"size":%d},{"digest":%q,"size":%d},{"digest":%q,"size":100}]}`,
			d(config), d(l1), len(l1), d(l2), len(l2), d(l3))}
	}
	f := func(name string, ask []byte, r Range, spare bool, want int) {
		t.Run(name, func(t *testing.T) {
			o := newOrigin("library/x", config, l1, l2, l3)
			o.noSpare = !spare
			c := blobsAt(t, t.TempDir(), func(b *BlobOptions) { b.Prefetch = true })
			c.hints.Note(o.repo, manifest())
			wantBlob(t, c, o, ask, r)
			for len(c.queue) > 0 {
			}
			settled(t, c)
			c.Close()
			if got := len(c.disk.index) + len(c.disk.idle); got != want {
				t.Errorf("%d blobs are on the disk, want %d", got, want)
			}
		})
	}
	f("a layer brings the others", l1, Whole, true, 3)
	f("a config brings nothing", config, Whole, true, 1)
	f("a range brings nothing", l1, Range{1, 50}, true, 1)
	f("a spent budget brings nothing", l1, Whole, false, 1)
}
