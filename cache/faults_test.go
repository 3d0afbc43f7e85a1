package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestWrongBytesNeverLookComplete(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"a flipped byte":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"an error page":    func(b []byte) []byte { return []byte("<html>502</html>") },
		"short":            func(b []byte) []byte { return b[:len(b)/2] },
		"short, then long": func(b []byte) []byte { return append(b, 'x') },
	}
	for _, size := range []int{10, smallBlob, 100_000, 3 << 20, firstChunk + chunkBytes + 1} {
		for name, damage := range damages {
			for _, disk := range []int64{1 << 30, 0} {
				t.Run(fmt.Sprint(name, " ", size, " disk ", disk), func(t *testing.T) {
					b := randomBytes(1, size)
					o := newOrigin("library/x", b)
					o.plain = true
					o.damage = damage
					clock := newManualClock()
					c := blobsAt(t, t.TempDir(), func(b *BlobOptions) { b.Size, b.Now = disk, clock.now })
					n, whole, err := matchBlob(c, o, b, Whole)
					if !whole && (err == nil || n >= int64(size)) {
						t.Errorf("%d bytes, err %v: wrong bytes look complete", n, err)
					}
					if size <= smallBlob && n > 0 && err != nil {
						t.Errorf("%d bytes of a small blob were sent before it was verified", n)
					}
					settled(t, c)
					o.damage = nil
					clock.advance(corruptFor)
					if name == "an error page" && size > smallBlob { // its bytes may have been kept to be resumed: they fail once more
						matchBlob(c, o, b, Whole)
						settled(t, c)
					}
					wantBlob(t, c, o, b, Whole)
				})
			}
		}
	}
}

func TestACorruptBlobIsNotAskedForAgainAtOnceAndThenByOneStream(t *testing.T) {
	b := randomBytes(2, 12<<20)
	o := newOrigin("library/x", b)
	o.damage = func(b []byte) []byte { b[0] ^= 1; return b }
	clock := newManualClock()
	c := blobsAt(t, t.TempDir(), func(b *BlobOptions) { b.Now = clock.now })
	if _, err := readBlob(t, c, o, digest.FromBytes(b), Whole); err == nil {
		t.Fatal("wrong bytes were served")
	}
	settled(t, c)
	gets, _ := o.requests()
	if _, err := readBlob(t, c, o, digest.FromBytes(b), Whole); !errors.Is(err, ErrCorrupt) {
		t.Errorf("err = %v, want ErrCorrupt", err)
	}
	if again, _ := o.requests(); again != gets {
		t.Error("asked again at once")
	}
	clock.advance(corruptFor)
	o.damage = nil
	wantBlob(t, c, o, b, Whole)
	if again, _ := o.requests(); again != gets+1 {
		t.Errorf("the next fill took %d requests, want one stream", again-gets)
	}
}

func TestDropsAreResumedAtTheOffset(t *testing.T) {
	for _, disk := range []int64{1 << 30, 0} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprint("disk ", disk, " plain ", plain), func(t *testing.T) {
				b := randomBytes(3, 9<<20)
				o := newOrigin("library/x", b)
				o.plain = plain && disk > 0
				var answers atomic.Int64
				o.cut = func(off int64) int64 {
					if n := answers.Add(1); plain && n > 3 {
						return -1
					}
					return 700_000
				}
				c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = disk })
				wantBlob(t, c, o, b, Whole)
				if !o.plain && o.twice > 0 {
					t.Errorf("%d bytes twice", o.twice)
				}
			})
		}
	}
}

func TestAFifthOfAnswersFailing(t *testing.T) {
	b := randomBytes(4, 30<<20)
	o := newOrigin("library/x", b)
	var n atomic.Int64
	o.fail = func(off, _ int64) error {
		if off > 0 && n.Add(1)%5 == 0 {
			return &UnavailableError{Upstream: "docker.io", Cause: CauseFailed, Err: errors.New("503")}
		}
		return nil
	}
	wantBlob(t, blobsAt(t, t.TempDir()), o, b, Whole)
}

func TestErrorsBeforeTheFirstByteReachEveryReader(t *testing.T) {
	want := &UnavailableError{Upstream: "docker.io", Cause: CauseTimeout, Err: errors.New("no answer")}
	o := newOrigin("library/x")
	o.gate = make(chan struct{})
	o.fail = func(int64, int64) error { return want }
	c := blobsAt(t, t.TempDir())
	d := digest.FromString("x")
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := c.Open(context.Background(), o, d, Whole)
			errs <- err
		}()
	}
	close(o.gate)
	for range 8 {
		if err := <-errs; !errors.Is(err, want) {
			t.Errorf("err = %v, want %v", err, want)
		}
	}
}

