package hosted

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// infos pages through the tags of a repository.
func (s *site) infos(repo string, n int) (all []TagInfo) {
	s.t.Helper()
	for last := ""; ; {
		page, more, err := s.Repo(repo).TagInfos(s.t.Context(), n, last)
		if err != nil || len(page) > n {
			s.t.Fatalf("page of %d after %q: %d tags, %v", n, last, len(page), err)
		}
		all = append(all, page...)
		if !more {
			return all
		}
		last = page[len(page)-1].Name
	}
}

func TestTagInfosArePagedInByteOrder(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		names := []string{"1", "1-a", "1.0", "10", "A", "_x", "a", "latest", "v1"}
		var want []TagInfo
		layer := s.pushBlobs("r")
		for _, name := range names {
			s.clock.pass(time.Minute)
			p, err := s.Repo("r").PutManifest(t.Context(), ManifestPush{Bytes: imageOf(layer), Tags: []string{name}, By: "by " + name})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, TagInfo{Name: name, Digest: p.Digest, By: "by " + name, Changed: s.clock.Now()})
		}
		for n := 1; n <= len(names)+1; n++ {
			if got := s.infos("r", n); !slices.Equal(got, want) {
				t.Errorf("pages of %d: %+v, want %+v", n, got, want)
			}
		}
		if got, err := s.Repo("r").TagInfo(t.Context(), "1.0"); err != nil || got != want[2] {
			t.Errorf("%+v, %v, want %+v", got, err, want[2])
		}
	})
}

// pushBlobs gives a blob that the repository has.
func (s *site) pushBlobs(repo string) []byte {
	b, _ := random(10)
	s.pushBlob(repo, b)
	return b
}

func TestTagInfosOfWhatIsNotThere(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		_, err := s.Repo("r").TagInfo(t.Context(), "v1")
		s.wantError("a tag of no repository", err, ErrManifestUnknown)
		_, _, err = s.Repo("r").TagInfos(t.Context(), 10, "")
		s.wantError("tags of no repository", err, ErrNameUnknown)

		b := s.pushBlobs("r")
		d := s.pushManifest("r", imageOf(b), "a", "b")
		if err := s.Repo("r").DeleteTag(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if got := s.infos("r", 1); len(got) != 1 || got[0].Name != "b" || got[0].Digest != d {
			t.Errorf("%+v", got)
		}
		_, err = s.Repo("r").TagInfo(t.Context(), "a")
		s.wantError("a deleted tag", err, ErrManifestUnknown)
	})
}

func TestADamagedTagHidesNoOther(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		s.pushManifest("r", imageOf(s.pushBlobs("r")), "a", "b", "c", "d")
		for _, tag := range []string{"a", "b", "d"} {
			s.spoil(tagKey("r", tag))
		}
		for n := 1; n < 5; n++ {
			if got := s.infos("r", n); len(got) != 1 || got[0].Name != "c" {
				t.Errorf("pages of %d: %+v", n, got)
			}
		}
		_, err := s.Repo("r").TagInfo(t.Context(), "a")
		s.wantError("a damaged tag", err, ErrManifestUnknown)
	})
}

func TestAStoreThatFailsHasNoTagInfos(t *testing.T) {
	broken := errors.New("input/output error")
	var fault error
	c := newClock()
	s := newSiteOver(t, c, storagetest.Around(newSite(t).store, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
		if fault != nil && strings.HasSuffix(key, "/tags/b") {
			return fault
		}
		return do()
	}))
	s.pushManifest("r", imageOf(s.pushBlobs("r")), "a", "b", "c")
	fault = broken
	_, _, err := s.Repo("r").TagInfos(t.Context(), 10, "")
	s.wantError("list", err, broken)
	_, err = s.Repo("r").TagInfo(t.Context(), "b")
	s.wantError("get", err, broken)
	fault = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = s.Repo("r").TagInfos(ctx, 10, "")
	s.wantError("list when nobody waits", err, context.Canceled)
}

// BenchmarkTagInfos is a page of 50 of 10,000 tags.
func BenchmarkTagInfos(b *testing.B) {
	d, err := disk.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	g, err := New(Options{Store: storage.Under(d, "hosted"), Ahead: 8})
	if err != nil {
		b.Fatal(err)
	}
	_, manifest := random(1)
	for i := range 10_000 {
		if _, err := g.writeAs(b.Context(), tagKey("r", fmt.Sprintf("v%05d", i)), tagRecord{Digest: manifest, By: "ci"}, storage.Absent); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if tags, more, err := g.Repo("r").TagInfos(b.Context(), 50, "v05000"); err != nil || len(tags) != 50 || !more {
			b.Fatalf("%d, %v, %v", len(tags), more, err)
		}
	}
}
