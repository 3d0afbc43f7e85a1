package clients

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

const (
	lazyFiles    = 40
	lazyFileSize = 1 << 20
)

// lazyImage is an image of one eStargz layer: the program, and lazyFiles files "/data-0", "/data-1" and so on. A lazy reader
// fetches the table of contents, which is at the layer's end, and the chunks of the files that are read.
func lazyImage(t *testing.T) fakehub.Image {
	t.Helper()
	layer, diffID, toc := lazyLayer(t)
	config := fakehub.NewBlob(ocispec.MediaTypeImageConfig, fakehub.Bytes(encode(t, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
	})))
	layer.Annotations = map[string]string{estargz.TOCJSONDigestAnnotation: toc.String()}
	manifest := fakehub.NewManifest(ocispec.MediaTypeImageManifest, encode(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config.Descriptor,
		Layers:    []ocispec.Descriptor{layer.Descriptor},
	}))
	return fakehub.Image{Manifest: manifest, Config: config, Layers: []fakehub.Blob{layer}}
}

func lazyLayer(t *testing.T) (layer fakehub.Blob, diffID, toc digest.Digest) {
	t.Helper()
	files := lazyTar(t)
	compressed, err := estargz.Build(io.NewSectionReader(bytes.NewReader(files), 0, int64(len(files))))
	if err != nil {
		t.Fatalf("build an eStargz layer: %v", err)
	}
	defer compressed.Close()
	content, err := io.ReadAll(compressed)
	if err != nil {
		t.Fatalf("build an eStargz layer: %v", err)
	}
	return fakehub.NewBlob(ocispec.MediaTypeImageLayerGzip, fakehub.Bytes(content)), compressed.DiffID(), compressed.TOCDigest()
}

func lazyTar(t *testing.T) []byte {
	t.Helper()
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	add := func(name string, mode, size int64, content io.Reader) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, content); err != nil {
			t.Fatal(err)
		}
	}
	program := appBinary(t, 0)
	add("app", 0o755, int64(len(program)), bytes.NewReader(program))
	for i := range lazyFiles {
		noise := fakehub.Random(uint64(i), lazyFileSize)
		add(fmt.Sprintf("data-%d", i), 0o644, lazyFileSize, io.NewSectionReader(noise, 0, lazyFileSize))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return files.Bytes()
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
