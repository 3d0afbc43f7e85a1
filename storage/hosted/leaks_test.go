package hosted

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestCVE_2024_39897_NobodyGetsABlobByItsDigest(t *testing.T) {
	nobodyGets(t, []attempt{
		{"GET", ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error {
			_, err := b.Blob(ctx, v.blob)
			return err
		}},
		{"HEAD", ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error {
			_, err := b.RenewBlob(ctx, v.blob)
			return err
		}},
		{"HEAD of the manifest", nil, func(ctx context.Context, v *vault, b Repo) error { return b.RenewManifest(ctx, v.manifest) }},
		{"deletion", ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error { return b.DeleteBlob(ctx, v.blob) }},
		{"GET by its owner at the same time", ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error {
			v.wantBlob("a", v.blob)
			_, err := b.Blob(ctx, v.blob)
			return err
		}},
	})
}

func TestCVE_2024_39897_NobodyGetsABlobByMountingIt(t *testing.T) {
	mount := func(from string) attempt {
		return attempt{"from " + from, ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error {
			_, err := b.MountBlob(ctx, v.blob, from)
			return err
		}}
	}
	mountAny := func(name string, may func(string) bool) attempt {
		return attempt{name, ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error {
			_, err := b.MountAny(ctx, v.blob, may)
			return err
		}}
	}
	nobodyGets(t, []attempt{
		mount("b"), mount("c"), mount("a!"), mount("a/b"),
		{"from no name", storage.ErrInvalidKey, func(ctx context.Context, v *vault, b Repo) error {
			_, err := b.MountBlob(ctx, v.blob, "")
			return err
		}},
		mountAny("from what may be read: nothing", func(string) bool { return false }),
		mountAny("from what may be read: their own", func(name string) bool { return name == "b" }),
	})
}

func TestNobodyGetsABlobByNamingItInAManifest(t *testing.T) {
	nobodyGets(t, []attempt{
		{"as a layer", ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error { return put(ctx, b, imageOf(v.own, v.layer)) }},
		{"as the config", ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error { return put(ctx, b, imageOf(v.layer, v.own)) }},
		{"twice", ErrBlobUnknown, func(ctx context.Context, v *vault, b Repo) error {
			_ = put(ctx, b, imageOf(v.own, v.layer), "v2")
			return put(ctx, b, imageOf(v.own, v.layer), "v2")
		}},
		{"as a foreign layer", nil, func(ctx context.Context, v *vault, b Repo) error {
			const foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
			layer := strings.Replace(descriptorOf(foreign, v.blob, 1000), "}", `,"urls":["https://example.com/x"]}`, 1)
			m := strings.Replace(string(imageOf(v.own)), `"layers":null`, `"layers":[`+layer+`]`, 1)
			if !strings.Contains(m, string(v.blob)) {
				return errors.New("the manifest does not name the layer")
			}
			return put(ctx, b, []byte(m))
		}},
	})
}

func TestNobodyGetsABlobByNamingItInAnIndex(t *testing.T) {
	nobodyGets(t, []attempt{
		{"as a manifest", nil, func(ctx context.Context, v *vault, b Repo) error {
			return put(ctx, b, []byte(indexOf(descriptorOf(ocispec.MediaTypeImageManifest, v.blob, 1000))), "v2")
		}},
		{"as a build cache names layers", nil, func(ctx context.Context, v *vault, b Repo) error {
			return put(ctx, b, []byte(indexOf(descriptorOf(ocispec.MediaTypeImageLayerGzip, v.blob, 1000))), "v2")
		}},
		{"by its manifest", nil, func(ctx context.Context, v *vault, b Repo) error {
			return put(ctx, b, []byte(indexOf(descriptorOf(ocispec.MediaTypeImageManifest, v.manifest, 500))), "v2")
		}},
	})
}

func TestNobodyGetsABlobByReferringToIt(t *testing.T) {
	refer := func(name string, subject func(*vault) digest.Digest) attempt {
		return attempt{name, nil, func(ctx context.Context, v *vault, b Repo) error {
			if err := put(ctx, b, withSubject(v.own, subject(v))); err != nil {
				return err
			}
			listed, _, err := v.Repo("a").Referrers(ctx, subject(v), "", -1, "")
			if len(listed) > 0 {
				v.t.Errorf("the referrers of a are %v", listed)
			}
			return err
		}}
	}
	nobodyGets(t, []attempt{
		refer("to the blob", func(v *vault) digest.Digest { return v.blob }),
		refer("to the manifest", func(v *vault) digest.Digest { return v.manifest }),
	})
}

