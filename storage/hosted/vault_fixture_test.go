package hosted

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage/disk"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// vault is a site where repository "a" has an image that no other has. Somebody who may push to "b" knows all its digests.
type vault struct {
	*site
	replica  *Registry // over the same store
	layer    []byte
	blob     digest.Digest // of the layer
	manifest digest.Digest
	own      []byte // a blob that "b" has
	upload   string // of alice to "a", under way, with the layer's bytes
}

func newVault(s *site) *vault {
	s.t.Helper()
	v := &vault{site: s, replica: newSiteOver(s.t, s.clock, s.store).Registry}
	config, _ := random(100)
	v.layer, v.blob = random(1000)
	s.pushBlob("a", config)
	s.pushBlob("a", v.layer)
	v.manifest = s.pushManifest("a", imageOf(config, v.layer), "v1")
	v.own, _ = random(100)
	s.pushBlob("b", v.own)
	s.pushManifest("b", imageOf(v.own), "v1")
	alice := s.Repo("a").For("alice")
	var err error
	if v.upload, err = alice.StartUpload(s.t.Context(), digest.SHA256); err == nil {
		_, err = alice.AppendUpload(s.t.Context(), v.upload, 0, bytes.NewReader(v.layer), 1000)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// attempt is one try of somebody who may push to b. want is what they are told; nil: it succeeds, and gives them nothing.
type attempt struct {
	name string
	want error
	do   func(ctx context.Context, v *vault, b Repo) error
}

// nobodyGets makes each attempt in a vault of its own, on every kind of store. Afterwards the content is still where it was,
// and b does not have it: not here, not in a replica, not after a restart, not for a mount, not after a collection.
func nobodyGets(t *testing.T, attempts []attempt) {
	t.Helper()
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, s *site) {
				v := newVault(s)
				err := a.do(t.Context(), v, s.Repo("b").For("mallory"))
				if missing := new(MissingBlobError); errors.As(err, &missing) {
					err = ErrBlobUnknown
				}
				s.wantError(a.name, err, a.want)
				v.wantShut()
				s.clock.pass(2 * time.Hour)
				s.collect()
				s.collect()
				v.wantShut()
			})
		})
	}
}

func (v *vault) wantShut() {
	v.t.Helper()
	restarted := newSiteOver(v.t, v.clock, v.store).Registry
	for who, g := range map[string]*Registry{"this process": v.Registry, "a replica": v.replica, "a restarted one": restarted} {
		v.wantNotIn(who, g, "b")
	}
	v.wantBlob("a", v.blob)
	if _, err := v.Repo("a").Manifest(v.t.Context(), "v1"); err != nil {
		v.t.Errorf("the image is not where it was: %v", err)
	}
}

// wantNotIn asks a repository for the layer and the manifest in every way.
func (v *vault) wantNotIn(who string, g *Registry, repo string) {
	v.t.Helper()
	ctx, r := v.t.Context(), g.Repo(repo).For("mallory")
	want := func(doing string, got, want error) {
		v.t.Helper()
		v.wantError(doing+" in "+who, got, want)
	}
	_, err := r.Blob(ctx, v.blob)
	want("GET of the blob", err, ErrBlobUnknown)
	_, err = r.Blob(ctx, v.manifest)
	want("GET of the manifest as a blob", err, ErrBlobUnknown)
	_, err = r.RenewBlob(ctx, v.blob)
	want("HEAD of the blob", err, ErrBlobUnknown)
	want("deletion of the blob", r.DeleteBlob(ctx, v.blob), ErrBlobUnknown)
	_, err = g.Repo("c").MountBlob(ctx, v.blob, repo)
	want("mount of the blob", err, ErrBlobUnknown)
	_, err = g.Repo("c").MountAny(ctx, v.blob, func(name string) bool { return name != "a" })
	want("mount of the blob from anywhere else", err, ErrBlobUnknown)
	_, err = r.PutManifest(ctx, ManifestPush{Bytes: imageOf(v.own, v.layer)})
	if !errors.As(err, new(*MissingBlobError)) {
		v.t.Errorf("manifest of the blob in %s: %v, want that it is missing", who, err)
	}
	want("commit", r.CommitUpload(ctx, nonce(), -1, strings.NewReader(""), 0, v.blob), ErrUploadUnknown)
	_, err = r.Manifest(ctx, string(v.manifest))
	want("GET of the manifest", err, ErrManifestUnknown)
	want("deletion of the manifest", r.DeleteManifest(ctx, v.manifest), ErrManifestUnknown)
}

func put(ctx context.Context, r Repo, b []byte, tags ...string) error {
	_, err := r.PutManifest(ctx, ManifestPush{Bytes: b, Tags: tags})
	return err
}

// withSubject is an image of the blob that refers to a subject.
func withSubject(blob []byte, subject digest.Digest) []byte {
	return bytes.Replace(imageOf(blob), []byte(`{`), fmt.Appendf(nil,
		`{"subject":{"mediaType":%q,"digest":%q,"size":5},`, ocispec.MediaTypeImageManifest, subject), 1)
}

func descriptorOf(mediaType string, d digest.Digest, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, d, size)
}

// wantGone asks repository a for what was deleted there.
func (v *vault) wantGone(who string, g *Registry) {
	v.t.Helper()
	ctx, r := v.t.Context(), g.Repo("a").For("alice")
	_, err := r.Blob(ctx, v.blob)
	v.wantError("GET in "+who, err, ErrBlobUnknown)
	_, err = r.RenewBlob(ctx, v.blob)
	v.wantError("HEAD in "+who, err, ErrBlobUnknown)
	_, err = g.Repo("d").MountBlob(ctx, v.blob, "a")
	v.wantError("mount in "+who, err, ErrBlobUnknown)
	v.wantError("commit in "+who, r.CommitUpload(ctx, nonce(), -1, strings.NewReader(""), 0, v.blob), ErrUploadUnknown)
	for _, ref := range []string{"v1", string(v.manifest)} {
		_, err = r.Manifest(ctx, ref)
		v.wantError("GET of "+ref+" in "+who, err, ErrManifestUnknown)
	}
}

func openDisk(t *testing.T, dir string) *disk.Store {
	t.Helper()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