func TestPartialFilesSurviveARestart(t *testing.T) {
	b := randomBytes(5, 100<<20)
	for _, way := range []string{"closed", "killed"} {
		t.Run(way, func(t *testing.T) {
			o := newOrigin("library/x", b)
			gate := make(chan struct{})
			o.fail = func(off, n int64) error {
				if off > 90<<20 {
					<-gate
				}
				return nil
			}
			dir := t.TempDir()
			c := blobsAt(t, dir)
			rd, err := c.Open(context.Background(), o, digest.FromBytes(b), Whole)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, rd, 88<<20); err != nil {
				t.Fatal(err)
			}
			rd.Close()
			f := c.fills[digest.FromBytes(b)]
			if way == "killed" { // what is on the disk now is what a new process finds
				for saved := false; !saved; {
					f.mu.Lock()
					saved = f.unsaved < saveEvery && !f.saving
					f.mu.Unlock()
				}
				old := dir
				dir = t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(old)); err != nil {
					t.Fatal(err)
				}
			}
			o.mu.Lock()
			before := o.served.bytes()
			o.mu.Unlock()
			c.cancel(errPaused)
			close(gate)
			c.Close()
			o.fail = nil

			c = blobsAt(t, dir, func(o *BlobOptions) { o.Clean = way == "closed" })
			wantBlob(t, c, o, b, Whole)
			if lost := o.twice; way == "closed" && lost != 0 || lost > before-saveEvery {
				t.Errorf("%d bytes were fetched again after %d had come", lost, before)
			}
		})
	}
}

func TestABlobThatDoesNotFitIsStreamed(t *testing.T) {
	for _, size := range []int{1000, 3 << 20, 12 << 20} {
		for _, limit := range []int64{0, 8192} {
			t.Run(fmt.Sprint(size, " bytes into ", limit), func(t *testing.T) {
				b := randomBytes(6, size)
				o := newOrigin("library/x", b)
				c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = limit })
				wantBlob(t, c, o, b, Whole)
				wantBlob(t, c, o, b, Range{100, 900})
				wantBlob(t, c, o, b, Range{-100, -1})
				wantBlob(t, c, o, b, Whole)
				if u := c.Usage(); u.Used+u.Reserved > limit {
					t.Errorf("usage %+v", u)
				}
			})
		}
	}
}

func TestTheTierStaysWithinItsBound(t *testing.T) {
	const limit = 20 << 20
	var blobs [][]byte
	for i := range 30 {
		blobs = append(blobs, randomBytes(uint64(i), (i%5+1)<<20))
	}
	o := newOrigin("library/x", blobs...)
	c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = limit })
	held, err := c.Open(context.Background(), o, digest.FromBytes(blobs[1]), Whole)
	if err != nil {
		t.Fatal(err)
	}
	settled(t, c)
	held.Close()
	held, err = c.Open(context.Background(), o, digest.FromBytes(blobs[1]), Whole)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for _, b := range blobs {
			wantBlob(t, c, o, b, Whole)
			settled(t, c)
			if u := c.Usage(); u.Used+u.Reserved > limit || u.Reserved != 0 {
				t.Fatalf("round %d: %+v is over %d", round, u, limit)
			}
		}
	}
	if _, ok := c.disk.has(digest.FromBytes(blobs[1])); !ok {
		t.Error("a blob that is being read was evicted")
	}
	held.Close()
}

func TestRecordsCountAgainstTheBound(t *testing.T) {
	b := randomBytes(7, 3<<20)
	o := newOrigin("library/x", b)
	c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = 4 << 20 })
	wantBlob(t, c, o, b, Whole)
	settled(t, c)
	c.SetRecordBytes(2 << 20)
	if u := c.Usage(); u.Used != 0 {
		t.Errorf("blobs did not make room for records: %+v", u)
	}
	wantBlob(t, c, o, b, Whole) // streamed
}

// Every operation of the disk fails in its turn; the pull succeeds each time, and afterwards nothing wrong is kept.
func TestPullsSucceedWhicheverDiskOperationFails(t *testing.T) {
	b := randomBytes(8, firstChunk+100_000)
	for n := 1; ; n++ {
		o := newOrigin("library/x", b)
		dir := t.TempDir()
		files := &failingFiles{at: int64(n), err: fmt.Errorf("operation %d failed", n)}
		memory, _ := NewMemory(1 << 20)
		seen := newTestSeen(t, memory)
		options := BlobOptions{Dir: dir, Size: 1 << 30, Clean: true, Memory: memory, Seen: seen,
			Jitter: func(time.Duration) time.Duration { return time.Millisecond }}
		c, err := openBlobs(options.withDefaults(), files)
		if err == nil {
			wantBlob(t, c, o, b, Whole)
			settled(t, c)
			wantBlob(t, c, o, b, Range{100, 1 << 20})
			settled(t, c)
			c.dropHere(digest.FromBytes(b))
			if err := c.Close(); err != nil && !errors.Is(err, files.err) {
				t.Fatal(err)
			}
		} else if !errors.Is(err, files.err) {
			t.Fatal(err)
		}
		if o.open != 0 {
			t.Errorf("operation %d: %d answers were not closed", n, o.open)
		}
		if u := c; u != nil && (u.Usage().Reserved != 0 || u.Usage().Used != 0) {
			t.Errorf("operation %d: space leaked: %+v", n, u.Usage())
		}
		c = blobsAt(t, dir, func(o *BlobOptions) { o.Seen = seen })
		wantBlob(t, c, o, b, Whole)
		settled(t, c)
		wantBlob(t, c, o, b, Whole)
		if files.done.Load() < int64(n) {
			if n < 10 {
				t.Errorf("only %d disk operations were tried", n)
			}
			return
		}
	}
}
