package cache

import (
	_ "crypto/sha256" // so that digests of both algorithms of the OCI specification are valid
	_ "crypto/sha512"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Folders of the record store. One record says one thing.
const (
	manifestFolder = "manifests/" // <alg>-<hex>: the bytes, once for all repositories
	tagFolder      = "tags/"      // <registry>/<repo>/<tag>: digest, checked at
	seenFolder     = "seen/"      // <registry>/<repo>/<alg>-<hex>: the repository has it; media type, size
	nameFolder     = "names/"     // <registry>/<repo>: something of it was pulled
	publicFolder   = "public/"    // <registry>/<repo>: whether anybody may read it
	referrerFolder = "referrers/" // <registry>/<repo>/<alg>-<hex>: the index of what refers to it
)

// repoKey is the part of a key that names a repository. A '/' of its name becomes '!', one byte for one, so that no
// repository's folder holds another's and the length of a file name stays that of the name.
func repoKey(repo Repo) string {
	return repo.Registry + "/" + nameInKey(repo.Name)
}

func nameInKey(name string) string { return strings.ReplaceAll(name, "/", "!") }

func digestKey(d digest.Digest) string {
	return strings.Replace(string(d), ":", "-", 1)
}

func manifestKey(d digest.Digest) string  { return manifestFolder + digestKey(d) }
func tagKey(repo Repo, tag string) string { return tagFolder + repoKey(repo) + "/" + tag }
func seenKey(repo Repo, d digest.Digest) string {
	return seenFolder + repoKey(repo) + "/" + digestKey(d)
}
func nameKey(repo Repo) string   { return nameFolder + repoKey(repo) }
func publicKey(repo Repo) string { return publicFolder + repoKey(repo) }
func referrerKey(r Repo, d digest.Digest) string {
	return referrerFolder + repoKey(r) + "/" + digestKey(d)
}

// parseKey takes a key of the form <folder><registry>/<repo>[/<last>] apart.
func parseKey(folder, key string) (repo Repo, last string, err error) {
	rest, ok := strings.CutPrefix(key, folder)
	registry, rest, slash := strings.Cut(rest, "/")
	name, last, _ := strings.Cut(rest, "/")
	if !ok || !slash || registry == "" || name == "" || strings.Contains(last, "/") {
		return Repo{}, "", fmt.Errorf("record %q: not a key of %s", key, folder)
	}
	return Repo{Registry: registry, Name: strings.ReplaceAll(name, "!", "/")}, last, nil
}

// parseDigestKey is the inverse of digestKey.
func parseDigestKey(s string) (digest.Digest, error) {
	d := digest.Digest(strings.Replace(s, "-", ":", 1))
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("record %q: %w", s, err)
	}
	return d, nil
}

// isDigest reports whether a reference is a digest. A tag has no colon.
func isDigest(ref string) bool { return strings.IndexByte(ref, ':') >= 0 }
