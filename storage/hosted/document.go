package hosted

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

type document struct {
	mediaType, artifactType string
	subject                 *ocispec.Descriptor
	blobs, manifests        []ocispec.Descriptor
	named                   []digest.Digest
	annotations             map[string]string
}

func parseDocument(declared string, b []byte) (document, error) {
	var m struct {
		MediaType string
		Config    *ocispec.Descriptor
		Layers    []ocispec.Descriptor
		Manifests []ocispec.Descriptor
		Subject   *ocispec.Descriptor
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return document{}, &InvalidManifestError{err.Error()}
	}
	d := document{mediaType: m.MediaType, subject: m.Subject, manifests: m.Manifests, blobs: m.Layers}
	if m.Config != nil {
		d.blobs = append(d.blobs, *m.Config)
	}
	for _, x := range d.blobs {
		d.named = append(d.named, x.Digest)
	}
	for _, x := range d.manifests {
		d.named = append(d.named, x.Digest)
	}
	return d, nil
}

func (d document) referrer(dgst digest.Digest, size int64) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.mediaType, Digest: dgst, Size: size}
}
