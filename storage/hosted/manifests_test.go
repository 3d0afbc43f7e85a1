package hosted

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

func TestManifestByTagAndDigest(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		config, _ := random(10)
		s.pushBlob("team/app", config)
		b := imageOf(config)
		d := s.pushManifest("team/app", b, "v1", "latest")
		for _, ref := range []string{"v1", "latest", string(d)} {
			m, err := s.Repo("team/app").Manifest(t.Context(), ref)
			if err != nil || !bytes.Equal(m.Bytes, b) || m.Digest != d || m.MediaType != "application/vnd.oci.image.manifest.v1+json" {
				t.Errorf("manifest %s: %+v, %v", ref, m, err)
			}
		}
		for _, ref := range []string{"v2", string(digest.FromString("x"))} {
			_, err := s.Repo("team/app").Manifest(t.Context(), ref)
			s.wantError("manifest "+ref, err, ErrManifestUnknown)
		}
		_, err := s.Repo("team").Manifest(t.Context(), "v1")
		s.wantError("manifest of another repository", err, ErrManifestUnknown)
	})
}

func TestManifestsThatAreRefused(t *testing.T) {
	s := newSite(t)
	config, _ := random(10)
	s.pushBlob("a", config)
	s.pushBlob("other", []byte("layer"))
	push := func(p ManifestPush) error {
		_, err := s.Repo("a").PutManifest(t.Context(), p)
		return err
	}
	s.wantError("another digest", push(ManifestPush{Bytes: imageOf(config), Digest: digest.FromString("x")}), ErrDigestMismatch)
	var missing *MissingBlobError
	if err := push(ManifestPush{Bytes: imageOf(config, []byte("layer")), Tags: []string{"v1"}}); !errors.As(err, &missing) || missing.Digest != digest.FromString("layer") {
		t.Errorf("a layer of another repository: %v", err)
	}
	var invalid *InvalidManifestError
	short := bytes.Replace(imageOf(config), []byte(`"size":10`), []byte(`"size":9`), 1)
	if err := push(ManifestPush{Bytes: short, Tags: []string{"v1"}}); !errors.As(err, &invalid) {
		t.Errorf("a descriptor of another size: %v", err)
	}
	if err := push(ManifestPush{Bytes: []byte("{"), Tags: []string{"v1"}}); !errors.As(err, &invalid) {
		t.Errorf("no JSON: %v", err)
	}
	if left := s.keys(repoFolder); len(left) > 0 {
		t.Errorf("left of refused manifests: %v", left)
	}
	_, _, err := s.Repo("a").Tags(t.Context(), -1, "")
	s.wantError("tags", err, ErrNameUnknown)
}

func TestTagsArePagedInByteOrder(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		want := []string{"1.0", "A", "_", "a", "a-b", "a.b", "ab", "b"}
		shuffled := slices.Clone(want)
		slices.Reverse(shuffled)
		s.pushImage("r", shuffled...)
		for n := 1; n <= len(want)+1; n++ {
			var got []string
			for last, more := "", true; more; {
				var page []string
				var err error
				page, more, err = s.Repo("r").Tags(t.Context(), n, last)
				if err != nil || len(page) > n || more && len(page) < n {
					t.Fatalf("page of %d after %q: %v, %v, %v", n, last, page, more, err)
				}
				got = append(got, page...)
				last = page[len(page)-1]
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d: %v, want %v", n, got, want)
			}
		}
		if page, more, err := s.Repo("r").Tags(t.Context(), 5, "zzz"); len(page) > 0 || more || err != nil {
			t.Errorf("after the last: %v, %v, %v", page, more, err)
		}
	})
}

