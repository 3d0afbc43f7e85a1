package proxy

import (
	"time"

	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// described is what a manifest or an index says of itself.
type described struct {
	kind         string // image, index, chart, signature, SBOM, provenance, attestation, artifact
	artifactType string
	config       ocispec.Descriptor // without a digest where there is none
	layers       []ocispec.Descriptor
	size         int64 // of config and layers, as far as that is believable
	children     []child
	annotations  []ui.Pair     // by name
	subject      digest.Digest // empty: none
}

// child is one entry of an index.
type child struct {
	ocispec.Descriptor
	name string // linux/arm64/v8, or the kind of what has no platform
	kind string // as described's; empty: an image of that platform
}

// describe reads a manifest of any kind. What cannot be read is an artifact without parts.
func describe(mediaType string, manifest []byte) described { return described{kind: "artifact"} }

// describeReferrer is the kind of an entry of a list of referrers.
func describeReferrer(d ocispec.Descriptor) string { return "other" }

// configured is what an image's configuration says.
type configured struct {
	created  time.Time
	platform string
	commands []string  // what made each layer, in their order; shorter where the history does not say
	pairs    []ui.Pair // what a person wants to know
}

// describeConfig reads an image's configuration. What cannot be read says nothing.
func describeConfig(config []byte) configured { return configured{} }
