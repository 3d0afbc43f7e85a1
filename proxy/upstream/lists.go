package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxPages bounds how long a list is followed from page to page.
const maxPages = 32

// ListTags gives up to n tags after last; n < 0 is one page of the registry's own choice.
func (r *Repository) ListTags(ctx context.Context, n int, last string) ([]string, bool, error) {
	if n == 0 {
		return nil, false, nil
	}
	params := url.Values{}
	if n > 0 {
		params.Set("n", strconv.Itoa(n))
	}
	if last != "" {
		params.Set("last", last)
	}
	var tags []string
	for range maxPages {
		page, next, err := r.tagPage(ctx, params)
		if err != nil {
			return nil, false, r.registry.report("listing the tags of "+r.Repo().String(), err)
		}
		// A registry that does not know "last" gives its tags from the start.
		if i := slices.Index(page, last); i >= 0 {
			tags, page = nil, page[i+1:]
		}
		tags = append(tags, page...)
		if n > 0 && len(tags) > n {
			return tags[:n], true, nil
		}
		if next == nil || n < 0 || len(tags) == n {
			return tags, next != nil, nil
		}
		params = next
	}
	return tags, true, nil
}

// tagPage gives one page and the parameters of the next one, nil after the last.
func (r *Repository) tagPage(ctx context.Context, params url.Values) ([]string, url.Values, error) {
	q := r.query(KindTags, http.MethodGet, "tags", "list")
	q.url.RawQuery = params.Encode()
	a, body, err := r.fetch(ctx, q, r.registry.ask)
	if err != nil {
		return nil, nil, err
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, nil, broken("its list of tags: %w", err)
	}
	next, more := parseNext(a.Header.Values("Link"))
	if !more || len(list.Tags) == 0 {
		next = nil
	}
	return list.Tags, next, nil
}

// FetchReferrers asks the referrers API, and where there is none the tag that clients keep in its stead.
func (r *Repository) FetchReferrers(ctx context.Context, d digest.Digest) (ocispec.Index, error) {
	index, err := r.referrers(ctx, d)
	if isDenied(err) || errors.Is(err, cache.ErrNotFound) || hasStatus(err, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable) {
		index, err = r.fallbackReferrers(ctx, d)
	}
	if err != nil {
		return ocispec.Index{}, r.registry.report(fmt.Sprintf("listing the referrers of %s in %s", d, r.Repo()), err)
	}
	return index, nil
}

// referrers collects all pages of the API's answer.
func (r *Repository) referrers(ctx context.Context, d digest.Digest) (ocispec.Index, error) {
	all := emptyIndex()
	var size int
	params := url.Values{}
	for range maxPages {
		q := r.query(KindReferrers, http.MethodGet, "referrers", d.String())
		q.header.Set("Accept", ocispec.MediaTypeImageIndex)
		q.url.RawQuery = params.Encode()
		a, body, err := r.fetch(ctx, q, r.registry.ask)
		if err != nil {
			return all, err
		}
		page, err := parseIndex(a.Header, body)
		if err != nil {
			return all, err
		}
		if size += len(body); size > maxList {
			return all, broken("its list of referrers has more than the %d bytes allowed", maxList)
		}
		all.Manifests = append(all.Manifests, page.Manifests...)
		next, more := parseNext(a.Header.Values("Link"))
		if !more {
			return all, nil
		}
		params = next
	}
	return all, broken("its list of referrers has more than %d pages", maxPages)
}

// fallbackReferrers reads the referrers tag (distribution spec 1.1, "Referrers Tag Schema").
func (r *Repository) fallbackReferrers(ctx context.Context, d digest.Digest) (ocispec.Index, error) {
	m, err := r.FetchManifest(ctx, referrersTag(d))
	if errors.Is(err, cache.ErrNotFound) {
		return emptyIndex(), nil
	}
	if err != nil {
		return ocispec.Index{}, err
	}
	return parseIndex(http.Header{"Content-Type": {m.MediaType}}, m.Bytes)
}

func referrersTag(d digest.Digest) string {
	algorithm, hex := d.Algorithm().String(), d.Encoded()
	return algorithm[:min(len(algorithm), 32)] + "-" + hex[:min(len(hex), 64)]
}

func emptyIndex() ocispec.Index {
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
}

// parseIndex takes an OCI index and nothing else: a registry without the API may answer 200 with a page of its own.
func parseIndex(h http.Header, body []byte) (ocispec.Index, error) {
	said, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || said != ocispec.MediaTypeImageIndex {
		return ocispec.Index{}, broken("its list of referrers is no image index but %q", h.Get("Content-Type"))
	}
	index := emptyIndex()
	if err := json.Unmarshal(body, &index); err != nil {
		return ocispec.Index{}, broken("its list of referrers: %w", err)
	}
	return index, nil
}
