package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// kept waits until so many fills are complete: the last client may have its bytes before the blob has its name.
func (s site) kept(fills float64) {
	s.Helper()
	s.eventually(20*time.Second, "the fill is complete", func() bool {
		return s.server.Metrics().Sum("entrepot_fill_ended_total", "outcome", "complete") >= fills
	})
}

// halfway starts a fill and returns when upstream has sent part of the blob. The client's answer comes on the channel.
func (s site) halfway(b fakehub.Blob, part int64) <-chan answer {
	s.Helper()
	done := make(chan answer, 1)
	go func() { done <- s.client.get(blobPath("library/app", b.Digest), b.Content) }() // ends when the server does
	s.eventually(time.Minute, "the fill is under way", func() bool { return s.hub.Served(b.Digest).Bytes >= part })
	return done
}

func TestFillResumesAfterACleanStop(t *testing.T) {
	s := newSite(t, fakehub.Options{Bandwidth: 5e6}, "DRAIN_TIMEOUT", "100ms")
	b := fakehub.RandomBlob(1, full[int64](300<<20, 64<<20))
	s.hub.Repo("library/app").AddBlob(b)
	done := s.halfway(b, b.Size/2)
	if code := s.server.Stop(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
	if a := <-done; a.lies(b.Content) || a.err == nil {
		t.Errorf("the stop cut the answer off, but the client saw %s", a.outcome())
	}
	s.server.Start()
	s.wantBlob("library/app", b)
	// What the sockets held when the server stopped is lost.
	if twice := s.hub.Served(b.Digest).Twice(); twice > b.Size/4 {
		t.Errorf("%d bytes of %d were fetched twice", twice, b.Size)
	}
}

func TestFillResumesAfterAKill(t *testing.T) {
	s := newSite(t, fakehub.Options{Bandwidth: 25e6})
	// What is on disk is noted every 64 MiB.
	b := fakehub.RandomBlob(1, full[int64](500<<20, 192<<20))
	s.hub.Repo("library/app").AddBlob(b)
	part := b.Size * 7 / 8
	done := s.halfway(b, part)
	s.server.Kill()
	if a := <-done; a.lies(b.Content) {
		t.Error("a wrong body that looks whole")
	}
	s.server.Start()
	s.wantBlob("library/app", b)
	if twice := s.hub.Served(b.Digest).Twice(); twice > 100<<20 {
		t.Errorf("%d bytes of %d were fetched twice; a note every 64 MiB loses less", twice, b.Size)
	}
	s.hub.Down()
	s.wantBlob("library/app", b)
}

func TestDrainLetsAnswersEnd(t *testing.T) {
	s := newSite(t, fakehub.Options{Bandwidth: 5e6}, "DRAIN_TIMEOUT", "60s")
	b := fakehub.RandomBlob(1, 40<<20)
	s.hub.Repo("library/app").AddBlob(b)
	done := s.halfway(b, b.Size/4)
	if code := s.server.Stop(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
	if a := <-done; a.right(b.Content) != nil {
		t.Errorf("the answer that was under way: %v", a.right(b.Content))
	}
}

func TestCacheSurvivesRestarts(t *testing.T) {
	for name, end := range map[string]func(*server.Server){
		"clean": func(s *server.Server) { s.Stop() },
		"kill":  (*server.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakehub.Options{}, "TAG_TTL", "1h")
			img := fakehub.NewImage(fakehub.Spec{Layers: []int64{5 << 20, 1000}})
			s.hub.Repo("library/app").AddImage(img, "1")
			s.wantPull("library/app", "1", img)
			time.Sleep(1500 * time.Millisecond) // records are written behind the answers
			end(s.server)
			s.hub.Down()
			s.server.Start()
			s.wantPull("library/app", "1", img)
		})
	}
}

