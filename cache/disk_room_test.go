package cache

import (
	"errors"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
)

// keep puts a blob of size bytes into the tier, whatever is in it.
func keep(t *testing.T, k *disk, name string, size int64) digest.Digest {
	t.Helper()
	d := digest.FromString(name)
	p, err := k.create(d, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(p.path, size); err != nil {
		t.Fatal(err)
	}
	if err := p.commit(size); err != nil {
		t.Fatal(err)
	}
	return d
}

func testDisk(t *testing.T, dir string, limit int64) *disk {
	t.Helper()
	k, err := openDisk(diskOptions{dir: dir, size: limit, fs: osFiles{}, evicted: NoEvents{}.Evicted})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNothingIsGivenUpForWhatWouldNotFitAnyway(t *testing.T) {
	f := func(name string, hinder func(k *disk)) {
		t.Run(name, func(t *testing.T) {
			k := testDisk(t, t.TempDir(), 4*4096)
			read, other := keep(t, k, "read", 2*4096), keep(t, k, "other", 4096)
			reader, err := k.open(read)
			if err != nil {
				t.Fatal(err)
			}
			hinder(k)
			if err := k.reserve(3 * 4096); !errors.Is(err, errNoRoom) {
				t.Errorf("err = %v, want %v", err, errNoRoom)
			}
			if _, ok := k.has(other); !ok {
				t.Error("a blob was evicted in vain")
			}
			k.minFree = 0
			reader.Close()
			if err := k.reserve(3 * 4096); err != nil {
				t.Errorf("without the hindrance: %v", err)
			}
			k.release(3 * 4096)
			if u := k.usage(); u.Reserved != 0 || k.pinned != 0 {
				t.Errorf("space leaked: %+v, pinned %d", u, k.pinned)
			}
		})
	}
	f("too much of the tier is being read", func(*disk) {})
	f("the file system has no room", func(k *disk) { k.minFree = 1 << 60 })
}

func TestRecordsBeyondTheBoundLeaveNoBlobs(t *testing.T) {
	k := testDisk(t, t.TempDir(), 1<<20)
	keep(t, k, "x", 4096)
	k.setRecords(2 << 20)
	if u := k.usage(); u.Used != 0 || u.Reserved != 0 {
		t.Errorf("usage %+v", u)
	}
}
