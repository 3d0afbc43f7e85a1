package replicas

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/bucket"
	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// TestLargeBlobsNeedLittleMemory pushes and pulls 1 GiB through S3; with E2E_LONG=1 it is 10 GiB, twice, which take 35 GiB of
// the disk.
func TestLargeBlobsNeedLittleMemory(t *testing.T) {
	const readers, memoryTier, most = 8, 32 << 20, 96 << 20
	size := int64(1 << 30)
	if long {
		size = 10 << 30
	}
	gateway := bucket.Start(t)
	env, others := bucket.Settings("http://" + gateway.Addr)
	env["HOSTED"], env["GC_INTERVAL"], env["SCRUB_RATE"], env["MEMORY_SIZE"] = "team", "0", "0", fmt.Sprint(memoryTier)
	s := server.Start(t, server.Options{Env: env, Others: others})
	blob := fakehub.RandomBlob(70, size)
	idle := s.Metrics().Sum("go_goroutines")

	timed(t, "pushed in a stream", func() { pushStream(t, s, blob) })
	if long {
		other := fakehub.RandomBlob(71, size)
		timed(t, "pushed in a PUT", func() { pushPUT(t, s, other) })
	}
	timed(t, "pulled", func() {
		if err := wantBytes(s, blob, 0, size); err != nil {
			t.Error(err)
		}
	})
	timed(t, fmt.Sprintf("pulled in parts by %d at once", readers), func() {
		var all errgroup.Group
		for i := range int64(readers) {
			all.Go(func() error { return wantBytes(s, blob, size*i/readers, size*(i+1)/readers) })
		}
		if err := all.Wait(); err != nil {
			t.Error(err)
		}
	})
	peak := s.PeakRSS()
	t.Logf("%d MiB: RSS at most %d MiB, of which the memory tier may have %d", size>>20, peak>>20, memoryTier>>20)
	if peak > most+memoryTier {
		t.Errorf("RSS was %d MiB, want at most %d and the memory tier's %d", peak>>20, most>>20, memoryTier>>20)
	}
	// Each idle connection to S3 has two, and each pull had one.
	if now := s.Metrics().Sum("go_goroutines"); now > idle+4*readers {
		t.Errorf("%v goroutines, %v before", now, idle)
	}
	for what, folder := range map[string]string{"spool": filepath.Join(s.Data, "spool"), "uploads under way": filepath.Join(gateway.Folder, bucket.Name, ".sgwtmp")} {
		if left := files(t, folder); len(left) > 0 {
			t.Errorf("left in the %s: %q", what, left)
		}
	}
}

func timed(t *testing.T, what string, do func()) {
	t.Helper()
	began := time.Now()
	do()
	t.Logf("%s in %v", what, time.Since(began).Round(10*time.Millisecond))
}

// pushStream pushes as docker does: in one PATCH that does not say how long it is.
func pushStream(t *testing.T, s *server.Server, b fakehub.Blob) {
	t.Helper()
	at := asked(t, s, http.MethodPost, "/v2/app/blobs/uploads/", nil, http.StatusAccepted)
	at = asked(t, s, http.MethodPatch, at, struct{ io.Reader }{part(b, 0, b.Size)}, http.StatusAccepted)
	asked(t, s, http.MethodPut, withDigest(at, b.Digest), nil, http.StatusCreated)
}

func pushPUT(t *testing.T, s *server.Server, b fakehub.Blob) {
	t.Helper()
	at := asked(t, s, http.MethodPost, "/v2/app/blobs/uploads/", nil, http.StatusAccepted)
	asked(t, s, http.MethodPut, withDigest(at, b.Digest), part(b, 0, b.Size), http.StatusCreated)
}

// asked gives where the upload goes on.
func asked(t *testing.T, s *server.Server, method, path string, body io.Reader, status int) (location string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if file, ok := body.(*io.SectionReader); ok {
		request.ContentLength = file.Size()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode != status {
		t.Fatalf("%s: %s %s; want %d", method, response.Status, text, status)
	}
	return strings.TrimPrefix(response.Header.Get("Location"), s.URL)
}

// wantBytes pulls a part of a blob, and compares it with what it has to be while it comes.
func wantBytes(s *server.Server, b fakehub.Blob, from, to int64) error {
	request, err := http.NewRequest(http.MethodGet, s.URL+"/v2/app/blobs/"+b.Digest.String(), nil)
	if err != nil {
		return err
	}
	if to-from < b.Size {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, want := make([]byte, 256<<10), make([]byte, 256<<10)
	for at := from; ; {
		n, err := io.ReadFull(response.Body, got)
		if _, err := b.Content.ReadAt(want[:n], at); err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("%s has other bytes behind %d", b.Digest, at)
		}
		if at += int64(n); err != nil && at == to {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s ends at %d of %d: %w", b.Digest, at, to, err)
		}
	}
}

// files are those below a folder.
func files(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return names
}
