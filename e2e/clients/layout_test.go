package clients

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
)

// layoutName is what engines call the image of a layout that they load.
const layoutName = "docker.io/library/loaded:1"

// newPushImage is an image of two layers that was never in a registry. Images of different seeds share no blob.
func newPushImage(t *testing.T, seed uint64) image {
	t.Helper()
	return newImage(fakehub.Spec{
		Layers: []int64{3_000_000}, Seed: 1_000_000 + seed, Binary: appBinary(t, 1_000_000+seed),
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
	})
}

// newPushIndex is an index of an image for this machine and one for another.
func newPushIndex(t *testing.T, seed uint64) (index fakehub.Manifest, native, foreign image) {
	t.Helper()
	native = newPushImage(t, seed)
	foreign = newImage(fakehub.Spec{
		Layers: []int64{700_000}, Seed: 2_000_000 + seed, Binary: []byte("not for this machine"),
		Platform: ocispec.Platform{OS: "linux", Architecture: "s390x"},
	})
	return fakehub.NewIndex(false, native.Image, foreign.Image), native, foreign
}

// writeLayout writes an OCI image layout into the sandbox, in which the tag "1" names m. With the list of files that Docker's
// older archives have beside it, engines without an OCI image store read it too.
func writeLayout(t *testing.T, b *sandbox.Sandbox, m fakehub.Manifest, images ...image) string {
	t.Helper()
	dir := filepath.Join(b.Dir, "images")
	if err := os.MkdirAll(dir+"/blobs/sha256", 0o755); err != nil {
		t.Fatal(err)
	}
	named := m.Descriptor
	named.Annotations = map[string]string{ocispec.AnnotationRefName: "1", "io.containerd.image.name": layoutName}
	b.File("images/"+ocispec.ImageLayoutFile, string(encode(t, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})))
	b.File("images/"+ocispec.ImageIndexFile, string(encode(t, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{named},
	})))
	b.File("images/manifest.json", dockerArchive(t, images))
	manifests := []fakehub.Manifest{m}
	for _, img := range images {
		manifests = append(manifests, img.Manifest)
		for _, blob := range img.Blobs() {
			writeBlob(t, dir, blob)
		}
	}
	for _, m := range manifests {
		writeBlob(t, dir, fakehub.Blob{Descriptor: m.Descriptor, Content: fakehub.Bytes(m.Bytes)})
	}
	return dir
}

// packLayout makes the layout one file.
func packLayout(t *testing.T, b *sandbox.Sandbox, dir string) string {
	t.Helper()
	b.Run("tar", "-C", dir, "-cf", dir+".tar", ocispec.ImageLayoutFile, ocispec.ImageIndexFile, "manifest.json", "blobs")
	return dir + ".tar"
}

func dockerArchive(t *testing.T, images []image) string {
	t.Helper()
	type entry struct {
		Config           string
		RepoTags, Layers []string
	}
	var list []entry
	for _, img := range images {
		e := entry{Config: blobPath(img.Config), RepoTags: []string{layoutName}}
		for _, layer := range img.Layers {
			e.Layers = append(e.Layers, blobPath(layer))
		}
		list = append(list, e)
	}
	return string(encode(t, list))
}

func blobPath(b fakehub.Blob) string { return "blobs/sha256/" + b.Digest.Encoded() }

func writeBlob(t *testing.T, dir string, b fakehub.Blob) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, blobPath(b)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, io.NewSectionReader(b.Content, 0, b.Content.Size()))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func descriptors(blobs []fakehub.Blob) []ocispec.Descriptor {
	var list []ocispec.Descriptor
	for _, b := range blobs {
		list = append(list, b.Descriptor)
	}
	return list
}