func TestNobodyGetsABlobByPretendingToSendIt(t *testing.T) {
	sent := map[string]func(v *vault) []byte{
		"nothing":     func(*vault) []byte { return nil },
		"its start":   func(v *vault) []byte { return v.layer[:999] },
		"more":        func(v *vault) []byte { return append(slices.Clone(v.layer), 0) },
		"other bytes": func(v *vault) []byte { return bytes.Repeat([]byte("x"), len(v.layer)) },
	}
	var attempts []attempt
	for name, body := range sent {
		attempts = append(attempts,
			attempt{name + " in one request", ErrDigestMismatch, func(ctx context.Context, v *vault, b Repo) error {
				return b.PushBlob(ctx, v.blob, bytes.NewReader(body(v)), -1)
			}},
			attempt{name + " with the commit", ErrDigestMismatch, func(ctx context.Context, v *vault, b Repo) error {
				id, err := b.StartUpload(ctx, digest.SHA256)
				if err != nil {
					return err
				}
				err = b.CommitUpload(ctx, id, 0, bytes.NewReader(body(v)), -1, v.blob)
				return errors.Join(err, b.CommitUpload(ctx, id, 0, strings.NewReader(""), 0, v.blob))
			}},
			attempt{name + " as a chunk", ErrDigestMismatch, func(ctx context.Context, v *vault, b Repo) error {
				id, err := b.StartUpload(ctx, digest.SHA512)
				if err == nil {
					_, err = b.AppendUpload(ctx, id, 0, bytes.NewReader(body(v)), -1)
				}
				if err != nil {
					return err
				}
				return b.CommitUpload(ctx, id, -1, strings.NewReader(""), 0, v.blob)
			}},
		)
	}
	attempts = append(attempts, attempt{"a body that breaks off", io.ErrUnexpectedEOF, func(ctx context.Context, v *vault, b Repo) error {
		return b.PushBlob(ctx, v.blob, io.MultiReader(bytes.NewReader(v.layer[:500]), iotest.ErrReader(io.ErrUnexpectedEOF)), 1000)
	}})
	nobodyGets(t, attempts)
}

func TestNobodyGetsABlobByAnotherUpload(t *testing.T) {
	commit := func(name string, id func(*vault) string, as func(v *vault, b Repo) Repo) attempt {
		return attempt{name, ErrUploadUnknown, func(ctx context.Context, v *vault, b Repo) error {
			return as(v, b).CommitUpload(ctx, id(v), -1, strings.NewReader(""), 0, v.blob)
		}}
	}
	underWay := func(v *vault) string { return v.upload }
	nobodyGets(t, []attempt{
		commit("that is another's", underWay, func(_ *vault, b Repo) Repo { return b }),
		commit("that is another's, under their name", underWay, func(_ *vault, b Repo) Repo { return b.For("alice") }),
		commit("that is nobody's", func(*vault) string { return nonce() }, func(_ *vault, b Repo) Repo { return b }),
		commit("that is no upload", func(v *vault) string { return "../" + blobKey(v.blob) }, func(_ *vault, b Repo) Repo { return b }),
		{"that has become the blob", ErrUploadUnknown, func(ctx context.Context, v *vault, b Repo) error {
			if err := v.Repo("a").For("alice").CommitUpload(ctx, v.upload, -1, strings.NewReader(""), 0, v.blob); err != nil {
				return err
			}
			return b.CommitUpload(ctx, v.upload, -1, strings.NewReader(""), 0, v.blob)
		}},
	})
}

// What is deleted in one repository stays so, whatever happens to the same bytes in another.
func TestCVE_2026_35172_NobodyGetsABlobThatWasDeletedHere(t *testing.T) {
	touches := map[string]func(ctx context.Context, v *vault, b Repo) error{
		"read": func(_ context.Context, v *vault, _ Repo) error { _, err := v.readBlob("b", v.blob); return err },
		"HEAD": func(ctx context.Context, v *vault, b Repo) error { _, err := b.RenewBlob(ctx, v.blob); return err },
		"push": func(_ context.Context, v *vault, _ Repo) error { v.pushBlob("b", v.layer); return nil },
		"mount": func(ctx context.Context, v *vault, _ Repo) error {
			_, err := v.Repo("c").MountBlob(ctx, v.blob, "b")
			return err
		},
		"manifest": func(ctx context.Context, v *vault, b Repo) error {
			return put(ctx, b, imageOf(v.own, v.layer), "v2")
		},
	}
	for name, touch := range touches {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := openDisk(t, dir)
			s := newSiteOver(t, newClock(), storage.Under(d, "hosted"))
			v := newVault(s)
			s.pushBlob("b", v.layer)
			if err := s.Repo("a").DeleteManifest(t.Context(), v.manifest); err != nil {
				t.Fatal(err)
			}
			if err := s.Repo("a").DeleteBlob(t.Context(), v.blob); err != nil {
				t.Fatal(err)
			}
			if err := touch(t.Context(), v, s.Repo("b")); err != nil {
				t.Fatal(err)
			}
			v.wantGone("this process", s.Registry)
			v.wantGone("a replica", v.replica)
			s.wantBlob("b", v.blob)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			v.wantGone("the store, opened again", newSiteOver(t, s.clock, storage.Under(openDisk(t, dir), "hosted")).Registry)
		})
	}
}
