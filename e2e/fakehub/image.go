package fakehub

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	_ "crypto/sha512" // images may ask for sha512
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's own format, which most of Docker Hub still has.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Blob is content and what a manifest says of it.
type Blob struct {
	ocispec.Descriptor
	Content Content
}

// NewBlob describes content. It reads all of it once.
func NewBlob(mediaType string, c Content) Blob { return newBlob(digest.SHA256, mediaType, c) }

func newBlob(alg digest.Algorithm, mediaType string, c Content) Blob {
	sum := alg.Digester()
	copyAll(sum.Hash(), c)
	return Blob{ocispec.Descriptor{MediaType: mediaType, Digest: sum.Digest(), Size: c.Size()}, c}
}

// RandomBlob is a blob of exactly size bytes of noise.
func RandomBlob(seed uint64, size int64) Blob {
	return NewBlob("application/octet-stream", Random(seed, size))
}

// Spec says what an image is made of.
type Spec struct {
	Layers []int64 // sizes of random layers; each is a gzipped tar slightly larger than its size
	Seed   uint64  // images with different seeds share no random layer

	Binary []byte   // a static binary, which becomes /app in the first layer and the entrypoint
	Args   []string // its arguments
	Env    []string

	Platform  ocispec.Platform // linux/amd64 unless set
	Docker    bool             // Docker's media types instead of OCI's
	Algorithm digest.Algorithm // of every digest; sha256 unless set
}

// Manifest is a manifest or an index and its bytes.
type Manifest struct {
	ocispec.Descriptor
	Bytes []byte
}

// Image is an image of one platform.
type Image struct {
	Manifest Manifest
	Config   Blob
	Layers   []Blob
}

// Blobs are the config and the layers.
func (i Image) Blobs() []Blob { return append([]Blob{i.Config}, i.Layers...) }

// Size is what a cold pull of the image fetches in blobs. A layer that occurs twice counts once.
func (i Image) Size() int64 {
	var sum int64
	seen := map[digest.Digest]bool{}
	for _, b := range i.Blobs() {
		if !seen[b.Digest] {
			sum += b.Size
		}
		seen[b.Digest] = true
	}
	return sum
}

// NewImage builds an image. It hashes each layer's bytes three times (tar, gzip, checksum).
func NewImage(s Spec) Image {
	if s.Platform.OS == "" {
		s.Platform = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	}
	if s.Algorithm == "" {
		s.Algorithm = digest.SHA256
	}
	tars := s.tars()
	img := Image{Config: s.config(tars)}
	for _, t := range tars {
		img.Layers = append(img.Layers, newBlob(s.Algorithm, s.mediaType(DockerLayer, ocispec.MediaTypeImageLayerGzip), gzipped(t)))
	}
	img.Manifest = s.manifest(img)
	return img
}

func (s Spec) mediaType(docker, oci string) string {
	if s.Docker {
		return docker
	}
	return oci
}

// tars are the layers before compression.
func (s Spec) tars() []Content {
	var layers []Content
	if s.Binary != nil {
		layers = append(layers, tarred("app", 0o755, Bytes(s.Binary)))
	}
	for i, size := range s.Layers {
		seed := mix(s.Seed) + uint64(i)
		layers = append(layers, tarred(fmt.Sprintf("data-%x", seed), 0o644, Random(seed, size)))
	}
	return layers
}

// tarred is a tar with one file.
func tarred(name string, mode int64, c Content) Content {
	var head bytes.Buffer
	w := tar.NewWriter(&head)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: c.Size(), ModTime: time.Unix(1700000000, 0)}); err != nil {
		panic("fakehub: tar header: " + err.Error())
	}
	padding := (512 - c.Size()%512) % 512
	return join(Bytes(head.Bytes()), c, Bytes(make([]byte, padding+1024)))
}

func (s Spec) config(tars []Content) Blob {
	config := ocispec.Image{Platform: s.Platform, Config: ocispec.ImageConfig{Env: s.Env}}
	if s.Binary != nil {
		config.Config.Entrypoint = append([]string{"/app"}, s.Args...)
	}
	config.RootFS.Type = "layers"
	for _, t := range tars {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, newBlob(digest.SHA256, "", t).Digest)
	}
	return newBlob(s.Algorithm, s.mediaType(DockerConfig, ocispec.MediaTypeImageConfig), Bytes(encode(config)))
}

func (s Spec) manifest(img Image) Manifest {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: s.mediaType(DockerManifest, ocispec.MediaTypeImageManifest),
		Config:    img.Config.Descriptor,
		Layers:    []ocispec.Descriptor{},
	}
	for _, layer := range img.Layers {
		m.Layers = append(m.Layers, layer.Descriptor)
	}
	made := newManifest(s.Algorithm, m.MediaType, encode(m))
	made.Platform = &s.Platform
	return made
}

// NewIndex is a multi-arch index of images.
func NewIndex(docker bool, images ...Image) Manifest {
	s := Spec{Docker: docker}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: s.mediaType(DockerList, ocispec.MediaTypeImageIndex),
	}
	for _, img := range images {
		index.Manifests = append(index.Manifests, img.Manifest.Descriptor)
	}
	return NewManifest(index.MediaType, encode(index))
}

// NewManifest describes the bytes of a manifest.
func NewManifest(mediaType string, b []byte) Manifest {
	return newManifest(digest.SHA256, mediaType, b)
}

func newManifest(alg digest.Algorithm, mediaType string, b []byte) Manifest {
	return Manifest{ocispec.Descriptor{MediaType: mediaType, Digest: alg.FromBytes(b), Size: int64(len(b))}, b}
}

// NewArtifact is a manifest that refers to a subject, with the payload as its one layer: a signature, an SBOM.
func NewArtifact(subject ocispec.Descriptor, artifactType string, payload []byte) Image {
	subject = ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	img := Image{
		Config: NewBlob(ocispec.MediaTypeEmptyJSON, Bytes([]byte("{}"))),
		Layers: []Blob{NewBlob("application/octet-stream", Bytes(payload))},
	}
	img.Manifest = NewManifest(ocispec.MediaTypeImageManifest, encode(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType,
		Config:       img.Config.Descriptor,
		Layers:       []ocispec.Descriptor{img.Layers[0].Descriptor},
		Subject:      &subject,
	}))
	img.Manifest.ArtifactType = artifactType
	return img
}

// encode is for values that always encode. The line end at the end makes sure that nobody encodes a manifest anew.
func encode(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("fakehub: encode: " + err.Error())
	}
	return append(b, '\n')
}
