package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/storage/hosted"
)

// contents is what the commands ls and purge look at: in the running server, or in a process of their own without one.
type contents struct {
	manifests *cache.Manifests
	drop      func(context.Context, digest.Digest) error // removes a blob
	hosted    *hosted.Registry
	names     *proxy.Names
}

// entry is one line of ls --json.
type entry struct {
	Repository string        `json:"repository"` // with its registry, where that is not this one
	Tag        string        `json:"tag"`
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"mediaType"`
	Size       int64         `json:"size"` // of the manifest, in bytes
	Checked    time.Time     `json:"checked,omitzero"`
	Hosted     bool          `json:"hosted,omitempty"` // pushed here, not cached
}

// purged is the answer of purge --json.
type purged struct {
	Repository string `json:"repository"`
	Tags       int    `json:"tags"`
	Digests    int    `json:"digests"`
}

// list yields the tags that are cached and those that are hosted, of one repository or of all where none is named.
func (c contents) list(ctx context.Context, repository string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		only, err := parseRepository(c.names, repository)
		if err != nil {
			yield(entry{}, err)
			return
		}
		for _, some := range []iter.Seq2[entry, error]{c.cachedTags(ctx, only), hostedTags(ctx, c.hosted, only)} {
			for e, err := range some {
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

func (c contents) cachedTags(ctx context.Context, only repository) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		if !only.all && only.cached == (cache.Repo{}) {
			return
		}
		for e, err := range c.manifests.List(ctx, only.cached) {
			if !yield(entry{Repository: e.Repo.String(), Tag: e.Tag, Digest: e.Digest, MediaType: e.MediaType, Size: e.Size, Checked: e.Checked}, err) {
				return
			}
		}
	}
}

// purge forgets a tag, a digest or a whole repository. That nothing of it was cached is an error: most likely a misspelt name.
func (c contents) purge(ctx context.Context, reference string) (purged, error) {
	repo, ref, err := parseReference(c.names, reference)
	if err != nil {
		return purged{}, err
	}
	gone, err := c.manifests.Purge(ctx, repo, ref, c.drop)
	if err == nil && gone == (cache.Purged{}) {
		err = fmt.Errorf("%s: the cache has nothing to forget; %s", reference, howToDelete)
	}
	return purged{repo.String(), gone.Tags, gone.Digests}, err
}

const howToDelete = "what was pushed is deleted with a registry client (regctl, crane, skopeo) or by DELETE /v2/NAME/manifests/TAG-OR-DIGEST"

// parseReference reads an image as people write it: "nginx:1.27", "gcr.io/distroless/static@sha256:...", "quay.io/team/app".
// The reference is empty where only a repository is named.
func parseReference(names *proxy.Names, s string) (repo cache.Repo, ref string, err error) {
	name, ref, err := splitReference(s)
	if err != nil {
		return cache.Repo{}, "", err
	}
	home, err := proxy.Target(names, name, names.Default, "") // the default's ns: "nginx" means library/nginx here
	switch {
	case err != nil:
		return cache.Repo{}, "", fmt.Errorf("%s: %w", s, err)
	case home.Hosted:
		return cache.Repo{}, "", fmt.Errorf("%s: that name is hosted here, so it is not in the cache; %s", s, howToDelete)
	case !proxy.ValidName(home.Name):
		return cache.Repo{}, "", fmt.Errorf("%q is not the name of a repository", name)
	}
	return cache.Repo{Registry: home.Registry, Name: home.Name}, ref, nil
}

// splitReference takes the tag or the digest off. An empty one is a mistake: "nginx:$TAG" must not purge all of nginx.
func splitReference(s string) (name, ref string, err error) {
	name, d, byDigest := strings.Cut(s, "@")
	tag, byTag := "", false
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name, tag, byTag = name[:colon], name[colon+1:], true
	}
	switch {
	case byDigest && !proxy.ValidDigest(d):
		return "", "", fmt.Errorf("%q is not a digest", d)
	case byTag && !proxy.ValidTag(tag):
		return "", "", fmt.Errorf("%q is not a tag", tag)
	case byDigest:
		return name, d, nil // a tag beside a digest says nothing
	}
	return name, tag, nil
}
