package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

// manifestTypes is what we ask for: everything, whatever the client said it takes. What is cached is then what a tag names, and not
// what a registry made of it for one client.
var manifestTypes = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"*/*",
}, ", ")

// ResolveManifest asks by HEAD. A registry that does not answer HEAD (405) or says no digest gives an empty Digest; its Size is -1 where
// the registry says none.
func (r *Repository) ResolveManifest(ctx context.Context, ref string) (cache.Descriptor, error) {
	q := r.query(KindManifest, http.MethodHead, "manifests", ref)
	q.header.Set("Accept", manifestTypes)
	a, _, err := r.fetch(ctx, q, r.registry.ask)
	if hasStatus(err, http.StatusMethodNotAllowed) {
		return cache.Descriptor{}, nil
	}
	if err != nil {
		return cache.Descriptor{}, r.registry.report(r.doing("resolving", ref), err)
	}
	d, err := r.agreed(ref, a.Header)
	if err != nil {
		return cache.Descriptor{}, err
	}
	return cache.Descriptor{MediaType: mediaType(a.Header, nil), Digest: d, Size: a.ContentLength}, nil
}

// FetchManifest fetches by tag or digest and checks the bytes against the digest asked for, else against the one that the registry says.
func (r *Repository) FetchManifest(ctx context.Context, ref string) (cache.Manifest, error) {
	q := r.query(KindManifest, http.MethodGet, "manifests", ref)
	q.header.Set("Accept", manifestTypes)
	a, body, err := r.fetch(ctx, q, r.registry.ask)
	if err != nil {
		return cache.Manifest{}, r.registry.report(r.doing("fetching", ref), err)
	}
	d, err := r.agreed(ref, a.Header)
	if err != nil {
		return cache.Manifest{}, err
	}
	if d == "" {
		d = digest.FromBytes(body)
	}
	if got := d.Algorithm().FromBytes(body); got != d {
		return cache.Manifest{}, fmt.Errorf("%s: %w: got %s", r.doing("fetching", ref), cache.ErrCorrupt, got)
	}
	if !json.Valid(body) {
		return cache.Manifest{}, r.registry.report(r.doing("fetching", ref), broken("what it sent is no manifest: not JSON"))
	}
	return cache.Manifest{MediaType: mediaType(a.Header, body), Digest: d, Bytes: body}, nil
}

func (r *Repository) doing(verb, ref string) string {
	return fmt.Sprintf("%s manifest %s of %s", verb, ref, r.Repo())
}

// agreed gives the digest that a manifest must have: the one asked for, else the registry's, else none. A registry may name another
// algorithm's digest for the one asked for, but no other digest of the same algorithm.
func (r *Repository) agreed(ref string, h http.Header) (digest.Digest, error) {
	said := digest.Digest(strings.TrimSpace(h.Get("Docker-Content-Digest")))
	if said.Validate() != nil {
		said = ""
	}
	asked := digest.Digest(ref)
	switch {
	case asked.Validate() != nil:
		return said, nil
	case said != "" && said.Algorithm() == asked.Algorithm() && said != asked:
		return "", fmt.Errorf("%s: %w: the registry calls it %s", r.doing("asking for", ref), cache.ErrCorrupt, said)
	}
	return asked, nil
}

// mediaType is the registry's word, unless that says nothing of manifests: then the manifest's own.
func mediaType(h http.Header, body []byte) string {
	said, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	switch said {
	case "", "application/json", "application/octet-stream", "text/plain":
		var self struct {
			MediaType string `json:"mediaType"`
		}
		if json.Unmarshal(body, &self) == nil && self.MediaType != "" {
			return self.MediaType
		}
	}
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return said
}
