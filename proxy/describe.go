package proxy

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	believableSize  = 1 << 50   // bytes; what says that it is larger lies
	mostParts       = 300       // of a manifest that are looked at
	mostAnnotations = 100       // that are shown
	longestValue    = 1000      // runes of a text that is shown
	mostDescribed   = 128 << 10 // bytes of a manifest: reading a large one into values takes thirty times its memory, and real ones are smaller
)

// described is what a manifest or an index says of itself.
type described struct {
	kind         string // image, index, chart, signature, SBOM, provenance, attestation, artifact
	artifactType string
	config       ocispec.Descriptor // without a digest where there is none
	layers       []ocispec.Descriptor
	size         int64 // of config and layers, each once; -1: unknown, or not believable
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

// describe reads a manifest of any kind. What cannot be read, or is too large, is an artifact without parts. Sizes are -1 where they are not
// believable, and what has no valid digest is left out.
func describe(mediaType string, manifest []byte) described {
	if len(manifest) > mostDescribed {
		return described{kind: "manifest too large to look into", size: -1}
	}
	doc := readObject(manifest)
	annotations := field[map[string]string](doc, "annotations")
	d := described{
		artifactType: field[string](doc, "artifactType"),
		config:       descriptor(doc["config"]),
		layers:       append(descriptors(doc["layers"]), descriptors(doc["blobs"])...), // blobs: the artifact manifest of OCI 1.1's drafts
		subject:      descriptor(doc["subject"]).Digest,
		annotations:  pairsOf(annotations),
	}
	if mediaType == "" {
		mediaType = field[string](doc, "mediaType")
	}
	sums := field[[]map[string]string](doc, "fsLayers")
	switch entries, isIndex := doc["manifests"]; {
	case isIndex || isIndexType(mediaType):
		d.kind, d.size, d.config, d.layers = kindIndex, -1, ocispec.Descriptor{}, nil
		for _, entry := range descriptors(entries) {
			d.children = append(d.children, describeChild(entry))
		}
	case sums != nil:
		d.kind, d.size, d.config, d.layers = kindImage, -1, ocispec.Descriptor{}, schema1Layers(sums)
	default:
		d.kind = kindOfManifest(d, annotations)
		d.size = sizeOf(d)
		if d.artifactType == "" && d.kind != kindImage {
			d.artifactType = d.config.MediaType
		}
	}
	if len(doc) == 0 || len(d.layers) >= mostParts {
		d.size = -1
	}
	d.artifactType = shorten(d.artifactType, longestValue)
	return d
}

func isIndexType(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

// schema1Layers are those of an image of Docker's first format, which lists the newest first and knows no sizes.
func schema1Layers(sums []map[string]string) (layers []ocispec.Descriptor) {
	for _, sum := range slices.Backward(sums[:min(len(sums), mostParts)]) {
		if d := digest.Digest(sum["blobSum"]); d.Validate() == nil {
			layers = append(layers, ocispec.Descriptor{MediaType: dockerLayer, Digest: d, Size: -1})
		}
	}
	return layers
}

// describeChild tells what an entry of an index is without its manifest.
func describeChild(d ocispec.Descriptor) child {
	if name := platformText(d.Platform); name != "" && d.Annotations[referenceType] == "" {
		return child{Descriptor: d, name: name}
	}
	kind := describeReferrer(d)
	switch {
	case kind != kindOther:
	case isIndexType(d.MediaType):
		kind = kindIndex
	case d.ArtifactType == "" && strings.Contains(d.MediaType, "manifest"):
		kind = kindImage
	default:
		kind = kindArtifact
	}
	return child{Descriptor: d, name: kind, kind: kind}
}

// platformText is a platform as clients write it; empty where there is none.
func platformText(p *ocispec.Platform) string {
	if p == nil || p.OS == "" || p.OS == "unknown" {
		return ""
	}
	text := p.OS
	for _, part := range []string{p.Architecture, p.Variant} {
		if part != "" {
			text += "/" + part
		}
	}
	if p.OSVersion != "" { // Windows has several images that differ in nothing else
		text += " (" + p.OSVersion + ")"
	}
	return shorten(text, 100)
}

// sizeOf adds up what is pulled, each blob once.
func sizeOf(d described) (total int64) {
	counted := map[digest.Digest]bool{"": true}
	for _, part := range append([]ocispec.Descriptor{d.config}, d.layers...) {
		if counted[part.Digest] {
			continue
		}
		counted[part.Digest] = true
		if total += part.Size; part.Size < 0 || total > believableSize {
			return -1
		}
	}
	return total
}

// pairsOf sorts by name.
func pairsOf(values map[string]string) (pairs []ui.Pair) {
	for name, value := range values {
		pairs = append(pairs, ui.Pair{Name: name, Value: value})
	}
	slices.SortFunc(pairs, func(a, b ui.Pair) int { return cmp.Compare(a.Name, b.Name) })
	pairs = pairs[:min(len(pairs), mostAnnotations)]
	for i, p := range pairs {
		pairs[i] = ui.Pair{Name: shorten(p.Name, longestValue), Value: shorten(p.Value, longestValue)}
	}
	return pairs
}

// readObject takes a JSON object apart; empty where it is none.
func readObject(b []byte) (fields map[string]json.RawMessage) {
	if json.Unmarshal(b, &fields) != nil {
		return nil
	}
	return fields
}

// field reads a part of an object; its zero value where it is of another type, so that one odd part hides no other.
func field[T any](object map[string]json.RawMessage, name string) (v T) {
	var none T
	if raw, ok := object[name]; !ok || json.Unmarshal(raw, &v) != nil {
		return none
	}
	return v
}

// descriptor reads one; without a digest where it is none.
func descriptor(raw json.RawMessage) ocispec.Descriptor {
	o := readObject(raw)
	d := ocispec.Descriptor{
		Digest:       field[digest.Digest](o, "digest"),
		MediaType:    shorten(field[string](o, "mediaType"), longestValue),
		ArtifactType: shorten(field[string](o, "artifactType"), longestValue),
		Annotations:  field[map[string]string](o, "annotations"),
		Platform:     field[*ocispec.Platform](o, "platform"),
		Size:         -1,
	}
	if d.Digest.Validate() != nil {
		return ocispec.Descriptor{}
	}
	if size := field[*int64](o, "size"); size != nil && *size >= 0 && *size <= believableSize {
		d.Size = *size
	}
	return d
}

func descriptors(raw json.RawMessage) (all []ocispec.Descriptor) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	for _, one := range list[:min(len(list), mostParts)] {
		if d := descriptor(one); d.Digest != "" {
			all = append(all, d)
		}
	}
	return all
}
