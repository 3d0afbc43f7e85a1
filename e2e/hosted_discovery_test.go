package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// list reads a page of tags or of the catalog, and the path of the next one.
func (s site) list(path string) (names []string, next string) {
	s.Helper()
	a := s.accepted(path, s.ask(http.MethodGet, path, nil), http.StatusOK)
	var page struct {
		Name         string
		Tags         []string
		Repositories []string
	}
	if err := json.Unmarshal(a.body, &page); err != nil {
		s.Fatalf("%s: %v: %.200s", path, err, a.body)
	}
	s.has(path, a, "Content-Type", "application/json")
	return append(page.Tags, page.Repositories...), a.next()
}

// next is what the Link header leads to (RFC 8288); empty: nothing.
func (a answer) next() string {
	target, rel, _ := strings.Cut(a.header.Get("Link"), ">;")
	if strings.TrimSpace(rel) != `rel="next"` {
		return ""
	}
	return strings.TrimPrefix(target, "<")
}

// all follows the links from a page on.
func (s site) all(path string) (names []string, pages int) {
	s.Helper()
	for next := path; next != ""; pages++ {
		var page []string
		page, next = s.list(next)
		names = append(names, page...)
		if pages > 100 {
			s.Fatalf("%s never ends", path)
		}
	}
	return names, pages
}

// wantPages asks a list of names in every way. names are all of it, in order.
func (s site) wantPages(path string, names []string) {
	s.Helper()
	pages := func(n int) int { return (len(names) + n - 1) / n }
	for query, want := range map[string]int{"": 1, "?n=1": pages(1), "?n=2": pages(2), "?n=3": pages(3), "?n=1000": 1, "?n=2147483647": 1} {
		if got, n := s.all(path + query); !slices.Equal(got, names) || n != want {
			s.Errorf("%s%s: %q in %d pages; want %q in %d", path, query, got, n, names, want)
		}
	}
	for i, name := range names {
		got, _ := s.all(path + "?last=" + url.QueryEscape(name))
		if !slices.Equal(got, names[i+1:]) {
			s.Errorf("after %s: %q; want %q", name, got, names[i+1:])
		}
		page, next := s.list(path + "?n=2&last=" + url.QueryEscape(name))
		rest := names[i+1:]
		if want := rest[:min(2, len(rest))]; !slices.Equal(page, want) || (next != "") != (len(rest) > 2) {
			s.Errorf("two after %s: %q and then %q; want %q", name, page, next, want)
		}
	}
	if got, next := s.list(path + "?n=0"); len(got) != 0 || next != "" {
		s.Errorf("n=0: %q and then %q; want nothing", got, next)
	}
	if a := s.ask(http.MethodGet, path+"?n=0", nil); strings.Contains(string(a.body), "null") {
		s.Errorf("n=0: %s; want an empty list", a.body)
	}
	for _, n := range []string{"-1", "x", "1.5", "2147483648", "99999999999999999999", "0x10", "%2B1"} {
		s.refused("n="+n, s.ask(http.MethodGet, path+"?n="+n, nil), http.StatusBadRequest, "PAGINATION_NUMBER_INVALID")
	}
}

func TestTagsInByteOrder(t *testing.T) { everywhere(t, tagsInByteOrder) }

func tagsInByteOrder(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m := s.pushImage("team/app", "latest", 1)
	tags := []string{"latest", "Latest", "_", "0", "10", "9", "a", "a-b", "a.b", "a_b", "aa", "B", "v1.0", "v1.0-rc", "v1.0.1", "v10", "v2", strings.Repeat("z", 128)}
	s.accepted("tags", s.put("team/app", m.Digest.String()+"?tag="+strings.Join(tags, "&tag="), m), http.StatusCreated)
	slices.Sort(tags)
	s.wantPages("/v2/team/app/tags/list", tags)
	for last, want := range map[string][]string{"a-": tags[slices.Index(tags, "a-b"):], "zzz": tags[len(tags)-1:], "~": nil, "A": tags[slices.Index(tags, "B"):]} {
		if got, _ := s.list("/v2/team/app/tags/list?last=" + last); !slices.Equal(got, want) {
			t.Errorf("after %s, which is no tag: %q; want %q", last, got, want)
		}
	}
}

