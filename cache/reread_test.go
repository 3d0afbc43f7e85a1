package cache

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

// shelf is a cache whose disk tier has these blobs. The second is larger than one piece.
func shelf(t *testing.T, clean bool) (c *Blobs, o *fakeOrigin, blobs [][]byte) {
	t.Helper()
	blobs = [][]byte{randomBytes(1, 1000), randomBytes(2, 3*pieceBytes+10), randomBytes(3, 100_000)}
	o = newOrigin("library/x", blobs...)
	dir := t.TempDir()
	c = blobsAt(t, dir)
	for _, b := range blobs {
		wantBlob(t, c, o, b, Whole)
	}
	settled(t, c)
	if !clean {
		c.Close()
		c = blobsAt(t, dir, func(o *BlobOptions) { o.Clean, o.Seen = false, c.seen })
	}
	return c, o, blobs
}

func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o644)
}

func TestVerifyFindsNothingWrongWithWhatIsRight(t *testing.T) {
	for _, clean := range []bool{true, false} {
		c, _, blobs := shelf(t, clean)
		var want, waited int64
		for _, b := range blobs {
			want += int64(len(b))
		}
		var told []VerifyReport
		got, err := c.Verify(t.Context(), func(_ context.Context, n int) error {
			if waited += int64(n); n > pieceBytes || n <= 0 {
				t.Errorf("a piece of %d bytes", n)
			}
			return nil
		}, func(r VerifyReport) { told = append(told, r) })
		if err != nil || got.Blobs != len(blobs) || got.Bytes != want || len(got.Damaged) != 0 {
			t.Errorf("%+v, %v; want %d blobs of %d bytes", got, err, len(blobs), want)
		}
		if waited != want {
			t.Errorf("waited for %d bytes, want %d", waited, want)
		}
		if len(told) != len(blobs) || told[len(told)-1].Bytes != want {
			t.Errorf("progress %+v", told)
		}
		for d, e := range c.disk.index {
			if !e.verified {
				t.Errorf("%s was read and found right, and is not verified", d)
			}
		}
	}
}

func TestVerifyDropsWhatIsDamaged(t *testing.T) {
	for _, f := range []struct {
		name   string
		damage func(path string) error
	}{
		{"a byte flipped", flip},
		{"truncated", func(p string) error { return os.Truncate(p, 500) }},
		{"empty", func(p string) error { return os.Truncate(p, 0) }},
		{"grown", func(p string) error { return os.Truncate(p, 1<<20) }},
		{"deleted", os.Remove},
	} {
		for i := range 3 {
			t.Run(f.name, func(t *testing.T) {
				c, o, blobs := shelf(t, true)
				bad := digest.FromBytes(blobs[i])
				if err := f.damage(c.disk.blobPath(bad)); err != nil {
					t.Fatal(err)
				}
				got, err := c.Verify(t.Context(), nil, nil)
				if err != nil || got.Blobs != 3 || !slices.Equal(got.Damaged, []string{bad.String()}) {
					t.Errorf("%+v, %v; want 3 blobs, damaged %s", got, err, bad)
				}
				if _, _, ok := c.local(bad); ok {
					t.Error("the damaged blob is still kept")
				}
				if u := c.Usage(); u.Blobs != 2 {
					t.Errorf("%+v, want 2 blobs", u)
				}
				wantBlob(t, c, o, blobs[i], Whole)
				settled(t, c)
				if got, err := c.Verify(t.Context(), nil, nil); err != nil || got.Blobs != 3 || got.Damaged != nil {
					t.Errorf("after it was fetched again: %+v, %v", got, err)
				}
			})
		}
	}
}

