package fakehub

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// route reads "/v2/<name>/<what>/<ref>".
func route(path string) (name, what, ref string) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return "", "", ""
	}
	for _, what := range []string{"manifests", "blobs", "tags", "referrers"} {
		if i := strings.LastIndex(rest, "/"+what+"/"); i > 0 {
			return rest[:i], what, rest[i+len(what)+2:]
		}
	}
	return "", "", ""
}

func kindOf(r *http.Request, what string) Kind {
	head := r.Method == http.MethodHead
	switch {
	case r.URL.Path == "/v2/":
		return KindPing
	case r.URL.Path == "/v1/search":
		return KindSearch
	case what == "manifests" && head:
		return KindManifestHead
	case what == "manifests":
		return KindManifestGet
	case what == "blobs" && head:
		return KindBlobHead
	case what == "blobs":
		return KindBlobGet
	case what == "tags":
		return KindTags
	case what == "referrers":
		return KindReferrers
	}
	return KindOther
}

func (h *Hub) serveRegistry(w http.ResponseWriter, r *http.Request) {
	name, what, ref := route(r.URL.Path)
	x := h.begin(w, r, kindOf(r, what))
	defer x.end()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch {
	case x.faulty():
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		x.fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is only read")
	case x.kind == KindPing:
		if h.authorised(x, "") {
			x.w.Write([]byte("{}"))
		}
	case x.kind == KindSearch: // for everybody, as Hub's is
		h.serveSearch(x)
	case what == "":
		x.fail(http.StatusNotFound, "NOT_FOUND", "page not found")
	case h.authorised(x, name):
		h.serveRepo(x, h.Repo(name), what, ref)
	}
}

func (h *Hub) serveRepo(x *exchange, repo *Repo, what, ref string) {
	switch what {
	case "manifests":
		h.serveManifest(x, repo, ref)
	case "blobs":
		h.serveBlob(x, repo, digest.Digest(ref))
	case "tags":
		h.serveTags(x, repo)
	case "referrers":
		h.serveReferrers(x, repo, digest.Digest(ref))
	}
}

func (h *Hub) serveManifest(x *exchange, repo *Repo, ref string) {
	if !h.withinLimit(x) {
		return
	}
	m, ok := repo.manifest(ref)
	switch {
	case !ok:
		x.fail(http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	case !accepts(x.r, m.MediaType):
		x.fail(http.StatusNotFound, "MANIFEST_UNKNOWN", m.MediaType+" found, but the Accept header does not name it")
		return
	}
	if !x.options.NoDigest {
		x.w.Header().Set("Docker-Content-Digest", m.Digest.String())
	}
	x.digest = m.Digest
	x.send(Bytes(m.Bytes), m.MediaType, true)
}

// accepts mirrors distribution: a plain Docker manifest is for everybody, the rest only for those who ask for it.
func accepts(r *http.Request, mediaType string) bool {
	if mediaType == DockerManifest {
		return true
	}
	for _, accepted := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		if t, _, err := mime.ParseMediaType(accepted); err == nil && (t == mediaType || t == "*/*") {
			return true
		}
	}
	return false
}

func (h *Hub) serveBlob(x *exchange, repo *Repo, d digest.Digest) {
	b, ok := repo.blob(d)
	if !ok {
		x.fail(http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	x.w.Header().Set("Docker-Content-Digest", d.String())
	if x.options.NoRedirect {
		x.send(b.Content, "application/octet-stream", x.options.NoRanges)
		return
	}
	x.w.Header().Set("Location", h.signed(repo.name, d))
	x.w.WriteHeader(http.StatusTemporaryRedirect)
}

func (h *Hub) serveTags(x *exchange, repo *Repo) {
	query := x.r.URL.Query()
	n, err := strconv.Atoi(query.Get("n"))
	if query.Has("n") && err != nil {
		x.fail(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
		return
	}
	tags, more := repo.tagsAfter(query.Get("last"), n)
	if len(tags) == 0 && !query.Has("last") {
		x.fail(http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	if more {
		next := url.Values{"n": {strconv.Itoa(n)}, "last": {tags[len(tags)-1]}}
		x.w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?%s>; rel="next"`, repo.name, next.Encode()))
	}
	x.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(x.w).Encode(map[string]any{"name": repo.name, "tags": tags})
}

func (h *Hub) serveReferrers(x *exchange, repo *Repo, subject digest.Digest) {
	if x.options.NoReferrers {
		x.fail(http.StatusNotFound, "NOT_FOUND", "page not found")
		return
	}
	artifactType := x.r.URL.Query().Get("artifactType")
	if artifactType != "" {
		x.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	x.w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	x.w.Write(referrersIndex(repo.referrersOf(subject, artifactType)).Bytes)
}
