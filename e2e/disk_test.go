package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// usage is how much the data folder takes or, where there is a bucket, what is in that.
func (s site) usage() int64 {
	s.Helper()
	var sum int64
	if s.bucket != nil {
		for _, path := range s.bucket.Objects() {
			if info, err := os.Stat(path); err == nil { // others are deleted meanwhile
				sum += info.Size()
			}
		}
		return sum
	}
	err := filepath.WalkDir(s.server.Data, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // evicted meanwhile
		}
		if info, errInfo := os.Stat(path); errInfo == nil && info.Mode().IsRegular() {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return sum
}

func TestCacheSmallerThanOneLayer(t *testing.T) {
	for name, settings := range map[string][]string{
		"4 MiB of disk": {"DISK_SIZE", "4MiB"},
		"no disk tier":  {"DISK_SIZE", "0"},
		"no memory":     {"DISK_SIZE", "4MiB", "MEMORY_SIZE", "0"},
		"no tier":       {"DISK_SIZE", "0", "MEMORY_SIZE", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakehub.Options{}, settings...)
			img := fakehub.NewImage(fakehub.Spec{Layers: []int64{16 << 20, 12 << 20, 100_000}})
			s.hub.Repo("library/app").AddImage(img, "1")
			for range 2 {
				s.wantPull("library/app", "1", img)
			}
			if n := s.server.Metrics().Sum("entrepot_cache_streamed_total"); n == 0 {
				t.Error("no blob was counted as streamed past the cache")
			}
			if used := s.usage(); used > 5<<20 {
				t.Errorf("the data folder takes %d bytes", used)
			}
		})
	}
}

func TestDiskTierKeepsItsBound(t *testing.T) {
	const limit = 24 << 20
	s := newSite(t, fakehub.Options{}, "DISK_SIZE", "24MiB")
	for i := range full(100, 15) {
		b := fakehub.RandomBlob(uint64(i), 5<<20)
		s.hub.Repo("library/app").AddBlob(b)
		s.wantBlob("library/app", b)
		if used := s.usage(); used > limit+limit/10 {
			t.Fatalf("after %d blobs of 5 MiB the data folder takes %d bytes of %d", i+1, used, limit)
		}
	}
	if n := s.server.Metrics().Sum("entrepot_cache_evictions_total"); n == 0 {
		t.Error("no eviction was counted")
	}
}

func TestWhatIsBeingReadIsNotEvicted(t *testing.T) {
	s := newSite(t, fakehub.Options{}, "DISK_SIZE", "24MiB")
	b := fakehub.RandomBlob(1000, 8<<20)
	s.hub.Repo("library/app").AddBlob(b)
	s.wantBlob("library/app", b)
	var group errgroup.Group
	group.Go(func() error { // many readings of one blob while others push it out
		for range 20 {
			a := s.client.get(blobPath("library/app", b.Digest), b.Content)
			if err := a.right(b.Content); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range 10 {
		other := fakehub.RandomBlob(uint64(i), 7<<20)
		s.hub.Repo("library/app").AddBlob(other)
		s.wantBlob("library/app", other)
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// smallDisk mounts a file system of that size for the data folder.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() { // after the server, which was started later, has ended
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	return dir
}

func newSiteOn(t *testing.T, data string, o fakehub.Options, settings ...string) site {
	hub := fakehub.New(t, o)
	options := siteOptions(hub, settings...)
	options.Data = data
	s := server.Start(t, options)
	t.Cleanup(func() { checkMemory(t, s) })
	return site{T: t, hub: hub, server: s, client: newClient(t, s)}
}

func TestFullDisk(t *testing.T) {
	for name, settings := range map[string][]string{
		"bound larger than the disk":            {"DISK_SIZE", "1GiB", "MIN_FREE", "0"},
		"free space below the minimum at once":  {"DISK_SIZE", "1GiB"},
		"bound and disk larger than some layer": {"DISK_SIZE", "6MiB", "MIN_FREE", "1MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSiteOn(t, smallDisk(t, "8m"), fakehub.Options{}, settings...)
			for i := range 3 {
				img := fakehub.NewImage(fakehub.Spec{Layers: []int64{5 << 20, 12 << 20, 5 << 20, 2 << 20, 1000}, Seed: uint64(i)})
				tag := string(rune('a' + i))
				s.hub.Repo("library/app").AddImage(img, tag)
				for range 2 {
					s.wantPull("library/app", tag, img)
				}
				s.pullManyOf(8, tag, img)
			}
		})
	}
}

func (s site) pullManyOf(clients int, tag string, img fakehub.Image) {
	s.Helper()
	var group errgroup.Group
	for range clients {
		group.Go(func() error {
			_, err := s.client.pull(s.Context(), "library/app", tag, img)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		s.Fatal(err)
	}
}

func TestDiskFillsUpDuringAFill(t *testing.T) {
	data := smallDisk(t, "24m")
	s := newSiteOn(t, data, fakehub.Options{Bandwidth: 4e6}, "DISK_SIZE", "1GiB", "MIN_FREE", "0")
	b := fakehub.RandomBlob(1, 20<<20)
	s.hub.Repo("library/app").AddBlob(b)
	done := s.halfway(b, 2<<20)
	hog := filepath.Join(data, "hog")
	f, err := os.Create(hog)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	if a := <-done; a.lies(b.Content) {
		t.Errorf("a wrong body that looks whole: %d bytes, wrong at %d", a.n, a.wrong)
	} else {
		t.Logf("the answer that was under way: %s", a.outcome())
	}
	s.wantBlob("library/app", b)
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	s.eventually(40*time.Second, "the blob is cached when there is room again", func() bool {
		s.wantBlob("library/app", b)
		s.hub.Down()
		cached := s.client.get(blobPath("library/app", b.Digest), b.Content).right(b.Content) == nil
		if err := s.hub.Up(); err != nil {
			t.Fatal(err)
		}
		return cached
	})
}
