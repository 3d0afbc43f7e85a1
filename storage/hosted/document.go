package hosted

import (
	"fmt"
	"maps"
	"mime"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// document is what a manifest says that matters to whoever keeps it.
type document struct {
	mediaType    string
	artifactType string
	configType   string // an image manifest's: that of its config
	subject      *ocispec.Descriptor
	blobs        []ocispec.Descriptor // what has to be in the repository: config, layers, blobs; each digest once
	manifests    []ocispec.Descriptor // entries of an index; each digest once. Build caches name layers in theirs
	named        []digest.Digest      // all but the subject, foreign layers included; each once
	annotations  map[string]string
}

// Media types beside those of package ocispec.
const (
	dockerManifest   = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList       = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1    = "application/vnd.docker.distribution.manifest.v1+" // json, prettyjws, jws
	dockerTypes      = "application/vnd.docker."
	artifactManifest = "application/vnd.oci.artifact.manifest.v1+json"
)

// maxMediaType is what RFC 6838, section 4.2 leaves for a media type, in bytes.
const maxMediaType = 255

// shape is what the keys of a document make of it.
type shape string

const (
	image    shape = "image manifest"
	index    shape = "index"
	artifact shape = "artifact manifest"
	unknown  shape = "document that names nothing"
)

// parseDocument reads a manifest that was declared to be of a media type; empty: not declared. A document that two clients
// could read as two different things is an *InvalidManifestError, as every other fault is (CVE-2021-41190).
func parseDocument(declared string, b []byte) (document, error) {
	mediaType, err := bareType(declared)
	if err != nil {
		return document{}, err
	}
	if strings.HasPrefix(mediaType, dockerSchema1) { // its signed form is not plain JSON
		return document{}, errSchema1()
	}
	w, err := readWritten(b)
	if err != nil {
		return document{}, err
	}
	own, err := bareType(w.mediaType)
	if err != nil {
		return document{}, err
	}
	if own != "" && mediaType != "" && own != mediaType {
		return document{}, invalid("it is declared as %s and says of itself that it is %s", mediaType, own)
	}
	if own != "" {
		mediaType = own
	}
	found, err := w.shape()
	if err != nil {
		return document{}, err
	}
	mediaType, found, err = agree(mediaType, found)
	if err != nil {
		return document{}, err
	}
	if err := w.checkVersion(mediaType); err != nil {
		return document{}, err
	}
	return w.document(mediaType, found)
}

// bareType is a media type without parameters, in lower case. Empty stays empty.
func bareType(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	bare, _, _ := strings.Cut(s, ";")
	mediaType, _, err := mime.ParseMediaType(bare)
	if err != nil || !strings.Contains(mediaType, "/") || len(mediaType) > maxMediaType {
		return "", invalid("%.80q is no media type", s)
	}
	return mediaType, nil
}

// shape is what a reader of any kind would take the document for; an error where two would differ.
func (w *written) shape() (shape, error) {
	if w.has("fsLayers") {
		return "", errSchema1()
	}
	var found []shape
	if w.has("config") || w.has("layers") {
		found = append(found, image)
	}
	if w.has("manifests") {
		found = append(found, index)
	}
	if w.has("blobs") {
		found = append(found, artifact)
	}
	switch len(found) {
	case 0:
		return unknown, nil
	case 1:
		return found[0], nil
	}
	return "", invalid("it is ambiguous: its keys are those of an %s and of an %s", found[0], found[1])
}

// agree gives a document without a media type the one of its shape, and any other has to have the shape of its type.
func agree(mediaType string, found shape) (string, shape, error) {
	want := found
	switch mediaType {
	case "":
		switch found {
		case image:
			return ocispec.MediaTypeImageManifest, found, nil
		case index:
			return ocispec.MediaTypeImageIndex, found, nil
		}
		return "", "", invalid("it has no media type")
	case ocispec.MediaTypeImageManifest, dockerManifest:
		want = image
	case ocispec.MediaTypeImageIndex, dockerList:
		want = index
	case artifactManifest:
		if found == unknown {
			return mediaType, artifact, nil // its blobs are optional
		}
		want = artifact
	default:
		if strings.HasPrefix(mediaType, dockerSchema1) {
			return "", "", errSchema1()
		}
		if !strings.HasSuffix(mediaType, "+json") && !strings.HasSuffix(mediaType, "/json") {
			return "", "", invalid("%s is not the media type of a manifest", mediaType)
		}
	}
	if found != want || found == unknown {
		return "", "", invalid("its media type is %s, and its keys are those of an %s", mediaType, found)
	}
	return mediaType, found, nil
}

// checkVersion is strict about the media types that define a schemaVersion.
func (w *written) checkVersion(mediaType string) error {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList:
		if w.schemaVersion == nil {
			return invalid("it has no schemaVersion")
		}
	}
	if w.schemaVersion == nil || *w.schemaVersion == 2 {
		return nil
	}
	return invalid("its schemaVersion is %d, and only 2 is known", *w.schemaVersion)
}

