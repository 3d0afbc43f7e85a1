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

	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

// spoil flips the last byte of an object.
func (s *site) spoil(key string) {
	s.t.Helper()
	b, _, err := s.store.Get(context.Background(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := s.store.Put(context.Background(), key, bytes.NewReader(b), int64(len(b))); err != nil {
		s.t.Fatal(err)
	}
}

func TestVerifyQuarantinesAndAPushHeals(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		b, d := random(1000)
		s.pushBlob("r", b)
		s.pushManifest("r", imageOf(b), "v1")
		read := 0
		r, err := s.Verify(t.Context(), VerifyOptions{Wait: func(_ context.Context, n int) error { read += n; return nil }})
		if err != nil || r.Blobs != 1 || r.Manifests != 1 || len(r.Damaged) > 0 || read < 1000 {
			t.Errorf("%+v, %v, read %d", r, err, read)
		}
		for _, spoil := range []func(){
			func() { s.spoil(s.keys(partFolder)[0]) },
			func() { _ = s.store.Delete(t.Context(), s.keys(partFolder)[0]) },
			func() { _ = s.store.Put(t.Context(), s.keys(partFolder)[0], bytes.NewReader(b[:999]), 999) },
		} {
			spoil()
			for range 2 {
				if r, err := s.Verify(t.Context(), VerifyOptions{}); err != nil || !slices.Equal(r.Damaged, []string{string(d)}) {
					t.Errorf("%+v, %v", r, err)
				}
			}
			_, err = s.Repo("r").Blob(t.Context(), d)
			s.wantError("damaged blob", err, ErrBlobUnknown)
			_, err = s.Repo("r").RenewBlob(t.Context(), d)
			s.wantError("HEAD of a damaged blob", err, ErrBlobUnknown)
			s.pushBlob("r", b)
			s.wantBlob("r", d)
			if r, err := s.Verify(t.Context(), VerifyOptions{}); err != nil || len(r.Damaged) > 0 {
				t.Errorf("after another push: %+v, %v", r, err)
			}
			if parts := s.keys(partFolder); len(parts) != 1 {
				t.Errorf("%d parts, want 1", len(parts))
			}
		}
	})
}

