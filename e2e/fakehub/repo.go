package fakehub

import (
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Repo is a repository. The Hub's lock guards all of it.
type Repo struct {
	hub       *Hub
	name      string
	readers   map[string]bool // users that may pull; nil for everybody
	blobs     map[digest.Digest]Blob
	manifests map[digest.Digest]Manifest
	tags      map[string]digest.Digest
	referrers map[digest.Digest][]ocispec.Descriptor
}

// Repo is the repository of that name, made on first use. Hub's official images are "library/...".
func (h *Hub) Repo(name string) *Repo {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.repos[name]; r != nil {
		return r
	}
	r := &Repo{hub: h, name: name, blobs: map[digest.Digest]Blob{}, manifests: map[digest.Digest]Manifest{},
		tags: map[string]digest.Digest{}, referrers: map[digest.Digest][]ocispec.Descriptor{}}
	h.repos[name] = r
	return r
}

// Name is "library/nginx".
func (r *Repo) Name() string { return r.name }

// AddUser makes an account that the token server knows.
func (h *Hub) AddUser(name, password string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users[name] = password
}

// Private leaves the repository to these users. Like Docker Hub, the Hub gives others a token without any right, and then
// refuses it.
func (r *Repo) Private(users ...string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.readers = map[string]bool{}
	for _, u := range users {
		r.readers[u] = true
	}
}

// AddBlob stores blobs.
func (r *Repo) AddBlob(blobs ...Blob) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, b := range blobs {
		r.blobs[b.Digest] = b
	}
}

// AddManifest stores a manifest under its digest and under tags. A tag that exists moves.
func (r *Repo) AddManifest(m Manifest, tags ...string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.manifests[m.Digest] = m
	for _, tag := range tags {
		r.tags[tag] = m.Digest
	}
}

// AddImage stores an image and its blobs.
func (r *Repo) AddImage(img Image, tags ...string) {
	r.AddBlob(img.Blobs()...)
	r.AddManifest(img.Manifest, tags...)
}

// AddIndex stores images and an index of them, which the tags name.
func (r *Repo) AddIndex(index Manifest, images []Image, tags ...string) {
	for _, img := range images {
		r.AddImage(img)
	}
	r.AddManifest(index, tags...)
}

// AddReferrer stores an artifact of NewArtifact and lists it among the subject's referrers.
func (r *Repo) AddReferrer(subject digest.Digest, artifact Image) {
	r.AddImage(artifact)
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.referrers[subject] = append(r.referrers[subject], artifact.Manifest.Descriptor)
}

// Delete removes a tag, or a manifest and its tags, or a blob.
func (r *Repo) Delete(reference string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	d := digest.Digest(reference)
	delete(r.tags, reference)
	delete(r.manifests, d)
	delete(r.blobs, d)
	maps.DeleteFunc(r.tags, func(_ string, at digest.Digest) bool { return at == d })
}

func (r *Repo) blob(d digest.Digest) (Blob, bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	b, ok := r.blobs[d]
	return b, ok
}

// manifest resolves a tag or a digest. Without a referrers API, the fallback tag of a subject is made up as clients would
// have pushed it.
func (r *Repo) manifest(ref string) (Manifest, bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	d, tagged := r.tags[ref]
	if !tagged {
		d = digest.Digest(ref)
	}
	if m, ok := r.manifests[d]; ok {
		return m, true
	}
	alg, hex, found := strings.Cut(ref, "-")
	list := r.referrers[digest.NewDigestFromEncoded(digest.Algorithm(alg), hex)]
	if !found || !r.hub.options.NoReferrers || list == nil {
		return Manifest{}, false
	}
	return referrersIndex(list), true
}

func referrersIndex(list []ocispec.Descriptor) Manifest {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	index.Manifests = append(index.Manifests, list...)
	return NewManifest(ocispec.MediaTypeImageIndex, encode(index))
}

func (r *Repo) referrersOf(subject digest.Digest, artifactType string) []ocispec.Descriptor {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	list := slices.Clone(r.referrers[subject])
	return slices.DeleteFunc(list, func(d ocispec.Descriptor) bool { return artifactType != "" && d.ArtifactType != artifactType })
}

// tagsAfter is a page of tags in lexical order; n <= 0 is all of them.
func (r *Repo) tagsAfter(last string, n int) (page []string, more bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	all := slices.Sorted(maps.Keys(r.tags))
	all = slices.DeleteFunc(all, func(tag string) bool { return tag <= last })
	if n <= 0 || n >= len(all) {
		return all, false
	}
	return all[:n], true
}
