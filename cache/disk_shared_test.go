package cache

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestWhatHasAnotherNameIsNotGivable(t *testing.T) {
	b := randomBytes(7, 3*page)
	d := digest.FromBytes(b)
	o := newOrigin("library/x", b)
	dir := t.TempDir()
	c := blobsAt(t, dir)
	wantBlob(t, c, o, b, Whole)
	settled(t, c)
	want := func(when string, pages int64) {
		t.Helper()
		if got := c.Givable(); got != pages*page {
			t.Errorf("%s: %d bytes are givable, want %d", when, got, pages*page)
		}
	}
	want("before", 3)
	other := filepath.Join(t.TempDir(), "linked")
	link := func(path string, _ int64) error { return os.Link(path, other) }
	if linked, err := c.Link(t.Context(), o.repo, d, link); err != nil || !linked {
		t.Fatalf("linked %v, %v", linked, err)
	}
	want("after the link", 0)
	f, err := c.disk.open(d)
	if err != nil {
		t.Fatal(err)
	}
	want("while it is read", 0)
	f.Close()
	c.Close()
	c = blobsAt(t, dir)
	want("after a restart", 0)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	want("once the other name is gone", 3)
	c.disk.share(d)
	c.dropHere(d)
	want("once it is dropped", 0)
}

func TestRoomIsNotMadeOfWhatHasAnotherName(t *testing.T) {
	files := &smallDisk{total: 10 * page}
	k, err := openDisk(diskOptions{dir: t.TempDir(), size: 100 * page, fs: files, log: textLog(t.Output()), evicted: NoEvents{}.Evicted})
	if err != nil {
		t.Fatal(err)
	}
	d := keep(t, k, "x", 4*page)
	other := filepath.Join(t.TempDir(), "linked")
	if err := os.Link(k.blobPath(d), other); err != nil {
		t.Fatal(err)
	}
	k.share(d)
	blobs := &Blobs{disk: k}
	if _, kept := k.has(d); blobs.Room(8*page) || !kept {
		t.Error("a blob was given up in vain")
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if !blobs.Room(8 * page) {
		t.Error("no room, and the blob could be given up")
	}
}
