package hosted

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

func TestCollectTakesNothingThatIsNeeded(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		tagged, a := s.pushImage("r", "v1")
		untagged, b := s.pushImage("r")
		for range 4 {
			if _, err := s.Collect(t.Context(), CollectOptions{Full: true}); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range []digest.Digest{tagged, untagged} {
			if _, err := s.Repo("r").Manifest(t.Context(), string(d)); err != nil {
				t.Error(err)
			}
		}
		for _, d := range slices.Concat(a, b) {
			s.wantBlob("r", d)
		}
	})
}

func TestBlobsGoInTwoRuns(t *testing.T) {
	s := newSite(t)
	d, blobs := s.pushImage("r", "v1")
	if err := s.Repo("r").DeleteManifest(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if r := s.collect(); r.Condemned+r.Freed > 0 {
		t.Errorf("within the grace: %+v", r)
	}
	s.clock.pass(2 * time.Hour)
	if r, err := s.Collect(t.Context(), CollectOptions{Grace: -1, DryRun: true}); r.Freed != 2 || r.FreedBytes != 1100 || err != nil {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	if r := s.collect(); r.Condemned != 2 || r.Freed != 0 {
		t.Errorf("first run: %+v", r)
	}
	if rec, _, err := s.blob(t.Context(), blobs[0]); rec.State != condemned || err != nil {
		t.Errorf("between the runs the blob is %s, %v", rec.State, err)
	}
	if r := s.collect(); r.Freed != 2 || r.FreedBytes != 1100 {
		t.Errorf("second run: %+v", r)
	}
	for _, folder := range []string{partFolder, blobFolder, holdFolder} {
		if left := s.keys(folder); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	s.clock.pass(2 * time.Hour)
	s.collect()
	for info := range s.store.List(t.Context(), "", "") {
		if info.Key != runKey {
			t.Errorf("tombstone left: %s", info.Key)
		}
	}
	if names, _, err := s.Repositories(t.Context(), -1, "", nil); len(names) > 0 || err != nil {
		t.Errorf("catalog: %v, %v", names, err)
	}
}

func TestClaimsKeepBlobs(t *testing.T) {
	claims := map[string]func(s *site, b []byte, d digest.Digest) error{
		"push": func(s *site, b []byte, d digest.Digest) error {
			return s.Repo("r").PushBlob(s.t.Context(), d, bytes.NewReader(b), int64(len(b)))
		},
		"HEAD": func(s *site, _ []byte, d digest.Digest) error {
			_, err := s.Repo("r").RenewBlob(s.t.Context(), d)
			return err
		},
		"mount": func(s *site, _ []byte, d digest.Digest) error {
			_, err := s.Repo("other").MountBlob(s.t.Context(), d, "r")
			return err
		},
		"manifest": func(s *site, b []byte, _ digest.Digest) error {
			_, err := s.Repo("r").PutManifest(s.t.Context(), ManifestPush{Bytes: imageOf(b)})
			return err
		},
	}
	for name, claim := range claims {
		for _, runs := range []int{0, 1} {
			s := newSite(t)
			b, d := random(50)
			s.pushBlob("r", b)
			s.clock.pass(2 * time.Hour)
			for range runs {
				s.collect() // condemns
			}
			if err := claim(s, b, d); err != nil {
				t.Errorf("%s after %d runs: %v", name, runs, err)
			}
			if r := s.collect(); r.Condemned+r.Freed > 0 {
				t.Errorf("%s after %d runs, next run: %+v", name, runs, r)
			}
			if rec, _, err := s.blob(t.Context(), d); rec.State != live || err != nil {
				t.Errorf("%s after %d runs: the blob is %s, %v", name, runs, rec.State, err)
			}
		}
	}
}

func TestBlobLivesAgain(t *testing.T) {
	s := newSite(t)
	b, d := random(50)
	for range 3 {
		s.pushBlob("r", b)
		s.wantBlob("r", d)
		for range 2 {
			s.clock.pass(2 * time.Hour)
			s.collect()
		}
		_, err := s.Repo("r").Blob(t.Context(), d)
		s.wantError("collected blob", err, ErrBlobUnknown)
	}
}

func TestAbandonedUploadsGo(t *testing.T) {
	s := newSite(t)
	id, err := s.Repo("r").StartUpload(t.Context(), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Repo("r").AppendUpload(t.Context(), id, 0, strings.NewReader("hello"), 5); err != nil {
		t.Fatal(err)
	}
	if r := s.collect(); r.Uploads != 0 || s.Usage().Uploads != 1 {
		t.Errorf("within the grace: %+v, %d open", r, s.Usage().Uploads)
	}
	s.clock.pass(2 * time.Hour)
	if r := s.collect(); r.Uploads != 1 || s.Usage().Uploads != 0 {
		t.Errorf("after it: %+v, %d open", r, s.Usage().Uploads)
	}
	if left := append(s.keys(partFolder), s.keys(uploadFolder)...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPartsThatNothingNamesGo(t *testing.T) {
	s := newSite(t)
	_, blobs := s.pushImage("r", "v1")
	if err := s.store.Put(t.Context(), partKey(newPart()), strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	s.clock.pass(2 * time.Hour)
	if r := s.collect(); r.Orphans != 1 {
		t.Errorf("%+v", r)
	}
	s.wantBlob("r", blobs[0])
	if parts := s.keys(partFolder); len(parts) != 2 {
		t.Errorf("%d parts, want 2", len(parts))
	}
}

func TestUntaggedManifests(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Untagged = 24 * time.Hour })
	old, _ := s.pushImage("r", "latest")
	kept, _ := s.pushImage("r", "latest") // takes the tag
	forgotten, _ := s.pushImage("r")
	s.clock.pass(23 * time.Hour)
	young, _ := s.pushImage("r")
	if r := s.collect(); r.Untagged != 0 {
		t.Errorf("within the time: %+v", r)
	}
	s.clock.pass(2 * time.Hour)
	if r := s.collect(); r.Untagged != 2 {
		t.Errorf("after the time: %+v", r)
	}
	for d, want := range map[digest.Digest]bool{old: false, forgotten: false, kept: true, young: true} {
		if _, err := s.Repo("r").Manifest(t.Context(), string(d)); (err == nil) != want {
			t.Errorf("kept is %v, want %v", err == nil, want)
		}
	}
}

func TestTagsThatPointNowhereGo(t *testing.T) {
	s := newSite(t)
	kept, _ := s.pushImage("r", "v1")
	d, _ := s.pushImage("r", "v2")
	if err := s.store.Delete(t.Context(), manifestKey("r", d)); err != nil { // as a crash in the middle of a deletion may
		t.Fatal(err)
	}
	s.clock.pass(2 * time.Hour)
	if r := s.collect(); r.Condemned != 3 { // the tag and two blobs
		t.Errorf("first run: %+v", r)
	}
	s.collect()
	if tags, _, err := s.Repo("r").Tags(t.Context(), -1, ""); !slices.Equal(tags, []string{"v1"}) || err != nil {
		t.Errorf("tags: %v, %v", tags, err)
	}
	if _, err := s.Repo("r").Manifest(t.Context(), string(kept)); err != nil {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	s := newSite(t)
	s.pushImage("a", "v1")
	config, _ := random(100)
	for _, repo := range []string{"b", "c"} {
		s.pushBlob(repo, config)
		s.pushManifest(repo, imageOf(config), "v1")
	}
	s.collect()
	u := s.Usage()
	size := int64(len(imageOf(config)))
	if u.Repositories["b"] != (RepoUsage{Manifests: 1, Bytes: 100 + size}) || u.Blobs != 3 || u.Manifests != 3 {
		t.Errorf("%+v", u)
	}
	if want := u.Repositories["a"].Bytes + 100 + 2*size; u.Bytes != want {
		t.Errorf("%d bytes in all, want %d", u.Bytes, want)
	}
}

// TestEveryFailedOperation fails the first, the second, ... operation of a push, with and without its effect, and then
// pushes again: that has to succeed, and collection has to leave nothing but what was pushed.
func TestEveryFailedOperation(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for n := int64(1); ; n++ {
			s := newSite(t)
			whole := s.Registry
			failing := storagetest.NewFailing(s.store, storagetest.Failure{N: n, Lost: lost})
			s.Registry = newSiteOver(t, s.clock, failing).Registry
			a, _ := random(100)
			b, _ := random(200)
			push := func() error {
				r := s.Repo("r")
				if err := r.PushBlob(t.Context(), digest.FromBytes(a), bytes.NewReader(a), 100); err != nil {
					return err
				}
				id, err := r.StartUpload(t.Context(), digest.SHA256)
				if err != nil {
					return err
				}
				if _, err := r.AppendUpload(t.Context(), id, 0, bytes.NewReader(b[:50]), 50); err != nil {
					return err
				}
				if err := r.CommitUpload(t.Context(), id, 50, bytes.NewReader(b[50:]), 150, digest.FromBytes(b)); err != nil {
					return err
				}
				_, err = r.PutManifest(t.Context(), ManifestPush{Bytes: imageOf(a, b), Tags: []string{"v1"}})
				return err
			}
			err := push()
			if err != nil && !errors.Is(err, storagetest.ErrInjected) {
				t.Fatalf("operation %d failed: %v", n, err)
			}
			s.Registry = whole
			if err := push(); err != nil {
				t.Fatalf("operation %d failed, and then: %v", n, err)
			}
			for range 4 {
				s.clock.pass(2 * time.Hour)
				s.collect()
			}
			s.wantBlob("r", digest.FromBytes(a))
			s.wantBlob("r", digest.FromBytes(b))
			if parts := s.keys(partFolder); len(parts) < 2 || len(parts) > 3 {
				t.Errorf("operation %d failed, and then %d parts", n, len(parts))
			}
			if left := s.keys(uploadFolder); len(left) > 0 {
				t.Errorf("operation %d failed, and uploads stay: %v", n, left)
			}
			if !failing.Failed() {
				break
			}
		}
	}
}

func TestNoRoom(t *testing.T) {
	room := int64(100)
	s := newSite(t, func(o *Options) {
		o.Room = func(_ context.Context, n int64) error {
			if n > room {
				return storage.ErrNoSpace
			}
			return nil
		}
	})
	b, d := random(101)
	for _, size := range []int64{101, -1} {
		err := s.Repo("r").PushBlob(t.Context(), d, io.MultiReader(bytes.NewReader(b)), size)
		s.wantError("push without room", err, storage.ErrNoSpace)
	}
	if left := append(s.keys(partFolder), s.keys(uploadFolder)...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	room = roomStep
	s.pushBlob("r", b)
}

func TestTombstonesAreShorterThanRecords(t *testing.T) {
	for _, v := range []any{blobRecord{}, holdRecord{}, uploadRecord{}, tagRecord{}, nameRecord{}, manifestHeader{}} {
		if b, err := encode(v); err != nil || len(b) <= tombstoneSize {
			t.Errorf("%T: %s, %v", v, b, err)
		}
	}
	if got := len(tombstone()); got != tombstoneSize {
		t.Errorf("a tombstone has %d bytes, want %d", got, tombstoneSize)
	}
}
