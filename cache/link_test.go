package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestLinkOfABlob(t *testing.T) {
	for _, clean := range []bool{true, false} {
		c, o, blobs := shelf(t, clean)
		for _, b := range blobs {
			d := digest.FromBytes(b)
			other := filepath.Join(t.TempDir(), "linked")
			linked, err := c.Link(t.Context(), o.repo, d, func(path string, size int64) error {
				if size != int64(len(b)) {
					t.Errorf("size %d, want %d", size, len(b))
				}
				if c.disk.pinned == 0 {
					t.Error("the file may be given up while it is linked")
				}
				return os.Link(path, other)
			})
			if err != nil || !linked {
				t.Fatalf("clean %v: linked %v, %v", clean, linked, err)
			}
			if !c.disk.index[d].verified {
				t.Error("it was read and found right, and is not verified")
			}
			c.dropHere(d)
			if got, err := os.ReadFile(other); err != nil || digest.FromBytes(got) != d {
				t.Errorf("what was linked has %d bytes, %v", len(got), err)
			}
		}
		if c.disk.pinned != 0 {
			t.Error("a file stays pinned")
		}
	}
}

func TestNoLink(t *testing.T) {
	stranger := Repo{"docker.io", "library/y"}
	failed := errors.New("failed")
	none := func(*Blobs, string) error { return nil }
	for _, f := range []struct {
		name  string
		clean bool
		repo  Repo
		do    func(c *Blobs, path string) error
		link  error
		err   error
		asked bool // link was called
		kept  bool
	}{
		{"another repository has it", true, stranger, none, nil, nil, false, true},
		{"the file is gone", true, Repo{}, func(_ *Blobs, p string) error { return os.Remove(p) }, nil, nil, false, false},
		{"the file was cut", true, Repo{}, func(_ *Blobs, p string) error { return os.Truncate(p, 7) }, nil, nil, false, false},
		{"wrong bytes after an unclean stop", false, Repo{}, func(_ *Blobs, p string) error { return flip(p) }, nil, nil, false, false},
		{"given up", true, Repo{}, func(c *Blobs, p string) error { c.dropHere(digest.Digest("sha256:" + filepath.Base(p))); return nil }, nil, nil, false, false},
		{"the link fails", true, Repo{}, none, failed, failed, true, true},
	} {
		for i := range 2 {
			t.Run(f.name, func(t *testing.T) {
				c, o, blobs := shelf(t, f.clean)
				d := digest.FromBytes(blobs[i])
				if f.repo == (Repo{}) {
					f.repo = o.repo
				}
				if err := f.do(c, c.disk.blobPath(d)); err != nil {
					t.Fatal(err)
				}
				asked := false
				linked, err := c.Link(t.Context(), f.repo, d, func(string, int64) error { asked = true; return f.link })
				if linked || !errors.Is(err, f.err) || f.err == nil && err != nil {
					t.Errorf("linked %v, %v; want %v", linked, err, f.err)
				}
				if asked != f.asked {
					t.Errorf("link was called: %v, want %v", asked, f.asked)
				}
				if _, kept := c.disk.has(d); kept != f.kept {
					t.Errorf("kept: %v, want %v", kept, f.kept)
				}
				if c.disk.pinned != 0 {
					t.Error("the file stays pinned")
				}
			})
		}
	}
}

func TestNoLinkOfWhatIsDroppedMeanwhile(t *testing.T) {
	c, o, blobs := shelf(t, true)
	d := digest.FromBytes(blobs[1])
	linked, err := c.Link(t.Context(), o.repo, d, func(path string, _ int64) error {
		c.dropHere(d)
		return os.Link(path, filepath.Join(t.TempDir(), "linked"))
	})
	if linked || err != nil {
		t.Errorf("linked %v, %v", linked, err)
	}
}

func TestNoLinkOfWhatIsNotWhole(t *testing.T) {
	b := randomBytes(4, 5<<20)
	o := newOrigin("library/x", b)
	o.gate = make(chan struct{})
	c := blobsAt(t, t.TempDir())
	d := digest.FromBytes(b)
	c.seen.Add(t.Context(), o.repo, d, "", int64(len(b)))
	c.Warm(o, d)
	link := func(string, int64) error { t.Error("link was called"); return nil }
	if linked, err := c.Link(t.Context(), o.repo, d, link); linked || err != nil {
		t.Errorf("linked %v, %v", linked, err)
	}
	close(o.gate)
}

func TestNoLinkWithoutADiskTier(t *testing.T) {
	b := randomBytes(5, 1000)
	o := newOrigin("library/x", b)
	c := blobsAt(t, "", func(o *BlobOptions) { o.Size = 0 })
	wantBlob(t, c, o, b, Whole)
	linked, err := c.Link(t.Context(), o.repo, digest.FromBytes(b), func(string, int64) error { return fs.ErrInvalid })
	if linked || err != nil {
		t.Errorf("linked %v, %v", linked, err)
	}
}

func TestLinkReadsNoLongerThanItsCaller(t *testing.T) {
	c, o, blobs := shelf(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := digest.FromBytes(blobs[1])
	linked, err := c.Link(ctx, o.repo, d, func(string, int64) error { t.Error("link was called"); return nil })
	if linked || !errors.Is(err, context.Canceled) {
		t.Errorf("linked %v, %v", linked, err)
	}
	if _, kept := c.disk.has(d); !kept {
		t.Error("a blob was dropped because nobody waited")
	}
}

func TestNoLinkOfWhatWouldTakeLongToRead(t *testing.T) {
	for size, want := range map[int64]bool{hasteBytes: true, hasteBytes + 1: false} {
		c := blobsAt(t, t.TempDir())
		b := make([]byte, size)
		d := digest.FromBytes(b)
		repo := Repo{"docker.io", "library/x"}
		c.seen.Add(t.Context(), repo, d, "", size)
		p, err := c.disk.create(d, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(p.path, size); err != nil { // zeros
			t.Fatal(err)
		}
		if err := p.commit(size); err != nil {
			t.Fatal(err)
		}
		c.disk.index[d].verified = false
		none := func(string, int64) error { return nil }
		if linked, err := c.Link(t.Context(), repo, d, none); err != nil || linked != want {
			t.Errorf("%d bytes: linked %v, %v; want %v", size, linked, err, want)
		}
		if _, kept := c.disk.has(d); !kept {
			t.Errorf("%d bytes: dropped", size)
		}
		c.disk.setVerified(d)
		if linked, err := c.Link(t.Context(), repo, d, none); err != nil || !linked {
			t.Errorf("%d bytes, verified: linked %v, %v", size, linked, err)
		}
	}
}