func TestDamagedRecordIsHealedByTheNextPush(t *testing.T) {
	config, d := random(10)
	for _, key := range []string{tagKey("r", "v1"), nameKey("r"), blobKey(d), holdKey(d, "r"), manifestKey("r", digest.FromBytes(imageOf(config)))} {
		s := newSite(t, func(o *Options) { o.Untagged = 24 * time.Hour })
		s.pushBlob("r", config)
		s.pushManifest("r", imageOf(config), "v1", "v2")
		b, _, err := s.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		b[0] = 'X'
		if err := s.store.Put(t.Context(), key, bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		if err := s.Repo("r").PushBlob(t.Context(), d, bytes.NewReader(config), -1); err != nil {
			t.Errorf("%s: push of the blob: %v", key, err)
		}
		if _, err := s.Repo("r").PutManifest(t.Context(), ManifestPush{Bytes: imageOf(config), Tags: []string{"v1"}}); err != nil {
			t.Errorf("%s: push of the manifest: %v", key, err)
		}
		s.wantBlob("r", d)
		if _, err := s.Repo("r").Manifest(t.Context(), "v1"); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if r, err := s.Verify(t.Context(), VerifyOptions{}); err != nil || len(r.Damaged) > 0 {
			t.Errorf("%s: verify: %+v, %v", key, r, err)
		}
		s.clock.pass(2 * time.Hour)
		s.collect()
	}
}

func TestDamagedTagStopsNobodyElse(t *testing.T) {
	s := newSite(t)
	d, _ := s.pushImage("r", "v1")
	other, _ := s.pushImage("r", "v2")
	s.spoil(tagKey("r", "v1"))
	if err := s.Repo("r").DeleteManifest(t.Context(), other); err != nil {
		t.Errorf("deletion of another manifest: %v", err)
	}
	s.clock.pass(2 * time.Hour)
	s.collect()
	_, err := s.Repo("r").Manifest(t.Context(), "v1")
	s.wantError("damaged tag", err, ErrManifestUnknown)
	if err := s.Repo("r").DeleteTag(t.Context(), "v1"); err != nil {
		t.Errorf("deletion of the damaged tag: %v", err)
	}
	if _, err := s.Repo("r").Manifest(t.Context(), string(d)); err != nil {
		t.Error(err)
	}
}

func TestShortPartEndsARead(t *testing.T) {
	s := newSite(t)
	whole := []byte("aaaaaaaaaabbbbbbbbbb")
	r := s.Repo("r")
	id, err := r.StartUpload(t.Context(), digest.SHA256)
	if err == nil {
		_, err = r.AppendUpload(t.Context(), id, -1, bytes.NewReader(whole[:10]), 10)
	}
	if err == nil {
		err = r.CommitUpload(t.Context(), id, -1, bytes.NewReader(whole[10:]), 10, digest.FromBytes(whole))
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Blob(t.Context(), digest.FromBytes(whole))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.Put(t.Context(), partKey(b.parts[0].Name), strings.NewReader("aaaaa"), 5); err != nil {
		t.Fatal(err)
	}
	reads := map[string]func(*Reader) ([]byte, error){
		"Read": func(in *Reader) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{in}) },
		"WriteTo": func(in *Reader) ([]byte, error) {
			var out bytes.Buffer
			_, err := in.WriteTo(&out)
			return out.Bytes(), err
		},
	}
	for name, read := range reads {
		in, err := b.Open(t.Context(), 0, 12)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read(in); !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "aaaaa" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		in.Close()
	}
}

func TestManifestThatIsBeingPushedIsNotDamaged(t *testing.T) {
	for n := int64(1); ; n++ {
		s := newSite(t)
		config, _ := random(10)
		s.pushBlob("r", config)
		failing := storagetest.NewFailing(s.store, storagetest.Failure{N: n, Onward: true})
		_, _ = newSiteOver(t, s.clock, failing).Repo("r").PutManifest(t.Context(), ManifestPush{Bytes: imageOf(config)})
		if r, err := s.Verify(t.Context(), VerifyOptions{}); err != nil || len(r.Damaged) > 0 {
			t.Errorf("cut at operation %d: %+v, %v", n, r, err)
		}
		if !failing.Failed() {
			break
		}
	}
}

func TestCommitThatIsSentAgainSucceeds(t *testing.T) {
	s := newSite(t)
	b, d := random(100)
	r := s.Repo("r")
	id, err := r.StartUpload(t.Context(), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := r.CommitUpload(t.Context(), id, 0, bytes.NewReader(b), 100, d); err != nil {
			t.Errorf("commit: %v", err)
		}
	}
	_, other := random(10)
	s.wantError("commit of another blob", r.CommitUpload(t.Context(), id, 0, strings.NewReader(""), 0, other), ErrUploadUnknown)
}

// TestUntaggedManifestKeepsItsBlobs: whichever of the two times is the longer, no manifest is ever seen without its blobs.
func TestUntaggedManifestKeepsItsBlobs(t *testing.T) {
	for _, untagged := range []time.Duration{time.Minute, 30 * time.Minute, 5 * time.Hour} {
		s := newSite(t, func(o *Options) { o.Untagged = untagged })
		d, blobs := s.pushImage("r")
		for range 60 {
			s.clock.pass(10 * time.Minute)
			s.collect()
			if _, err := s.Repo("r").Manifest(t.Context(), string(d)); err != nil {
				break
			}
			s.wantBlob("r", blobs[0])
		}
		if _, err := s.Repo("r").Manifest(t.Context(), string(d)); err == nil {
			t.Errorf("untagged for %s, the manifest is still there", untagged)
		}
	}
}
