// Package proxy is HTTP in: it parses a request into a value, decides whose name it asks for, lets the cache answer and
// writes that answer. It knows upstreams and the cache by small interfaces (see options.go); HTTP out is proxy/upstream.
package proxy

import (
	"strings"
	"unsafe"

	"github.com/opencontainers/go-digest"
)

// Kind is a family of endpoints of the distribution specification.
type Kind uint8

const (
	KindNone       Kind = iota // not a path of this API
	KindPing                   // end-1             /v2/
	KindBlob                   // end-2, 10         /v2/<name>/blobs/<digest>
	KindManifest               // end-3, 7, 9       /v2/<name>/manifests/<tag or digest>
	KindUpload                 // end-4, 5, 6, 11+  /v2/<name>/blobs/uploads/[<id>]
	KindTags                   // end-8             /v2/<name>/tags/list
	KindReferrers              // end-12            /v2/<name>/referrers/<digest>
	KindCatalog                // not OCI           /v2/_catalog
	KindSearchPing             // docker search     /v1/_ping
	KindSearch                 // docker search     /v1/search
	KindToken                  // of logins         /token
	KindPage                   // for people        /, /login, /ui/...
	kinds
)

// String is the name of the kind in logs and metrics.
func (k Kind) String() string {
	return [kinds]string{"none", "ping", "blob", "manifest", "upload", "tags", "referrers", "catalog", "search-ping", "search", "token", "page"}[k]
}

const maxNameLength = 255

// Request is what a path asks for.
type Request struct {
	Kind Kind
	Name string // repository as the client wrote it; only where the endpoint is below one
	Ref  string // tag or digest (KindManifest), digest (KindBlob, KindReferrers), session (KindUpload), path (KindPage)
}

// ByDigest reports whether Ref is a digest. No tag has a colon.
func (r Request) ByDigest() bool { return strings.IndexByte(r.Ref, ':') >= 0 }

// Digest is Ref, where it is a digest.
func (r Request) Digest() digest.Digest { return digest.Digest(r.Ref) }

// clone gives a request whose strings outlive the bytes it was parsed from.
func (r Request) clone() Request {
	r.Name, r.Ref = strings.Clone(r.Name), strings.Clone(r.Ref)
	return r
}

// ParsePath reads the path of a request line as it came, undecoded: decoding and cleaning first would make one name of
// many spellings. The result holds parts of path. A path outside the API is KindNone without an error; errors are *Error.
func ParsePath(path string) (Request, error) {
	if strings.IndexByte(path, '%') >= 0 {
		// Some HTTP libraries write the colon of a digest so. No other character of the registry's set is ever escaped.
		path = strings.ReplaceAll(strings.ReplaceAll(path, "%3A", ":"), "%3a", ":")
		if strings.IndexByte(path, '%') >= 0 {
			return Request{}, newError(CodeNameInvalid, "the path holds an escaped character that no name, tag or digest has")
		}
	}
	rest, ok := strings.CutPrefix(path, "/v2")
	switch {
	case path == "/v1/_ping":
		return Request{Kind: KindSearchPing}, nil
	case path == "/v1/search":
		return Request{Kind: KindSearch}, nil
	case path == "/token":
		return Request{Kind: KindToken}, nil
	case path == "/", path == "/login", strings.HasPrefix(path, "/ui/"):
		return Request{Kind: KindPage, Ref: path}, nil
	case !ok:
		return Request{}, nil
	case rest == "" || rest == "/":
		return Request{Kind: KindPing}, nil
	case rest == "/_catalog":
		return Request{Kind: KindCatalog}, nil
	case rest[0] != '/':
		return Request{}, nil
	}
	r := split(rest[1:])
	if r.Kind == KindNone && strings.Contains(rest, "..") {
		return Request{}, newError(CodeNameInvalid, "the path leads upwards")
	}
	return r, r.check()
}

// split finds the endpoint from the end of the path, since a repository may be called "blobs/manifests/tags".
func split(path string) Request {
	head, last := cutLast(path, '/')
	name, verb := cutLast(head, '/')
	switch {
	case verb == "manifests":
		return Request{Kind: KindManifest, Name: name, Ref: last}
	case verb == "blobs" && last == "uploads":
		return Request{Kind: KindUpload, Name: name}
	case verb == "blobs":
		return Request{Kind: KindBlob, Name: name, Ref: last}
	case verb == "tags" && last == "list":
		return Request{Kind: KindTags, Name: name}
	case verb == "referrers":
		return Request{Kind: KindReferrers, Name: name, Ref: last}
	case verb == "uploads":
		if name, verb := cutLast(name, '/'); verb == "blobs" {
			return Request{Kind: KindUpload, Name: name, Ref: last}
		}
	}
	return Request{}
}

func (r Request) check() error {
	if r.Kind == KindNone {
		return nil
	}
	if !ValidName(r.Name) {
		return newError(CodeNameInvalid, "the repository name is malformed or longer than 255 bytes")
	}
	switch r.Kind {
	case KindBlob, KindReferrers:
		return checkDigest(r.Ref)
	case KindManifest:
		if r.ByDigest() {
			return checkDigest(r.Ref)
		}
		if !ValidTag(r.Ref) {
			return newError(CodeManifestUnknown, "no tag is spelled like that")
		}
	case KindUpload:
		if !validUpload(r.Ref) {
			return newError(CodeBlobUploadUnknown, "no upload is called like that")
		}
	}
	return nil
}

func checkDigest(s string) error {
	if !ValidDigest(s) {
		return newError(CodeDigestInvalid, "a digest is sha256 or sha512, a colon, and the sum in lower-case hex")
	}
	return nil
}

func cutLast(s string, separator byte) (before, after string) {
	i := strings.LastIndexByte(s, separator)
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}

// view is b as a string without a copy: valid only as long as b is, and never to be kept.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// viewBytes is s as bytes without a copy; they must not be written to.
func viewBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
