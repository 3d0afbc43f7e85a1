package hosted

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is read of one object and one list: more are nobody's manifest, and would be large in memory.
const (
	maxMembers     = 10_000
	maxDescriptors = 100_000
)

// written is a manifest as it is written, with nothing checked but the types of its values.
type written struct {
	keys map[string]bool // also those whose value is null

	schemaVersion *int64
	mediaType     string
	artifactType  string
	config        *descriptor
	subject       *descriptor
	layers        []descriptor
	blobs         []descriptor
	manifests     []descriptor
	annotations   map[string]string
}

type descriptor struct {
	mediaType string
	digest    digest.Digest
	size      *int64
	foreign   bool // is fetched from elsewhere
}

func (w *written) has(key string) bool { return w.keys[key] }

// readWritten takes one JSON object and nothing else.
func readWritten(b []byte) (*written, error) {
	if !utf8.Valid(b) {
		return nil, invalid("it is not UTF-8")
	}
	// Tokens alone would not show what follows, and have no bound of depth.
	if err := json.Unmarshal(b, new(struct{})); err != nil {
		return nil, misfit("it", err)
	}
	r := &documentReader{json.NewDecoder(bytes.NewReader(b))}
	w := &written{keys: make(map[string]bool)}
	found, err := r.object(documentKeys(), func(key string) error {
		w.keys[key] = true
		return r.member(w, key)
	})
	if err == nil && !found {
		err = invalid("it is null")
	}
	return w, err
}

func documentKeys() []string {
	return []string{"schemaVersion", "mediaType", "artifactType", "config", "subject", "layers", "fsLayers", "blobs", "manifests", "annotations"}
}

func descriptorKeys() []string { return []string{"mediaType", "digest", "size", "urls"} }

// documentReader reads what encoding/json alone would read with the last of two members of one name, whatever its case,
// where others take the first, or the one that is spelled right.
type documentReader struct{ *json.Decoder }

func (r *documentReader) member(w *written, key string) (err error) {
	switch key {
	case "schemaVersion":
		return r.value(key, &w.schemaVersion)
	case "mediaType":
		return r.value(key, &w.mediaType)
	case "artifactType":
		return r.value(key, &w.artifactType)
	case "config":
		w.config, err = r.descriptor()
	case "subject":
		w.subject, err = r.descriptor()
	case "layers":
		w.layers, err = r.descriptors()
	case "blobs":
		w.blobs, err = r.descriptors()
	case "manifests":
		w.manifests, err = r.descriptors()
	case "annotations":
		w.annotations, err = r.annotations()
	default:
		return r.value(key, new(json.RawMessage))
	}
	return err
}

// descriptor is nil for null.
func (r *documentReader) descriptor() (*descriptor, error) {
	var d descriptor
	var urls []string
	found, err := r.object(descriptorKeys(), func(key string) error {
		switch key {
		case "mediaType":
			return r.value(key, &d.mediaType)
		case "digest":
			return r.value(key, &d.digest)
		case "size":
			return r.value(key, &d.size)
		case "urls":
			return r.value(key, &urls)
		}
		return r.value(key, new(json.RawMessage))
	})
	if err != nil || !found {
		return nil, err
	}
	lower := strings.ToLower(d.mediaType)
	d.foreign = len(urls) > 0 || strings.Contains(lower, ".foreign.") || strings.Contains(lower, ".nondistributable.")
	return &d, nil
}

// descriptors is empty for null.
func (r *documentReader) descriptors() (all []descriptor, err error) {
	switch t, err := r.Token(); {
	case err != nil:
		return nil, misfit("it", err)
	case t == nil:
		return nil, nil
	case t != json.Delim('['):
		return nil, invalid("a list of descriptors was expected, and not %.40v", t)
	}
	for r.More() {
		d, err := r.descriptor()
		if err != nil {
			return nil, err
		}
		if d == nil {
			return nil, invalid("a descriptor is null")
		}
		if all = append(all, *d); len(all) > maxDescriptors {
			return nil, invalid("a list has more than %d descriptors", maxDescriptors)
		}
	}
	_, err = r.Token() // the bracket
	return all, err
}

func (r *documentReader) annotations() (map[string]string, error) {
	all := make(map[string]string)
	_, err := r.object(nil, func(key string) error {
		var value string
		err := r.value("annotation", &value)
		all[key] = value
		return err
	})
	return all, err
}

// object calls member for each member, which reads the value. It finds none where the value is null. Names that say the
// same to some readers are refused unless spelled is nil: two that differ in case only, and one spelled otherwise than there.
func (r *documentReader) object(spelled []string, member func(key string) error) (found bool, err error) {
	switch t, err := r.Token(); {
	case err != nil:
		return false, misfit("it", err)
	case t == nil:
		return false, nil
	case t != json.Delim('{'):
		return false, invalid("an object was expected, and not %.40v", t)
	}
	seen := make(map[string]bool)
	for r.More() {
		t, err := r.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return false, misfit("it", err)
		}
		same := key
		if spelled != nil {
			same = fold(key)
		}
		if seen[same] {
			return false, invalid("it is ambiguous: it has the key %.40q twice", key)
		}
		if seen[same] = true; len(seen) > maxMembers {
			return false, invalid("an object has more than %d members", maxMembers)
		}
		if i := slices.IndexFunc(spelled, func(s string) bool { return strings.EqualFold(s, key) }); i >= 0 && spelled[i] != key {
			return false, invalid("it is ambiguous: some read its key %.40q as %q", key, spelled[i])
		}
		if err := member(key); err != nil {
			return false, err
		}
	}
	_, err = r.Token() // the brace
	return true, err
}

// fold makes names equal that differ in case only, also by letters beyond ASCII whose other case is within.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

func (r *documentReader) value(key string, into any) error {
	if err := r.Decode(into); err != nil {
		return misfit(key, err)
	}
	return nil
}

// misfit says what is wrong in words without Go's types.
func misfit(what string, err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return invalid("%s is a JSON %s", what, wrong.Value)
	}
	return invalid("%s is not JSON: %v", what, err)
}

// readDocument reads a manifest that was taken once, perhaps by rules that were less strict: what it names must be known, so
// every digest in it counts.
func readDocument(mediaType string, b []byte) document {
	doc, err := parseDocument(mediaType, b)
	if err == nil {
		return doc
	}
	var content struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Subject   *ocispec.Descriptor  `json:"subject"`
	}
	_ = json.Unmarshal(b, &content) // as much as can be read
	doc = document{mediaType: mediaType, manifests: content.Manifests, subject: content.Subject}
	for _, text := range regexp.MustCompile(`sha(256|512):[0-9a-f]+`).FindAll(b, -1) {
		if d := digest.Digest(text); d.Validate() == nil && !slices.Contains(doc.named, d) {
			doc.named = append(doc.named, d)
		}
	}
	return doc
}
