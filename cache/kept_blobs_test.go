package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

func (c *Blobs) wantPresence(t *testing.T, when string, d digest.Digest, have, size int64) {
	t.Helper()
	if h, s := c.Presence(d); h != have || s != size {
		t.Errorf("%s: %d of %d bytes, want %d of %d", when, h, s, have, size)
	}
}

func (c *Blobs) wantKept(t *testing.T, when string, repo Repo, b []byte, want bool) {
	t.Helper()
	got, ok, err := c.KeptBlob(t.Context(), repo, digest.FromBytes(b), int64(len(b)))
	if err != nil || ok != want || want && !bytes.Equal(got, b) || !want && got != nil {
		t.Errorf("%s: %d bytes of %d, %v, %v; want %v", when, len(got), len(b), ok, err, want)
	}
}

func TestPresenceOfAWholeBlob(t *testing.T) {
	small, large := randomBytes(1, 1000), randomBytes(2, 3<<20)
	o := newOrigin("library/x", small, large, nil)
	c := blobsAt(t, t.TempDir())
	for _, b := range [][]byte{small, large, {}} {
		d := digest.FromBytes(b)
		c.wantPresence(t, "not pulled", d, 0, -1)
		wantBlob(t, c, o, b, Whole)
		settled(t, c)
		c.wantPresence(t, "pulled", d, int64(len(b)), int64(len(b)))
		if have, size := c.PresenceIn(t.Context(), o.repo, d); have != int64(len(b)) || size != have {
			t.Errorf("in its repository: %d of %d bytes", have, size)
		}
		if have, size := c.PresenceIn(t.Context(), Repo{o.repo.Registry, "library/other"}, d); have != 0 || size != -1 {
			t.Errorf("in a repository that only names it: %d of %d bytes", have, size)
		}
		if err := c.Drop(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		c.wantPresence(t, "dropped", d, 0, -1)
	}
	for _, d := range []digest.Digest{"", "sha256:", "sha256:../..", "x"} {
		c.wantPresence(t, "no digest", d, 0, -1)
		if b, ok, err := c.KeptBlob(t.Context(), Repo{}, d, 1<<20); b != nil || ok || err != nil {
			t.Errorf("%q: %d bytes, %v, %v", d, len(b), ok, err)
		}
	}
}

// Extents count: the bytes of a fill that runs, of one that was paused, and of one that another run has begun.
func TestPresenceOfAPartialBlob(t *testing.T) {
	b := randomBytes(3, 4<<20)
	d := digest.FromBytes(b)
	dir := t.TempDir()
	o := newOrigin("library/x", b)
	o.cut = func(off int64) int64 { // each request gives a little and then nothing more
		return 300_000
	}
	o.silent = true
	c := blobsAt(t, dir)
	rd, err := c.Open(t.Context(), o, d, Whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rd.Read(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	have, size := c.Presence(d)
	if have < 50_000 || have >= size || size != int64(len(b)) {
		t.Errorf("while it is filled: %d of %d bytes", have, size)
	}
	c.wantKept(t, "while it is filled", o.repo, b, false)
	fills := c.Fills()
	if len(fills) != 1 || fills[0].Repo != o.repo || fills[0].Digest != d || fills[0].Have < have || fills[0].Size != size || fills[0].Readers != 1 {
		t.Errorf("fills %+v", fills)
	}
	if err := errors.Join(rd.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"paused", "after a restart"} {
		got, size := c.Presence(d)
		if got < have || got >= size || size != int64(len(b)) {
			t.Errorf("%s: %d of %d bytes, had %d", when, got, size, have)
		}
		c.wantKept(t, when, o.repo, b, false)
		if fills := c.Fills(); len(fills) > 0 {
			t.Errorf("%s: fills %+v", when, fills)
		}
		c = blobsAt(t, dir)
	}
}

func TestWithoutADiskTierMemoryIsHere(t *testing.T) {
	b := randomBytes(4, 1000)
	d := digest.FromBytes(b)
	c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Size = 0 })
	c.wantPresence(t, "before", d, 0, -1)
	c.wantKept(t, "before", Repo{}, b, false)
	c.memory.SetBlob(d, b)
	c.memory.settle()
	c.wantPresence(t, "in memory", d, 1000, 1000)
	c.wantKept(t, "in memory", Repo{}, b, true)
	c.wantKept(t, "in memory, not seen", nginx, b, false)
	c.seen.Add(t.Context(), nginx, d, "", 1000)
	c.wantKept(t, "in memory and seen", nginx, b, true)
	if got, ok, err := c.KeptBlob(t.Context(), nginx, d, 999); ok || err != nil || got != nil {
		t.Errorf("beyond the limit: %d bytes, %v, %v", len(got), ok, err)
	}
	got, _, _ := c.KeptBlob(t.Context(), nginx, d, 1000)
	got[0] ^= 1
	c.wantKept(t, "after somebody wrote to what they got", nginx, b, true)
	if fills := c.Fills(); len(fills) > 0 {
		t.Errorf("fills %+v", fills)
	}
}

func TestKeptBlobIsGivenOnlyWhereItWasSeen(t *testing.T) {
	b := randomBytes(5, 1000)
	d := digest.FromBytes(b)
	o := newOrigin("library/x", b)
	c := blobsAt(t, t.TempDir())
	wantBlob(t, c, o, b, Whole)
	settled(t, c)
	gets, stats := o.requests()
	c.wantKept(t, "its repository", o.repo, b, true)
	c.wantKept(t, "who has decided", Repo{}, b, true)
	c.wantKept(t, "another repository", nginx, b, false)
	c.wantKept(t, "a repository of another registry", Repo{"ghcr.io", "library/x"}, b, false)
	if got, ok, err := c.KeptBlob(t.Context(), o.repo, d, 999); ok || err != nil || got != nil {
		t.Errorf("beyond the limit: %d bytes, %v, %v", len(got), ok, err)
	}
	if g, s := o.requests(); g != gets || s != stats {
		t.Errorf("upstream was asked: %d GET, %d HEAD", g-gets, s-stats)
	}
}

func TestADamagedBlobIsNotKept(t *testing.T) {
	b := randomBytes(6, 1000)
	d := digest.FromBytes(b)
	o := newOrigin("library/x", b)
	flipped := bytes.Clone(b)
	flipped[500] ^= 1
	for name, damage := range map[string]func(path string) error{
		"a flipped bit":  func(path string) error { return os.WriteFile(path, flipped, 0o600) },
		"a short file":   func(path string) error { return os.Truncate(path, 999) },
		"an empty file":  func(path string) error { return os.Truncate(path, 0) },
		"no file":        os.Remove,
		"a folder":       func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"after a crash":  func(path string) error { return os.WriteFile(path, flipped, 0o600) },
		"nothing at all": func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := blobsAt(t, dir)
			wantBlob(t, c, o, b, Whole)
			settled(t, c)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			c = blobsAt(t, dir, func(o *BlobOptions) { o.Clean = name != "after a crash" })
			path := c.disk.blobPath(d)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			if name == "nothing at all" {
				c.wantKept(t, name, Repo{}, b, true)
				return
			}
			c.wantKept(t, name, Repo{}, b, false)
			c.wantPresence(t, name, d, 0, -1)
			wantBlob(t, c, o, b, Whole)
			settled(t, c)
			c.wantKept(t, "fetched again", Repo{}, b, true)
		})
	}
}

