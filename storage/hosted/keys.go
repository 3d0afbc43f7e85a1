package hosted

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Folders of the store. One record says one thing.
const (
	partFolder   = "parts/"   // <hh>/<random>: the bytes of one request, under a name that is never used again
	blobFolder   = "blobs/"   // <alg>-<hex>: the life of a blob, and the parts that it is made of
	holdFolder   = "holds/"   // <alg>-<hex>/<repo>: the repository has the blob
	nameFolder   = "names/"   // <repo>: what a catalog lists
	repoFolder   = "repos/"   // <repo>/manifests/<alg>-<hex>, <repo>/tags/<tag>, <repo>/referrers/<subject>/<alg>-<hex>
	uploadFolder = "uploads/" // <id>: an upload that is under way
)

// repoKey is the element of a key that names a repository. A '/' of its name becomes '!', one byte for one, so that no
// repository's folder holds another's and an element is never longer than the name.
func repoKey(repo string) string     { return strings.ReplaceAll(repo, "/", "!") }
func parseRepoKey(key string) string { return strings.ReplaceAll(key, "!", "/") }

func digestKey(d digest.Digest) string { return strings.Replace(string(d), ":", "-", 1) }

func parseDigestKey(s string) (digest.Digest, error) {
	d := digest.Digest(strings.Replace(s, "-", ":", 1))
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("key element %q: %w", s, err)
	}
	return d, nil
}

func partKey(name string) string     { return partFolder + name }
func blobKey(d digest.Digest) string { return blobFolder + digestKey(d) }
func holdKeys(d digest.Digest) string {
	return holdFolder + digestKey(d) + "/"
}
func holdKey(d digest.Digest, repo string) string { return holdKeys(d) + repoKey(repo) }
func nameKey(repo string) string                  { return nameFolder + repoKey(repo) }
func uploadKey(id string) string                  { return uploadFolder + id }

func manifestKeys(repo string) string { return repoFolder + repoKey(repo) + "/manifests/" }
func tagKeys(repo string) string      { return repoFolder + repoKey(repo) + "/tags/" }
func referrerKeys(repo string, subject digest.Digest) string {
	return allReferrerKeys(repo) + digestKey(subject) + "/"
}
func allReferrerKeys(repo string) string { return repoFolder + repoKey(repo) + "/referrers/" }

func manifestKey(repo string, d digest.Digest) string { return manifestKeys(repo) + digestKey(d) }
func tagKey(repo, tag string) string                  { return tagKeys(repo) + tag }
func referrerKey(repo string, subject, d digest.Digest) string {
	return referrerKeys(repo, subject) + digestKey(d)
}

// newPart names a part. Its two first letters are its folder.
func newPart() string {
	name := nonce()
	return name[:2] + "/" + name[2:]
}

// nonce is nonceLength letters and digits that nobody has used and nobody guesses.
func nonce() string { return rand.Text()[:nonceLength] }

const nonceLength = 26