func TestCatalogIsInOrderOfRealNames(t *testing.T) {
	s := newSite(t)
	want := []string{"a", "a-b", "a.b", "a/x", "a/x/y", "a_b", "b"}
	for _, name := range want {
		s.pushImage(name, "v1")
	}
	for n := 1; n <= len(want)+1; n++ {
		var got []string
		for last, more := "", true; more; {
			var page []string
			var err error
			page, more, err = s.Repositories(t.Context(), n, last, nil)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			last = page[len(page)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v, want %v", n, got, want)
		}
	}
}

func TestReferrers(t *testing.T) {
	s := newSite(t)
	config, _ := random(10)
	s.pushBlob("r", config)
	subject := digest.FromString("not pushed yet")
	var pushed []digest.Digest
	for i, artifactType := range []string{"application/x", "application/y", "application/x"} {
		b := bytes.Replace(imageOf(config), []byte(`{"schemaVersion":2,`), fmt.Appendf(nil,
			`{"schemaVersion":2,"artifactType":%q,"annotations":{"i":"%d"},"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":5},`,
			artifactType, i, subject), 1)
		p, err := s.Repo("r").PutManifest(t.Context(), ManifestPush{Bytes: b})
		if err != nil || p.Subject != subject {
			t.Fatalf("push: %+v, %v", p, err)
		}
		pushed = append(pushed, p.Digest)
	}
	for _, c := range []struct {
		artifactType string
		want         int
	}{{"", 3}, {"application/x", 2}, {"application/y", 1}, {"application/z", 0}} {
		for n := 1; n < 5; n++ {
			got := 0
			for last, more := "", true; more; {
				page, next, err := s.Repo("r").Referrers(t.Context(), subject, c.artifactType, n, last)
				if err != nil {
					t.Fatal(err)
				}
				if got, more = got+len(page), next; more {
					last = string(page[len(page)-1].Digest)
				}
			}
			if got != c.want {
				t.Errorf("%q by %d: %d referrers, want %d", c.artifactType, n, got, c.want)
			}
		}
	}
	if err := s.Repo("r").DeleteManifest(t.Context(), pushed[0]); err != nil {
		t.Fatal(err)
	}
	if left, _, err := s.Repo("r").Referrers(t.Context(), subject, "", -1, ""); len(left) != 2 || err != nil {
		t.Errorf("after one was deleted: %v, %v", left, err)
	}
}

func TestDeletes(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		d, blobs := s.pushImage("r", "v1", "v2")
		other, _ := s.pushImage("r", "v3")
		r := s.Repo("r")
		if err := r.DeleteTag(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
		_, err := r.Manifest(t.Context(), "v1")
		s.wantError("deleted tag", err, ErrManifestUnknown)
		s.wantError("delete the tag again", r.DeleteTag(t.Context(), "v1"), ErrManifestUnknown)
		if _, err := r.Manifest(t.Context(), string(d)); err != nil {
			t.Errorf("manifest after its tag: %v", err)
		}
		if err := r.DeleteManifest(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		s.wantError("delete the manifest again", r.DeleteManifest(t.Context(), d), ErrManifestUnknown)
		for _, ref := range []string{"v2", string(d)} {
			_, err := r.Manifest(t.Context(), ref)
			s.wantError("manifest "+ref, err, ErrManifestUnknown)
		}
		if tags, _, err := r.Tags(t.Context(), -1, ""); !slices.Equal(tags, []string{"v3"}) || err != nil {
			t.Errorf("tags: %v, %v", tags, err)
		}
		if m, err := r.Manifest(t.Context(), "v3"); m.Digest != other || err != nil {
			t.Errorf("v3: %v, %v", m.Digest, err)
		}
		s.wantBlob("r", blobs[0])
	})
}

func TestWritersOfOneTag(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		config, _ := random(10)
		s.pushBlob("r", config)
		var running sync.WaitGroup
		written := map[digest.Digest]bool{}
		for i := range 16 {
			b := append(imageOf(config), bytes.Repeat([]byte(" "), i)...)
			written[digest.FromBytes(b)] = true
			running.Go(func() {
				if _, err := s.Repo("r").PutManifest(t.Context(), ManifestPush{Bytes: b, Tags: []string{"latest"}}); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		m, err := s.Repo("r").Manifest(t.Context(), "latest")
		if err != nil || !written[m.Digest] {
			t.Errorf("the tag points to %v, %v", m.Digest, err)
		}
	})
}

func TestPushersOfOneBlob(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		b, d := random(10_000)
		var running sync.WaitGroup
		for i := range 16 {
			running.Go(func() {
				r := s.Repo(fmt.Sprint("r", i%4))
				id, err := r.StartUpload(t.Context(), digest.SHA256)
				if err == nil {
					err = r.CommitUpload(t.Context(), id, -1, bytes.NewReader(b), -1, d)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		for i := range 4 {
			s.wantBlob(fmt.Sprint("r", i), d)
		}
		if parts := s.keys(partFolder); len(parts) != 1 {
			t.Errorf("%d parts, want 1", len(parts))
		}
	})
}

func TestRacingChunks(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		id, err := s.Repo("r").StartUpload(t.Context(), digest.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		const racers = 8
		errs := make(chan error, racers)
		for range racers {
			go func() {
				_, err := s.Repo("r").AppendUpload(t.Context(), id, 0, bytes.NewReader([]byte("chunk")), 5)
				errs <- err
			}()
		}
		won := 0
		for range racers {
			var offset *OffsetError
			switch err := <-errs; {
			case err == nil:
				won++
			case !errors.As(err, &offset) || offset.End != 5:
				t.Errorf("loser: %v", err)
			}
		}
		if end, err := s.Repo("r").UploadEnd(t.Context(), id); won != 1 || end != 5 || err != nil {
			t.Errorf("%d racers won, and the upload ends at %d, %v", won, end, err)
		}
		if err := s.Repo("r").CancelUpload(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if parts := s.keys(partFolder); len(parts) != 0 {
			t.Errorf("%d parts stay, also those of the losers", len(parts))
		}
	})
}

func TestDamagedManifestIsNotServedAndHealed(t *testing.T) {
	s := newSite(t)
	config, _ := random(10)
	s.pushBlob("r", config)
	b := imageOf(config)
	d := s.pushManifest("r", b, "v1")
	s.spoil(manifestKey("r", d))
	_, err := s.Repo("r").Manifest(t.Context(), "v1")
	s.wantError("damaged manifest", err, ErrManifestUnknown)
	if _, err := s.Collect(t.Context(), CollectOptions{Grace: 0}); err == nil {
		t.Error("collection goes on without knowing what the damaged manifest names")
	}
	s.pushManifest("r", b)
	if _, err := s.Repo("r").Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("after another push: %v", err)
	}
}

// TestPushOfAManifestThatIsCutOff fails each operation of a push of a manifest with a subject for good, as a crash would:
// the manifest is then seen with all that leads to it, or not at all.
func TestPushOfAManifestThatIsCutOff(t *testing.T) {
	subject := digest.FromString("subject")
	for n := int64(1); ; n++ {
		s := newSite(t)
		config, _ := random(10)
		s.pushBlob("r", config)
		b := bytes.Replace(imageOf(config), []byte(`{`), fmt.Appendf(nil,
			`{"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":5},`, subject), 1)
		failing := storagetest.NewFailing(s.store, storagetest.Failure{N: n, Onward: true})
		_, err := newSiteOver(t, s.clock, failing).Repo("r").PutManifest(t.Context(), ManifestPush{Bytes: b, Tags: []string{"v1"}})
		_, notSeen := s.Repo("r").Manifest(t.Context(), string(digest.FromBytes(b)))
		_, notTagged := s.Repo("r").Manifest(t.Context(), "v1")
		listed, _, listErr := s.Repo("r").Referrers(t.Context(), subject, "", -1, "")
		if listErr != nil || (len(listed) == 1) != (notSeen == nil) {
			t.Errorf("cut at operation %d: the manifest reads as %v, its subject has %d referrers, %v", n, notSeen, len(listed), listErr)
		}
		if err == nil && notTagged != nil {
			t.Errorf("cut at operation %d: the push succeeds, and the tag reads as %v", n, notTagged)
		}
		if !failing.Failed() {
			break
		}
	}
}

func TestSearch(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"team/app", "team/app-data", "other"} {
		s.pushImage(name, "v1")
	}
	for term, want := range map[string][]string{"app": {"team/app", "team/app-data"}, "APP-": {"team/app-data"}, "m/a": {"team/app", "team/app-data"}, "x": nil} {
		var got []string
		for name, err := range s.Search(t.Context(), term) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%q finds %v, want %v", term, got, want)
		}
	}
}
