package cache

import (
	"errors"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
)

// keptBlob puts a blob of size bytes into a tier of its own.
func keptBlob(t *testing.T, limit, size int64) (*disk, digest.Digest) {
	t.Helper()
	k, err := openDisk(diskOptions{dir: t.TempDir(), size: limit, fs: osFiles{}, evicted: NoEvents{}.Evicted})
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromString("kept")
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
	return k, d
}

func TestNothingIsGivenUpForWhatWouldNotFitAnyway(t *testing.T) {
	k, d := keptBlob(t, 1<<20, 4096)
	k.minFree = 1 << 60
	if err := k.reserve(4096); !errors.Is(err, errNoRoom) {
		t.Errorf("err = %v, want %v", err, errNoRoom)
	}
	if _, ok := k.has(d); !ok {
		t.Error("a blob was evicted in vain")
	}
	if k.usage().Reserved != 0 {
		t.Errorf("space leaked: %+v", k.usage())
	}
}

func TestRecordsBeyondTheBoundLeaveNoBlobs(t *testing.T) {
	k, _ := keptBlob(t, 1<<20, 4096)
	k.setRecords(2 << 20)
	if u := k.usage(); u.Used != 0 || u.Reserved != 0 {
		t.Errorf("usage %+v", u)
	}
}