// files are the files of the data folder whose path has this part.
func (s site) files(part string) []string {
	s.Helper()
	var found []string
	err := filepath.WalkDir(s.server.Data, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.Contains(path, part) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return found
}

// blobFile is the file that holds a cached blob.
func (s site) blobFile(b fakehub.Blob) string {
	s.Helper()
	for _, path := range s.files(b.Digest.Encoded()) {
		if info, err := os.Stat(path); err == nil && info.Size() == b.Size {
			return path
		}
	}
	s.Fatalf("no file of %d bytes has %s in its name", b.Size, b.Digest.Encoded())
	return ""
}

func TestDamageBesideAnUncleanStopIsNeverServed(t *testing.T) {
	for name, damage := range map[string]func(path string, size int64) error{
		"a flipped byte": func(path string, size int64) error { return flip(path, size/2) },
		"the last byte":  func(path string, size int64) error { return flip(path, size-1) },
		"cut short":      func(path string, size int64) error { return os.Truncate(path, size/2) },
		"empty":          func(path string, _ int64) error { return os.Truncate(path, 0) },
		"longer":         func(path string, size int64) error { return os.Truncate(path, size+1) },
		"zeroed tail": func(path string, size int64) error {
			return errors.Join(os.Truncate(path, size/2), os.Truncate(path, size))
		},
		"gone": func(path string, _ int64) error { return os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakehub.Options{})
			b := fakehub.RandomBlob(1, 6<<20)
			s.hub.Repo("library/app").AddBlob(b)
			s.wantBlob("library/app", b)
			s.kept(1)
			s.server.Kill()
			if err := damage(s.blobFile(b), b.Size); err != nil {
				t.Fatal(err)
			}
			s.server.Start()
			a := s.client.get(blobPath("library/app", b.Digest), b.Content)
			t.Logf("the first answer: %s", a.outcome())
			if a.lies(b.Content) {
				t.Fatalf("a wrong body that looks whole: %d bytes, wrong at %d", a.n, a.wrong)
			}
			s.eventually(40*time.Second, "the blob is fetched anew", func() bool {
				again := s.client.get(blobPath("library/app", b.Digest), b.Content)
				return !again.lies(b.Content) && again.right(b.Content) == nil
			})
		})
	}
}

func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	one := make([]byte, 1)
	_, err = f.ReadAt(one, at)
	one[0] ^= 0xff
	_, errWrite := f.WriteAt(one, at)
	return errors.Join(err, errWrite, f.Close())
}

func TestBrokenRecordsAreForgotten(t *testing.T) {
	s := newSite(t, fakehub.Options{Bandwidth: 10e6}, "DRAIN_TIMEOUT", "10ms")
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{300_000}})
	big := fakehub.RandomBlob(1, 40<<20)
	s.hub.Repo("library/app").AddImage(img, "1")
	s.hub.Repo("library/app").AddBlob(big)
	s.wantPull("library/app", "1", img)
	done := s.halfway(big, big.Size/2)
	s.server.Stop()
	<-done
	for _, path := range s.files("") {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(path); name != "format" && name != "lock" && info.Size() < 100_000 {
			if err := os.WriteFile(path, []byte("{\x00garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.server.Start()
	s.wantPull("library/app", "1", img)
	s.wantBlob("library/app", big)
}

func TestDataFolderHasOneOwnerAndOneFormat(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	second := server.New(t, server.Options{Data: s.server.Data})
	if out, code := second.Run(); code == 0 || !strings.Contains(out, s.server.Data) {
		t.Errorf("a second process on the same data ends with %d: %s", code, out)
	}
	if !s.server.Ready() {
		t.Error("the first one is not ready any more")
	}
	s.server.Stop()
	format := filepath.Join(s.server.Data, "format")
	if err := os.WriteFile(format, []byte("999\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := s.server.Run(); code == 0 || !strings.Contains(out, "999") {
		t.Errorf("a newer format ends with %d: %s", code, out)
	}
}

func TestAHundredThousandBlobsAreReadyAtOnce(t *testing.T) {
	s := newSite(t, fakehub.Options{}, "DISK_SIZE", "20GiB")
	b := fakehub.RandomBlob(1, 2<<20)
	s.hub.Repo("library/app").AddBlob(b)
	s.wantBlob("library/app", b)
	s.server.Stop()
	example := s.blobFile(b)
	root := strings.TrimSuffix(example, filepath.Join(b.Digest.Encoded()[:2], b.Digest.Encoded()))
	if root == example {
		t.Fatalf("blobs are not kept as <hh>/<hex>: %s", example)
	}
	for i := range 100_000 {
		hex := fakehub.NewManifest("", fmt.Append(nil, i)).Digest.Encoded()
		dir := filepath.Join(root, hex[:2])
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, hex), fmt.Append(nil, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	s.server.Start()
	took := time.Since(began)
	t.Logf("ready after %v; %d MiB of memory", took.Round(time.Millisecond), s.server.RSS()>>20)
	if took > full(time.Second, 5*time.Second) {
		t.Errorf("ready after %v", took)
	}
	s.hub.Down()
	s.wantBlob("library/app", b)
}

func TestSecondSignalEndsTheDrain(t *testing.T) {
	s := newSite(t, fakehub.Options{Bandwidth: 1e6}, "DRAIN_TIMEOUT", "10m")
	b := fakehub.RandomBlob(1, 100<<20)
	s.hub.Repo("library/app").AddBlob(b)
	done := s.halfway(b, 1<<20)
	s.server.Signal(syscall.SIGTERM)
	s.eventually(10*time.Second, "the server is not ready while it drains", func() bool { return !s.server.Ready() })
	s.server.Signal(syscall.SIGTERM)
	s.eventually(10*time.Second, "the second signal ends it", func() bool { return !s.server.Running() })
	<-done
}
