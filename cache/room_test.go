package cache

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

const page = 4096

// smallDisk is a file system of so many bytes, of which files take what their sizes say.
type smallDisk struct {
	osFiles
	total int64
	err   error
}

func (s *smallDisk) FreeBytes(dir string) (int64, error) {
	free := s.total
	err := filepath.WalkDir(dir, func(_ string, f fs.DirEntry, err error) error {
		if err != nil || !f.Type().IsRegular() {
			return err
		}
		info, err := f.Info()
		if err == nil {
			free -= info.Size()
		}
		return err
	})
	return free, errors.Join(err, s.err)
}

func TestRoomIsMadeOfBlobs(t *testing.T) {
	unknown := errors.New("unknown")
	for _, c := range []struct {
		name     string
		n, held  int64 // pages; held: blobs that are being read
		err      error
		ok       bool
		leftover int // blobs
	}{
		{"it fits", 4, 0, nil, true, 4},
		{"nothing is asked for", 0, 0, nil, true, 4},
		{"one blob has to go", 5, 0, nil, true, 3},
		{"all have to go", 8, 0, nil, true, 0},
		{"it fits beside none, but in the reserve of others", 9, 0, nil, false, 0},
		{"it would not fit into the empty file system", 11, 0, nil, false, 4},
		{"what is being read stays", 8, 1, nil, false, 1},
		{"what is being read is not counted on", 10, 1, nil, false, 4},
		{"free space is unknown: the write will tell", 9, 0, unknown, true, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := &smallDisk{total: 10 * page}
			k, err := openDisk(diskOptions{dir: t.TempDir(), size: 100 * page, fs: files, log: textLog(t.Output()), evicted: NoEvents{}.Evicted})
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range []string{"a", "b", "c", "d"} {
				d := keep(t, k, name, page)
				if int64(i) < c.held {
					f, err := k.open(d)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
				}
			}
			k.minFree, files.err = 2*page, c.err
			blobs := &Blobs{disk: k}
			if ok := blobs.Room(c.n * page); ok != c.ok {
				t.Errorf("Room = %v, want %v", ok, c.ok)
			}
			if u := k.usage(); u.Blobs != c.leftover || u.Used != int64(c.leftover)*page {
				t.Errorf("%d blobs left, want %d: %+v", u.Blobs, c.leftover, u)
			}
		})
	}
}

func TestRoomTakesUnfinishedBlobsFirst(t *testing.T) {
	files := &smallDisk{total: 10 * page}
	k, err := openDisk(diskOptions{dir: t.TempDir(), size: 100 * page, fs: files, log: textLog(t.Output()), evicted: NoEvents{}.Evicted})
	if err != nil {
		t.Fatal(err)
	}
	whole := keep(t, k, "whole", page)
	p, err := k.create(digest.FromString("half"), 4*page)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.park(extents{{0, page}}); err != nil {
		t.Fatal(err)
	}
	if !(&Blobs{disk: k}).Room(8 * page) {
		t.Error("no room")
	}
	if _, ok := k.has(whole); !ok {
		t.Error("a complete blob went before one that is not")
	}
}

func TestWithoutADiskTierNothingIsInTheWay(t *testing.T) {
	if !(&Blobs{}).Room(1 << 60) {
		t.Error("Room = false")
	}
}
