package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/storage/hosted"
)

// open opens the data directory as a command without a server does.
func open(t *testing.T, data string, do func(*stored)) {
	t.Helper()
	c := load(t, "DATA="+data, "DISK_SIZE=64MiB", "MIN_FREE=0", "MEMORY_SIZE=8MiB")
	s, err := openStored(c, unseenCounts(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	do(s)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// pushImage pushes an image of one layer, and gives the digests of its manifest and of the layer.
func pushImage(t *testing.T, repo hosted.Repo, tag string, layer []byte) (manifest, blob digest.Digest) {
	t.Helper()
	blob = digest.FromBytes(layer)
	for _, content := range [][]byte{layer, ocispec.DescriptorEmptyJSON.Data} {
		if err := repo.PushBlob(t.Context(), digest.FromBytes(content), bytes.NewReader(content), int64(len(content))); err != nil {
			t.Fatal(err)
		}
	}
	config := ocispec.DescriptorEmptyJSON
	config.Data = nil
	document, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: blob, Size: int64(len(layer))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := repo.PutManifest(t.Context(), hosted.ManifestPush{Tags: []string{tag}, Bytes: document})
	if err != nil {
		t.Fatal(err)
	}
	return pushed.Digest, blob
}

// hostedParts are the files of the blobs that are hosted.
func hostedParts(t *testing.T, data string) (files []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, "objects", "hosted", "parts"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		files, size = append(files, path), size+info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, size
}

// site is a data directory where commands work with a server or without one.
type site struct {
	data string
	*running
}

// everywhere runs a test with a server and without. The directory is prepared before.
func everywhere(t *testing.T, prepare func(*stored), test func(t *testing.T, s site)) {
	for _, online := range []bool{true, false} {
		t.Run(map[bool]string{true: "in the server", false: "without a server"}[online], func(t *testing.T) {
			s := site{data: t.TempDir()}
			open(t, s.data, prepare)
			if online {
				s.running = start(t, "DATA="+s.data)
			} else {
				s.running = &running{t: t, environment: environment("DATA=" + s.data)}
			}
			test(t, s)
		})
	}
}

// collectAll collects without waiting for anything to be old.
func (s site) collectAll() (r hosted.CollectReport) {
	s.t.Helper()
	code, out, errs := s.command("gc", "--grace", "0s", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK {
		s.t.Fatalf("gc: %d %s %s", code, out, errs)
	}
	return r
}

func TestCollectionFreesWhatWasDeleted(t *testing.T) {
	layer := bytes.Repeat([]byte("layer"), 1<<20)
	prepare := func(s *stored) {
		repo := s.hosted.Repo("team/app")
		pushImage(t, repo, "kept", []byte("another layer"))
		gone, _ := pushImage(t, repo, "gone", layer)
		if err := repo.DeleteManifest(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	everywhere(t, prepare, func(t *testing.T, s site) {
		s.want("freed blobs: 0 of 0 B", "gc") // what was pushed a moment ago is safe
		s.want("would free blobs: 1 of 5.0 MiB", "gc", "--dry-run", "--grace", "0s")
		if _, size := hostedParts(t, s.data); size < int64(len(layer)) {
			t.Fatalf("%d bytes are left before the collection", size)
		}
		r := s.collectAll()
		if r.FreedBytes != int64(len(layer)) || r.Freed != 1 || r.Condemned != 0 || r.Blobs != 2 || r.Manifests != 1 || r.Repositories != 1 {
			t.Errorf("report: %+v", r)
		}
		if _, size := hostedParts(t, s.data); size > 1<<10 {
			t.Errorf("%d bytes are left after the collection", size)
		}
		s.want("kept repositories: 1, manifests: 1, blobs: 2", "gc", "--grace", "0s")
	})
}

func TestMistakesInGCAndVerify(t *testing.T) {
	s := running{t: t, environment: environment("DATA=" + t.TempDir())}
	for _, args := range [][]string{{"gc", "--grace", "soon"}, {"gc", "--grace", "-1h"}, {"gc", "now"}, {"verify", "--rate", "fast"}, {"verify", "all"}} {
		if code, _, errs := s.command(args...); code != exitUsage {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
}

func TestVerificationFindsDamage(t *testing.T) {
	var layer digest.Digest
	prepare := func(s *stored) {
		pushImage(t, s.hosted.Repo("team/app"), "1", []byte("sound"))
		_, layer = pushImage(t, s.hosted.Repo("team/app"), "2", bytes.Repeat([]byte("layer"), 1<<20))
	}
	everywhere(t, prepare, func(t *testing.T, s site) {
		s.want("hosted: sound manifests: 2, sound blobs: 3, 5.0 MiB; damaged: 0", "verify")
		damage(t, s.data, 5<<20)
		code, out, errs := s.command("verify", "--rate", "0")
		if code != exitFailed || !strings.Contains(out, "hosted "+string(layer)+" is damaged\n") || !strings.Contains(errs, "damaged hosted contents: 1") {
			t.Errorf("verify: %d %s %s", code, out, errs)
		}
		code, out, _ = s.command("verify", "--json") // damage that is known is still damage
		var v verified
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitFailed {
			t.Fatalf("verify: %d %v %s", code, err, out)
		}
		if !strings.Contains(out, `"damaged":[]`) {
			t.Errorf("no damage in the cache is not an empty list: %s", out)
		}
		if len(v.Hosted.Damaged) != 1 || v.Hosted.Damaged[0] != string(layer) || v.Hosted.Blobs != 2 {
			t.Errorf("report: %+v", v)
		}
	})
}

// damage flips a bit of the part of that size.
func damage(t *testing.T, data string, size int64) {
	t.Helper()
	files, _ := hostedParts(t, data)
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.Size() == size {
			flip(t, path)
			return
		}
	}
	t.Fatalf("no part has %d bytes", size)
}

// flip turns a bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
