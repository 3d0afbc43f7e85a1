package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// A full disk takes the cache's space first, then nothing more, and nothing half; what is deleted and collected makes room.
func TestPushesIntoAFullDisk(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, smallDisk(t, "96m"), fakehub.Options{}, "HOSTED", "team", "DISK_SIZE", "1GiB", "MIN_FREE", "0")
	cached := fakehub.RandomBlob(100, 40<<20)
	s.hub.Repo("library/app").AddBlob(cached)
	s.wantBlob("library/app", cached)
	s.kept(1)
	const size = 8 << 20
	var pushed []digest.Digest
	full := false
	for i := range uint64(12) {
		content := noise(i, size)
		d := digest.FromBytes(content)
		a := s.ask(http.MethodPost, withDigest(uploadsPath("team/app"), d), content)
		if a.status == http.StatusInsufficientStorage {
			s.refused("push", a, http.StatusInsufficientStorage, "UNAVAILABLE")
			s.absent(blobPath("team/app", d))
			full = true
			break
		}
		s.accepted("push", a, http.StatusCreated)
		pushed = append(pushed, d)
	}
	// 96 MiB, less 16 that stay free: only a cache that gave up all of its 40 leaves room for nine.
	if !full || len(pushed) < 9 {
		t.Fatalf("%d blobs of %d fitted; full: %v", len(pushed), size, full)
	}
	s.fullEveryWay(noise(50, size))
	for i, d := range pushed {
		s.keepsBlob("team/app", d, noise(uint64(i), size))
	}
	s.wantBlob("library/app", cached) // past the cache
	small := s.pushImage("team/small", "latest", 200)
	s.keeps(manifestPath("team/small", "latest"), small.Digest, small.Bytes)

	for _, d := range pushed[:3] {
		s.remove(blobPath("team/app", d))
	}
	for range 3 {
		s.collect()
	}
	// What was not deleted is not named by a manifest either.
	if used := s.usage(); used > 4<<20 {
		t.Errorf("%d bytes are left", used)
	}
	content := noise(51, size)
	s.keepsBlob("team/app", s.push("team/app", content).Digest, content)
	s.keeps(manifestPath("team/small", "latest"), small.Digest, small.Bytes)
}

// fullEveryWay pushes by every way what there is no room for.
func (s site) fullEveryWay(content []byte) {
	s.Helper()
	d := digest.FromBytes(content)
	before := s.usage()
	at := s.begin("team/app", "")
	s.refused("PATCH", s.ask(http.MethodPatch, at, content), http.StatusInsufficientStorage, "UNAVAILABLE")
	s.refused("PATCH without a length", s.askStream(http.MethodPatch, at, content), http.StatusInsufficientStorage, "UNAVAILABLE")
	s.refused("PUT", s.ask(http.MethodPut, withDigest(at, d), content), http.StatusInsufficientStorage, "UNAVAILABLE")
	s.has("status", s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent), "Range", "0-0")
	s.accepted("cancel", s.ask(http.MethodDelete, at, nil), http.StatusNoContent)
	s.absent(blobPath("team/app", d))
	if grown := s.usage() - before; grown > 1<<20 {
		s.Errorf("%d bytes are left of pushes that were refused", grown)
	}
}

// Somebody else takes the last byte. What is there is served, nothing is half there, and when there is room all goes on.
func TestNoByteIsFree(t *testing.T) {
	t.Parallel()
	data := smallDisk(t, "64m")
	s := newSiteOn(t, data, fakehub.Options{}, "DEFAULT_UPSTREAM", "none", "MIN_FREE", "0")
	m, content := s.pushImage("team/app", "latest", 1), noise(2, 100_000)
	d := s.push("team/app", content).Digest
	next := manifestOf(described(d, content))
	at := s.chunks(s.begin("team/app", ""), content[:1000], 1)
	hog := fillDisk(t, data)

	late := noise(3, 100_000)
	for name, a := range map[string]answer{
		"POST":              s.ask(http.MethodPost, withDigest(uploadsPath("team/app"), digest.FromBytes(late)), late),
		"begin":             s.ask(http.MethodPost, uploadsPath("team/app"), nil),
		"PATCH":             s.ask(http.MethodPatch, at, late),
		"PUT":               s.ask(http.MethodPut, withDigest(at, d), content[1000:]),
		"manifest":          s.put("team/app", "next", next),
		"manifest and tags": s.put("team/app", next.Digest.String()+"?tag=a&tag=b", next),
		"a tag that moves":  s.put("team/app", "latest", next),
	} {
		if a.status != http.StatusInsufficientStorage {
			t.Errorf("%s: status %d: %.200s", name, a.status, a.body)
		}
	}
	s.absent(manifestPath("team/app", "next"), manifestPath("team/app", "a"), manifestPath("team/app", next.Digest.String()),
		blobPath("team/app", digest.FromBytes(late)))
	s.keeps(manifestPath("team/app", "latest"), m.Digest, m.Bytes)
	s.keepsBlob("team/app", d, content)
	if tags, _ := s.list("/v2/team/app/tags/list"); !slices.Equal(tags, []string{"latest"}) {
		t.Errorf("the tags are %v", tags)
	}

	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	s.has("status", s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent), "Range", "0-999")
	s.accepted("PUT", s.ask(http.MethodPut, withDigest(at, d), content[1000:]), http.StatusCreated)
	s.keepsBlob("team/app", s.push("team/app", late).Digest, late)
	s.accepted("manifest", s.put("team/app", "next", next), http.StatusCreated)
	s.keeps(manifestPath("team/app", "next"), next.Digest, next.Bytes)
}

// fillDisk takes all the space that is left.
func fillDisk(t *testing.T, dir string) (hog string) {
	t.Helper()
	hog = filepath.Join(dir, "hog")
	f, err := os.Create(hog)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	return hog
}

func TestCollectionTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	s.pushImage("team/app", "latest", 1)
	s.push("team/app", noise(2, 1<<20))
	out, code := s.server.Run("gc", "--dry-run", "--grace", "0s")
	if code != 0 || !strings.Contains(out, "would free") {
		t.Errorf("a dry run ends with %d: %s", code, out)
	}
	s.keepsBlob("team/app", digest.FromBytes(noise(2, 1<<20)), noise(2, 1<<20))
	var all string
	for range 3 {
		all += s.collect()
	}
	if !strings.Contains(all, "freed blobs: 1 of 1.0 MiB") {
		t.Errorf("gc says %s", all)
	}
	s.absent(blobPath("team/app", digest.FromBytes(noise(2, 1<<20))))
}
