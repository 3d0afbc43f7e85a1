package cache

import (
	"encoding/json"
	"slices"

	"github.com/opencontainers/go-digest"
)

// contents is what manifests and indexes of all known kinds name, each with as much of its descriptor as D has.
type contents[D any] struct {
	Config    *D         `json:"config"`
	Layers    []D        `json:"layers"`
	Blobs     []D        `json:"blobs"`
	Manifests []D        `json:"manifests"`
	FSLayers  []struct { // Docker schema 1
		BlobSum digest.Digest `json:"blobSum"`
	} `json:"fsLayers"`
}

// namedApart gives the digests that a manifest or an index names: those of manifests, and those of blobs. What does not parse
// names none, and a digest that is malformed is none.
func namedApart(manifest []byte) (manifests, blobs []digest.Digest) {
	type digestOnly struct {
		Digest digest.Digest `json:"digest"`
	}
	var content contents[digestOnly]
	if json.Unmarshal(manifest, &content) != nil {
		return nil, nil
	}
	for _, d := range content.Manifests {
		manifests = append(manifests, d.Digest)
	}
	if content.Config != nil {
		blobs = append(blobs, content.Config.Digest)
	}
	for _, d := range slices.Concat(content.Layers, content.Blobs) {
		blobs = append(blobs, d.Digest)
	}
	for _, l := range content.FSLayers {
		blobs = append(blobs, l.BlobSum)
	}
	malformed := func(d digest.Digest) bool { return d.Validate() != nil }
	return slices.DeleteFunc(manifests, malformed), slices.DeleteFunc(blobs, malformed)
}

// namedBlob is a blob as a manifest names it.
type namedBlob struct {
	what string // config or layer
	Descriptor
}

// blobsOf gives the blobs that a manifest names. The size is -1 where it does not say.
func blobsOf(content *contents[Descriptor]) []namedBlob {
	var all []namedBlob
	if content.Config != nil && content.Config.Digest != "" {
		all = append(all, namedBlob{"config", *content.Config})
	}
	for _, d := range slices.Concat(content.Layers, content.Blobs) {
		all = append(all, namedBlob{"layer", d})
	}
	for _, l := range content.FSLayers {
		all = append(all, namedBlob{"layer", Descriptor{Digest: l.BlobSum, Size: -1}})
	}
	return all
}