func TestTagsOfNothing(t *testing.T) { everywhere(t, tagsOfNothing) }

func tagsOfNothing(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	s.refused("tags", s.ask(http.MethodGet, "/v2/team/none/tags/list", nil), http.StatusNotFound, "NAME_UNKNOWN")
	s.push("team/none", noise(1, 100))
	s.pushImage("team/app", "latest", 1)
	s.accepted("delete", s.ask(http.MethodDelete, manifestPath("team/app", "latest"), nil), http.StatusAccepted)
	a := s.accepted("tags", s.ask(http.MethodGet, "/v2/team/app/tags/list", nil), http.StatusOK)
	if got := strings.Join(strings.Fields(string(a.body)), ""); got != `{"name":"team/app","tags":[]}` {
		t.Errorf("after the last tag: %s", got)
	}
}

func TestCatalogInByteOrder(t *testing.T) { everywhere(t, catalogInByteOrder) }

func catalogInByteOrder(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	names := []string{"a", "a-b", "a.b", "a/b", "a/b/c/d/e", "a0", "a_b", "a__b", "b", "manifests/tags/blobs", "z/uploads"}
	for i, name := range names {
		s.pushImage(name, "latest", uint64(i))
	}
	s.push("only-a-blob", noise(100, 10))
	slices.Sort(names)
	s.wantPages("/v2/_catalog", names)
	for _, name := range names {
		if tags, _ := s.list("/v2/" + name + "/tags/list"); !slices.Equal(tags, []string{"latest"}) {
			t.Errorf("%s has the tags %q", name, tags)
		}
	}
}

// referrers reads all pages of a list of referrers.
func (s site) referrers(repo string, d digest.Digest, query string) (all []ocispec.Descriptor, pages int) {
	s.Helper()
	for next := "/v2/" + repo + "/referrers/" + d.String() + query; next != ""; pages++ {
		a := s.accepted(next, s.ask(http.MethodGet, next, nil), http.StatusOK)
		filters := ""
		if strings.Contains(query, "artifactType=") {
			filters = "artifactType"
		}
		s.has(next, a, "Content-Type", ocispec.MediaTypeImageIndex, "OCI-Filters-Applied", filters)
		var index ocispec.Index
		if err := json.Unmarshal(a.body, &index); err != nil || index.MediaType != ocispec.MediaTypeImageIndex || index.SchemaVersion != 2 || index.Manifests == nil {
			s.Fatalf("%s: %v: %.300s", next, err, a.body)
		}
		all = append(all, index.Manifests...)
		next = a.next()
	}
	return all, pages
}

func TestReferrers(t *testing.T) { everywhere(t, referrers) }

func referrers(t *testing.T, newRegistry hosting) {
	t.Parallel()
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		t.Run(alg.String(), func(t *testing.T) {
			t.Parallel()
			testReferrers(newRegistry(t), alg)
		})
	}
}

