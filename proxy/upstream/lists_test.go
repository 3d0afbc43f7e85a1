package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

// pagedTags serves tags in pages of at most size, as the distribution spec wants it.
func pagedTags(all []string, size int) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		n := size
		if v, err := strconv.Atoi(req.URL.Query().Get("n")); err == nil {
			n = min(n, v)
		}
		from := slices.Index(all, req.URL.Query().Get("last")) + 1
		page := all[from:min(from+n, len(all))]
		if from+n < len(all) {
			w.Header().Set("Link", fmt.Sprintf(`<http://inner:5000/v2/a/b/tags/list?n=%d&last=%s>; rel="next"`, n, page[len(page)-1]))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "a/b", "tags": page})
	}
}

func allTags(tags ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"tags": tags})
	}
}

func TestListTags(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e"}
	for name, c := range map[string]struct {
		server http.HandlerFunc
		n      int
		last   string
		want   []string
		more   bool
		asked  int
	}{
		"one page of the registry's choice": {pagedTags(all, 3), -1, "", all[:3], true, 1},
		"all of them":                       {pagedTags(all, 10), -1, "", all, false, 1},
		"a page":                            {pagedTags(all, 10), 2, "", all[:2], true, 1},
		"the page after":                    {pagedTags(all, 10), 2, "b", all[2:4], true, 1},
		"the last page":                     {pagedTags(all, 10), 2, "d", all[4:], false, 1},
		"smaller pages than asked for":      {pagedTags(all, 2), 4, "", all[:4], true, 2},
		"after the last tag":                {pagedTags(all, 2), 4, "e", nil, false, 1},
		"a registry that ignores n":         {allTags(all...), 2, "", all[:2], true, 1},
		"a registry that ignores last":      {allTags(all...), 2, "c", all[3:], false, 1},
		"n=0":                               {allTags(all...), 0, "", nil, false, 0},
		"no tags":                           {text(`{"name":"a/b","tags":null}`), -1, "", nil, false, 1},
	} {
		f := newFake(t)
		f.mux.HandleFunc("/v2/a/b/tags/list", c.server)
		got, more, err := newRegistry(t, f, nil).Repository("a/b").ListTags(context.Background(), c.n, c.last)
		if err != nil || !slices.Equal(got, c.want) || more != c.more || f.count("/") != c.asked {
			t.Errorf("%s: got %v %v %v after %d requests, want %v %v after %d", name, got, more, err, f.count("/"), c.want, c.more, c.asked)
		}
	}
}

func TestListTagsFails(t *testing.T) {
	for name, c := range map[string]struct {
		server http.HandlerFunc
		err    error
		cause  cache.Cause
	}{
		"absent": {status(404), cache.ErrNotFound, ""}, "not JSON": {text("<html>"), nil, cache.CauseFailed},
		"endless": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxList+1)) }, nil, cache.CauseFailed},
	} {
		f := newFake(t)
		f.mux.HandleFunc("/", c.server)
		_, _, err := newRegistry(t, f, nil).Repository("a/b").ListTags(context.Background(), -1, "")
		if c.err != nil && !errors.Is(err, c.err) || causeOf(err) != c.cause {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListOfEndlessPagesEnds(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `</v2/a/b/tags/list?last=x>; rel="next"`)
		fmt.Fprint(w, `{"tags":["x"]}`)
	})
	_, more, err := newRegistry(t, f, nil).Repository("a/b").ListTags(context.Background(), 1000, "")
	if err != nil || !more || f.count("/") != maxPages {
		t.Errorf("%v %v after %d pages", more, err, f.count("/"))
	}
}

func TestFetchReferrers(t *testing.T) {
	const kind = "application/vnd.oci.image.index.v1+json"
	index := func(mediaType string, names ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			refs := []map[string]any{}
			for _, n := range names {
				refs = append(refs, map[string]any{"digest": digest.FromString(n), "size": 1, "mediaType": "x/y", "artifactType": n})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "mediaType": kind, "manifests": refs})
		}
	}
	linked := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Link", `<?page=2>; rel="next"`)
			next(w, req)
		}
	}
	for name, c := range map[string]struct {
		api, tag http.HandlerFunc
		want     []string
		err      error
		cause    cache.Cause
	}{
		"API":                          {index(kind, "sig", "sbom"), status(500), []string{"sig", "sbom"}, nil, ""},
		"API in pages":                 {scripted(linked(index(kind, "a")), index(kind, "b")), status(500), []string{"a", "b"}, nil, ""},
		"API with nothing":             {index(kind), status(500), nil, nil, ""},
		"no API, a fallback tag":       {status(404), index(kind, "sig"), []string{"sig"}, nil, ""},
		"no API, no tag":               {status(404), status(404), nil, nil, ""},
		"a registry that says 401":     {status(401), index(kind, "sig"), []string{"sig"}, nil, ""},
		"all is refused":               {status(403), status(403), nil, cache.ErrDenied, ""},
		"a page that is no index":      {text("hello"), status(404), nil, nil, cache.CauseFailed},
		"a fallback tag, but no index": {status(404), serveManifest, nil, nil, cache.CauseFailed},
		"outage":                       {status(501), status(404), nil, nil, cache.CauseFailed},
	} {
		f := newFake(t)
		f.mux.HandleFunc("/v2/a/b/referrers/"+manifestDigest.String(), c.api)
		f.mux.HandleFunc("/v2/a/b/manifests/sha256-"+manifestDigest.Encoded(), c.tag)
		got, err := newRegistry(t, f, nil).Repository("a/b").FetchReferrers(context.Background(), manifestDigest)
		if c.err != nil && !errors.Is(err, c.err) || causeOf(err) != c.cause || c.err == nil && c.cause == "" && err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var types []string
		for _, m := range got.Manifests {
			types = append(types, m.ArtifactType)
		}
		if !slices.Equal(types, c.want) || err == nil && (got.SchemaVersion != 2 || got.Manifests == nil) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestReferrersTag(t *testing.T) {
	d := digest.SHA512.FromString("x")
	if got, want := referrersTag(d), "sha512-"+d.Encoded()[:64]; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