// A file that cannot be opened says nothing about its bytes.
func TestABlobThatCannotBeOpenedStays(t *testing.T) {
	dir := t.TempDir()
	b := randomBytes(7, 1000)
	c := blobsAt(t, dir)
	wantBlob(t, c, newOrigin("library/x", b), b, Whole)
	settled(t, c)
	c.memory.DropBlob(digest.FromBytes(b))
	c.memory.settle()
	files := &failingFiles{at: 1, err: &fs.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}}
	c.disk.fs = files
	if got, ok, err := c.KeptBlob(t.Context(), Repo{}, digest.FromBytes(b), 1000); !errors.Is(err, syscall.EMFILE) || ok || got != nil {
		t.Errorf("%d bytes, %v, %v", len(got), ok, err)
	}
	c.wantKept(t, "later", Repo{}, b, true)
}

// A blob that somebody looks at is given up as if nobody did, and does not come into memory.
func TestLookingAtABlobIsNoUse(t *testing.T) {
	b := randomBytes(8, 1000)
	d := digest.FromBytes(b)
	dir := t.TempDir()
	c := blobsAt(t, dir)
	wantBlob(t, c, newOrigin("library/x", b), b, Whole)
	settled(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = blobsAt(t, dir)
	hits := func() int {
		c.disk.mu.Lock()
		defer c.disk.mu.Unlock()
		return int(c.disk.index[d].hits)
	}
	c.seen.records.write(t.Context(), c.seen.writes(nginx, d, seenRecord{Size: 1000})...)
	before := hits()
	for range 10 {
		c.wantKept(t, "kept", nginx, b, true)
		c.wantPresence(t, "kept", d, 1000, 1000)
		c.Fills()
	}
	c.memory.settle()
	_, blob := c.memory.Blob(d)
	_, seen := c.memory.seen(nginx, d)
	if blob || seen || hits() != before {
		t.Errorf("in memory: blob %v, seen %v; %d uses, was %d", blob, seen, hits(), before)
	}
}

// Whoever looks while fills begin and end sees no more bytes than there are, and a blob that has become whole stays so.
func TestLookingWhileFillsBeginAndEnd(t *testing.T) {
	const blobs = 100
	var all [][]byte
	for i := range blobs {
		all = append(all, randomBytes(uint64(100+i), 70_000+i))
	}
	o := newOrigin("library/x", all...)
	c := blobsAt(t, t.TempDir())
	done := make(chan struct{})
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() { // until done is closed
			had := map[digest.Digest]int64{}
			for {
				for _, f := range c.Fills() {
					if f.Have < 0 || f.Size >= 0 && f.Have > f.Size || f.Repo != o.repo || f.Readers < 0 {
						t.Errorf("fill %+v", f)
					}
				}
				for _, b := range all {
					d := digest.FromBytes(b)
					have, size := c.Presence(d)
					if have < had[d] || have > int64(len(b)) || size >= 0 && size != int64(len(b)) {
						t.Errorf("%d of %d bytes, had %d of %d", have, size, had[d], len(b))
					}
					had[d] = have
					got, ok, err := c.KeptBlob(t.Context(), Repo{}, d, 1<<20)
					if err != nil || ok && !bytes.Equal(got, b) || ok != (got != nil) {
						t.Errorf("%d bytes, %v, %v", len(got), ok, err)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	var pulling sync.WaitGroup
	for worker := range 8 {
		pulling.Go(func() {
			for i := worker; i < blobs; i += 8 {
				if n, whole, err := matchBlob(c, o, all[i], Whole); err != nil || !whole {
					t.Errorf("%d bytes, %v, %v", n, whole, err)
				}
			}
		})
	}
	pulling.Wait()
	settled(t, c)
	close(done)
	looking.Wait()
	for _, b := range all {
		c.wantKept(t, "in the end", o.repo, b, true)
	}
	if fills := c.Fills(); len(fills) > 0 {
		t.Errorf("in the end: %+v", fills)
	}
}

func TestFillsAreTheLargestFirst(t *testing.T) {
	var all [][]byte
	for i, size := range []int{100_000, 300_000, 200_000} {
		all = append(all, randomBytes(uint64(i), size))
	}
	o := newOrigin("library/x", all...)
	o.cut, o.silent = func(int64) int64 { return 70_000 }, true
	c := blobsAt(t, t.TempDir())
	for i, b := range all {
		for range i + 1 {
			rd, err := c.Open(t.Context(), o, digest.FromBytes(b), Whole)
			if err != nil {
				t.Fatal(err)
			}
			defer rd.Close()
		}
	}
	var got string
	for _, f := range c.Fills() {
		got += fmt.Sprintf("%d by %d; ", f.Size, f.Readers)
	}
	if want := "300000 by 2; 200000 by 3; 100000 by 1; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestLookingEndsWithItsContext(t *testing.T) {
	c := blobsAt(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok, err := c.KeptBlob(ctx, nginx, digest.FromString("x"), 10); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", ok, err)
	}
}
