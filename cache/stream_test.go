package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
)

// noteSize has a manifest of the origin's repository claim a size for its only blob.
func noteSize(c *Blobs, o *fakeOrigin, d digest.Digest, size int64) {
	c.hints.Note(o.repo, &Manifest{Bytes: fmt.Appendf(nil, `{"layers":[{"digest":%q,"size":%d}]}`, d, size)})
}

func TestTheRestOfABlobWhoseSizeCameLateIsVerified(t *testing.T) {
	b := randomBytes(2, 3<<20)
	o := newOrigin("library/x", b)
	o.unsized, o.plain, o.gate = true, true, make(chan struct{})
	c := blobsAt(t, t.TempDir())
	f, _, err := c.fillFor(t.Context(), o, digest.FromBytes(b))
	if err != nil {
		t.Fatal(err)
	}
	close(o.gate)
	w, err := f.attach(context.Background(), Whole)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	settled(t, c)
	o.damage = func(b []byte) []byte { b[0] ^= 1; return b }
	rest, err := c.restOf(context.Background(), o, w)(0)
	if err != nil {
		t.Fatal(err)
	}
	defer rest.Close()
	if n, err := io.Copy(io.Discard, rest); !errors.Is(err, ErrCorrupt) || n >= int64(len(b)) {
		t.Errorf("%d of %d wrong bytes, err %v", n, len(b), err)
	}
}

func TestTheRestOfABlobAnswersForWhatWasSentBefore(t *testing.T) {
	b := randomBytes(14, 3<<20)
	for _, wrong := range []bool{false, true} {
		t.Run(fmt.Sprint("wrong bytes sent: ", wrong), func(t *testing.T) {
			o := silentAfter(2<<20, b)
			if wrong {
				o.damage = func(b []byte) []byte { b[0] ^= 1; return b }
			}
			c := blobsAt(t, t.TempDir())
			f, _, err := c.fillFor(t.Context(), o, digest.FromBytes(b))
			if err != nil {
				t.Fatal(err)
			}
			w, err := f.attach(context.Background(), Whole)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := io.CopyN(io.Discard, struct{ io.Reader }{w}, 1<<20); err != nil {
				t.Fatal(err)
			}
			good := newOrigin("library/x", b)
			rest, err := c.restOf(context.Background(), good, w)(w.pos)
			if err != nil {
				t.Fatal(err)
			}
			defer rest.Close()
			m := &matching{want: b[1<<20:]}
			_, err = rest.WriteTo(m)
			if complete := len(m.want) == 0; complete == wrong || m.wrong || errors.Is(err, ErrCorrupt) != wrong {
				t.Errorf("complete %v, wrong %v, err %v", complete, m.wrong, err)
			}
			if good.served.bytes() != 2<<20 {
				t.Errorf("%d bytes were fetched for the rest of %d", good.served.bytes(), 2<<20)
			}
		})
	}
}

func TestASizeThatAManifestMisstatesFailsNoStream(t *testing.T) {
	for _, size := range []int{1000, 3 << 20} {
		for _, claim := range []int64{1, 10 << 20} {
			for _, r := range []Range{Whole, {100, 900}, {-100, -1}} {
				t.Run(fmt.Sprint(size, " bytes as ", claim, " ", r), func(t *testing.T) {
					b := randomBytes(4, size)
					o := newOrigin("library/x", b)
					c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = 0 })
					noteSize(c, o, digest.FromBytes(b), claim)
					wantBlob(t, c, o, b, r)
				})
			}
		}
	}
}

func TestCloseEndsStreams(t *testing.T) {
	b := randomBytes(10, 3<<20)
	o := newOrigin("library/x", b)
	o.silent, o.cut = true, func(int64) int64 { return 2 << 20 }
	c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = 0 })
	rd, err := c.Open(context.Background(), o, digest.FromBytes(b), Whole)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	if _, err := io.CopyN(io.Discard, rd, 1<<20); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := io.Copy(io.Discard, rd); !errors.Is(err, errPaused) {
		t.Errorf("err = %v, want %v", err, errPaused)
	}
}

func TestABlobKnownToBeTooLargeIsAskedForOncePerReader(t *testing.T) {
	b := randomBytes(13, 3<<20)
	o := newOrigin("library/x", b)
	c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = 1 << 20 })
	noteSize(c, o, digest.FromBytes(b), int64(len(b)))
	wantBlob(t, c, o, b, Whole)
	if gets, stats := o.requests(); gets != 1 || stats != 0 {
		t.Errorf("%d GETs and %d HEADs, want one GET", gets, stats)
	}
}

func TestAnAbsentBlobIsRememberedWithoutADisk(t *testing.T) {
	clock := newManualClock()
	o := newOrigin("library/x")
	c := blobsAt(t, t.TempDir(), func(b *BlobOptions) { b.Size, b.Now, b.NegativeTTL = 0, clock.now, corruptFor })
	for range 3 {
		if _, err := readBlob(t, c, o, digest.FromString("absent"), Whole); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	if gets, _ := o.requests(); gets != 1 {
		t.Errorf("an absent blob was asked for %d times", gets)
	}
}