func TestVerifySkipsWhatIsGivenUpMeanwhile(t *testing.T) {
	for _, name := range []string{"given up", "given up and damaged"} {
		t.Run(name, func(t *testing.T) {
			c, _, blobs := shelf(t, true)
			large := digest.FromBytes(blobs[1])
			if name != "given up" {
				if err := flip(c.disk.blobPath(large)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := c.Verify(t.Context(), func(_ context.Context, n int) error {
				if n == 10 { // the last piece of the large one
					c.dropHere(large)
				}
				return nil
			}, nil)
			if err != nil || got.Blobs != 2 || got.Damaged != nil {
				t.Errorf("%+v, %v; want the other 2 blobs", got, err)
			}
		})
	}
}

func TestVerifyLeavesABetterFileOfTheSameName(t *testing.T) {
	c, o, blobs := shelf(t, true)
	d := digest.FromBytes(blobs[1])
	if err := flip(c.disk.blobPath(d)); err != nil {
		t.Fatal(err)
	}
	got, err := c.Verify(t.Context(), func(_ context.Context, n int) error {
		if n == 10 {
			c.dropHere(d)
			wantBlob(t, c, o, blobs[1], Whole)
			settled(t, c)
		}
		return nil
	}, nil)
	if err != nil || got.Damaged != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, ok := c.disk.has(d); !ok {
		t.Error("the file that was fetched again is gone")
	}
}

func TestVerifyEnds(t *testing.T) {
	enough := errors.New("enough")
	t.Run("by wait", func(t *testing.T) {
		c, _, _ := shelf(t, true)
		got, err := c.Verify(t.Context(), func(context.Context, int) error { return enough }, nil)
		if !errors.Is(err, enough) || got.Blobs != 0 || c.Usage().Blobs != 3 {
			t.Errorf("%+v, %v, %+v", got, err, c.Usage())
		}
	})
	t.Run("by ctx, between two blobs", func(t *testing.T) {
		c, _, _ := shelf(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		got, err := c.Verify(ctx, nil, func(VerifyReport) { cancel() })
		if !errors.Is(err, context.Canceled) || got.Blobs != 1 || c.Usage().Blobs != 3 {
			t.Errorf("%+v, %v, %+v", got, err, c.Usage())
		}
	})
	t.Run("by ctx, within a blob", func(t *testing.T) {
		c, _, _ := shelf(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		got, err := c.Verify(ctx, func(context.Context, int) error { cancel(); return nil }, nil)
		if !errors.Is(err, context.Canceled) || got.Blobs != 0 || c.Usage().Blobs != 3 {
			t.Errorf("%+v, %v, %+v", got, err, c.Usage())
		}
	})
	t.Run("where there is no disk tier", func(t *testing.T) {
		c := blobsAt(t, "", func(o *BlobOptions) { o.Size = 0 })
		if got, err := c.Verify(t.Context(), nil, nil); err != nil || got.Blobs != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestVerifyTellsLackOfDescriptorsFromDamage(t *testing.T) {
	for _, f := range []struct {
		err           error
		kept, damaged int
	}{{syscall.EMFILE, 1, 0}, {syscall.EACCES, 1, 0}, {syscall.EIO, 0, 1}} {
		t.Run(f.err.Error(), func(t *testing.T) {
			files := &failingFiles{err: f.err}
			k, err := openDisk(diskOptions{dir: t.TempDir(), size: 1 << 20, fs: files, log: textLog(t.Output()), evicted: NoEvents{}.Evicted})
			if err != nil {
				t.Fatal(err)
			}
			keep(t, k, "x", 4096)
			files.at = files.done.Load() + 1
			got, err := (&Blobs{disk: k}).Verify(t.Context(), nil, nil)
			if len(got.Damaged) != f.damaged || errors.Is(err, f.err) != (f.damaged == 0) {
				t.Errorf("%+v, %v", got, err)
			}
			if u := k.usage(); u.Blobs != f.kept {
				t.Errorf("%d blobs kept, want %d", u.Blobs, f.kept)
			}
		})
	}
}

func TestVerifyIsNoUse(t *testing.T) {
	c, _, _ := shelf(t, true)
	before := map[digest.Digest]int8{}
	for d, e := range c.disk.index {
		before[d] = e.hits
	}
	if _, err := c.Verify(t.Context(), func(context.Context, int) error {
		if c.disk.pinned != 0 {
			t.Error("a blob cannot be given up while it is verified")
		}
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	for d, e := range c.disk.index {
		if e.hits != before[d] {
			t.Errorf("%s was asked for %d times, want %d", d, e.hits, before[d])
		}
	}
}