// document is w with every descriptor checked.
func (w *written) document(mediaType string, found shape) (document, error) {
	if err := checkType(w.artifactType); err != nil {
		return document{}, err
	}
	c := gathering{
		doc:     document{mediaType: mediaType, artifactType: w.artifactType, annotations: w.annotations},
		anyType: strings.HasPrefix(mediaType, dockerTypes),
		sizes:   make(map[digest.Digest]int64),
		names:   make(map[digest.Digest]bool),
	}
	if found == image {
		if w.config == nil {
			return document{}, invalid("an image manifest needs a config")
		}
		c.doc.configType = w.config.mediaType
	}
	if w.subject != nil {
		subject, err := c.check(*w.subject)
		if err != nil {
			return document{}, err
		}
		c.doc.subject = &subject
	}
	if err := c.gather(w); err != nil {
		return document{}, err
	}
	return c.doc, nil
}

// gathering makes lists of what a document names.
type gathering struct {
	doc     document
	anyType bool // Docker's specification does not require media types of descriptors
	sizes   map[digest.Digest]int64
	names   map[digest.Digest]bool
}

func (c *gathering) gather(w *written) error {
	if w.config != nil {
		config := *w.config
		config.foreign = false
		if err := c.blob(config); err != nil {
			return err
		}
	}
	for _, list := range [][]descriptor{w.layers, w.blobs} {
		for _, b := range list {
			if err := c.blob(b); err != nil {
				return err
			}
		}
	}
	for _, m := range w.manifests {
		checked, err := c.check(m)
		if err != nil {
			return err
		}
		if c.name(checked.Digest) {
			c.doc.manifests = append(c.doc.manifests, checked)
		}
	}
	return nil
}

func (c *gathering) blob(b descriptor) error {
	checked, err := c.check(b)
	if err != nil {
		return err
	}
	c.name(checked.Digest)
	if b.foreign {
		return nil
	}
	size, known := c.sizes[checked.Digest]
	if known && size != checked.Size {
		return invalid("it says that %s has %d bytes, and that it has %d", checked.Digest, size, checked.Size)
	}
	if !known {
		c.sizes[checked.Digest] = checked.Size
		c.doc.blobs = append(c.doc.blobs, checked)
	}
	return nil
}

// name reports whether nothing has named d before.
func (c *gathering) name(d digest.Digest) bool {
	if c.names[d] {
		return false
	}
	c.names[d] = true
	c.doc.named = append(c.doc.named, d)
	return true
}

func (c *gathering) check(d descriptor) (ocispec.Descriptor, error) {
	if err := d.digest.Validate(); err != nil {
		return ocispec.Descriptor{}, invalid("digest %.80q: %v", d.digest, err)
	}
	if d.size == nil || *d.size < 0 {
		return ocispec.Descriptor{}, invalid("the descriptor of %s has no size", d.digest)
	}
	if d.mediaType == "" && !c.anyType {
		return ocispec.Descriptor{}, invalid("the descriptor of %s has no media type", d.digest)
	}
	if err := checkType(d.mediaType); err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: d.mediaType, Digest: d.digest, Size: *d.size}, nil
}

// checkType is less strict than RFC 6838: what names no type is kept and given back as any other text is.
func checkType(s string) error {
	odd := strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	if odd || len(s) > maxMediaType {
		return invalid("%.80q is no media type", s)
	}
	return nil
}

// referrer describes the document, whose digest and size are given, in the list of its subject's referrers.
func (d document) referrer(dgst digest.Digest, size int64) ocispec.Descriptor {
	kind := d.artifactType
	if kind == "" {
		kind = d.configType
	}
	return ocispec.Descriptor{
		MediaType: d.mediaType, Digest: dgst, Size: size, ArtifactType: kind, Annotations: maps.Clone(d.annotations),
	}
}

func invalid(format string, args ...any) error {
	return &InvalidManifestError{Reason: fmt.Sprintf(format, args...)}
}

func errSchema1() error {
	return invalid("Docker's schema 1 is not supported; push it as schema 2, or as an OCI image")
}