func testReferrers(s site, alg digest.Algorithm) {
	repo := "team/app"
	empty, config := s.emptyJSON(repo), s.push(repo, []byte(`{"a":1}`))
	config.MediaType = "application/vnd.example.config"
	image := manifestOf(config)
	subject := ocispec.Descriptor{MediaType: image.MediaType, Digest: alg.FromBytes(image.Bytes), Size: image.Size}
	if all, _ := s.referrers("team/never", subject.Digest, ""); len(all) != 0 {
		s.Errorf("a repository that is not there has %v", all)
	}
	notes := map[string]string{"org.example.key": "value", "org.example.other": "ä"}
	layers := []ocispec.Descriptor{empty}
	want := map[digest.Digest]ocispec.Descriptor{}
	for i, fields := range []map[string]any{
		{"config": empty, "layers": layers, "artifactType": "application/vnd.example.a", "annotations": notes},
		{"config": empty, "layers": layers, "artifactType": "application/vnd.example.b"},
		{"config": empty, "layers": layers, "artifactType": "application/vnd.example.b+x&y"},
		{"config": config, "layers": layers, "annotations": notes}, // its type is the config's
		{"manifests": []any{}, "annotations": notes},               // it has no type
		{"manifests": []any{}, "artifactType": "application/vnd.example.a"},
	} {
		fields["subject"] = subject
		mediaType := ocispec.MediaTypeImageManifest
		if fields["manifests"] != nil {
			mediaType = ocispec.MediaTypeImageIndex
		}
		m := jsonManifest(mediaType, fields)
		ref := alg.FromBytes(m.Bytes)
		s.accepted("push a referrer", s.put(repo, ref.String(), m), http.StatusCreated)
		d := ocispec.Descriptor{MediaType: mediaType, Digest: ref, Size: m.Size}
		d.ArtifactType, _ = fields["artifactType"].(string)
		d.Annotations, _ = fields["annotations"].(map[string]string)
		if i == 3 {
			d.ArtifactType = config.MediaType
		}
		want[ref] = d
	}
	s.wantReferrers(subject.Digest, want) // before the subject is there
	s.accepted("push the subject", s.put(repo, subject.Digest.String(), image), http.StatusCreated)
	s.wantReferrers(subject.Digest, want)
	if all, _ := s.referrers("team/other", subject.Digest, ""); len(all) != 0 {
		s.Errorf("another repository has %v", all)
	}
	for d := range want {
		s.accepted("delete", s.ask(http.MethodDelete, manifestPath(repo, d.String()), nil), http.StatusAccepted)
		delete(want, d)
		break
	}
	s.wantReferrers(subject.Digest, want)
	s.accepted("delete the subject", s.ask(http.MethodDelete, manifestPath(repo, subject.Digest.String()), nil), http.StatusAccepted)
	s.wantReferrers(subject.Digest, want)
}

func (s site) wantReferrers(subject digest.Digest, want map[digest.Digest]ocispec.Descriptor) {
	s.Helper()
	types := map[string]int{"application/vnd.example.none": 0}
	for _, d := range want {
		types[d.ArtifactType]++
	}
	delete(types, "")
	for _, n := range []int{0, 1, 2, 4, 1000} { // 0: without n
		query := fmt.Sprintf("?n=%d", n)
		if n == 0 {
			query, n = "", 1000
		}
		all, pages := s.referrers("team/app", subject, query)
		s.sameReferrers(query, all, want)
		if wantPages := max((len(want)+n-1)/n, 1); pages != wantPages {
			s.Errorf("%s: %d pages, want %d", query, pages, wantPages)
		}
	}
	for artifactType, n := range types {
		for _, page := range []string{"", "&n=1"} {
			all, _ := s.referrers("team/app", subject, "?artifactType="+url.QueryEscape(artifactType)+page)
			if len(all) != n || slices.ContainsFunc(all, func(d ocispec.Descriptor) bool { return d.ArtifactType != artifactType }) {
				s.Errorf("of type %s%s: %v; want %d", artifactType, page, all, n)
			}
		}
	}
}

func (s site) sameReferrers(what string, got []ocispec.Descriptor, want map[digest.Digest]ocispec.Descriptor) {
	s.Helper()
	if len(got) != len(want) {
		s.Errorf("%s: %d referrers, want %d", what, len(got), len(want))
	}
	for _, d := range got {
		if a, b := string(mustJSON(d)), string(mustJSON(want[d.Digest])); a != b {
			s.Errorf("%s: %s\nwant %s", what, a, b)
		}
	}
}

func TestReferrersOfNoDigest(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	for _, ref := range []string{"latest", "sha256:", "sha256:abc", "sha256:" + strings.Repeat("A", 64), "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + strings.Repeat("g", 64)} {
		s.refused(ref, s.ask(http.MethodGet, "/v2/team/app/referrers/"+ref, nil), http.StatusBadRequest, "DIGEST_INVALID")
	}
	path := "/v2/team/app/referrers/" + digest.FromString("x").String()
	s.refused("last is no digest", s.ask(http.MethodGet, path+"?last=x", nil), http.StatusBadRequest, "PAGINATION_NUMBER_INVALID")
	s.refused("a long type", s.ask(http.MethodGet, path+"?artifactType="+strings.Repeat("x", 5000), nil), http.StatusBadRequest, "UNSUPPORTED")
}
