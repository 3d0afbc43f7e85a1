package proxy

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	hex256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	sha256 = "sha256:" + hex256
	sha512 = "sha512:" + hex256 + hex256
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("a", 255)
	for _, c := range []struct {
		path string
		want Request
		code Code
	}{
		{"/v2/", Request{Kind: KindPing}, ""},
		{"/v2", Request{Kind: KindPing}, ""},
		{"/v2/_catalog", Request{Kind: KindCatalog}, ""},
		{"/v1/_ping", Request{Kind: KindSearchPing}, ""},
		{"/v1/search", Request{Kind: KindSearch}, ""},
		{"/v2/library/nginx/manifests/latest", Request{KindManifest, "library/nginx", "latest"}, ""},
		{"/v2/nginx/manifests/" + sha256, Request{KindManifest, "nginx", sha256}, ""},
		{"/v2/nginx/manifests/" + sha512, Request{KindManifest, "nginx", sha512}, ""},
		{"/v2/nginx/manifests/sha256%3A" + hex256, Request{KindManifest, "nginx", sha256}, ""},
		{"/v2/nginx/blobs/sha256%3a" + hex256, Request{KindBlob, "nginx", sha256}, ""},
		{"/v2/a/b/c/d/blobs/" + sha256, Request{KindBlob, "a/b/c/d", sha256}, ""},
		{"/v2/a/tags/list", Request{Kind: KindTags, Name: "a"}, ""},
		{"/v2/a/referrers/" + sha256, Request{KindReferrers, "a", sha256}, ""},
		{"/v2/a/blobs/uploads/", Request{Kind: KindUpload, Name: "a"}, ""},
		{"/v2/a/blobs/uploads", Request{Kind: KindUpload, Name: "a"}, ""},
		{"/v2/a/blobs/uploads/x-1", Request{KindUpload, "a", "x-1"}, ""},
		{"/v2/blobs/manifests/tags/manifests/list", Request{KindManifest, "blobs/manifests/tags", "list"}, ""},
		{"/v2/a/tags/tags/list", Request{Kind: KindTags, Name: "a/tags"}, ""},
		{"/v2/a/blobs/uploads/blobs/" + sha256, Request{KindBlob, "a/blobs/uploads", sha256}, ""},
		{"/v2/gcr.io/p/i/manifests/v1", Request{KindManifest, "gcr.io/p/i", "v1"}, ""},
		{"/v2/" + long + "/tags/list", Request{Kind: KindTags, Name: long}, ""},

		{"", Request{}, ""},
		{"/", Request{Kind: KindPage, Ref: "/"}, ""},
		{"/login", Request{Kind: KindPage, Ref: "/login"}, ""},
		{"/ui/images/team/a:v1", Request{Kind: KindPage, Ref: "/ui/images/team/a:v1"}, ""},
		{"/ui", Request{}, ""},
		{"/v1/", Request{}, ""},
		{"/v1/search/", Request{}, ""},
		{"/v1/_ping/", Request{}, ""},
		{"/v2x/a/tags/list", Request{}, ""},
		{"/v2/a", Request{}, ""},
		{"/v2/a/tags/", Request{}, ""},
		{"/v2/a/tags/list/", Request{}, ""},
		{"/v2//_catalog", Request{}, ""},

		{"/v2/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2//manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a//b/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a/../b/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/../manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a/%2e%2e/b/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a%2Fb/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a/manifests/v1%2e0", Request{}, CodeNameInvalid},
		{"/v2/a/manifests/%00", Request{}, CodeNameInvalid},
		{"/v2/a/blobs/sha256%253A" + hex256, Request{}, CodeNameInvalid},
		{"/v2/A/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a\\b/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a\x00/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a-/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a..b/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a___b/manifests/latest", Request{}, CodeNameInvalid},
		{"/v2/a" + long + "/tags/list", Request{}, CodeNameInvalid},

		{"/v2/a/blobs/sha256:../../x", Request{}, CodeNameInvalid},
		{"/v2/a/blobs/sha256:..", Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/" + strings.ToUpper(sha256), Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/sha256:" + strings.ToUpper(hex256), Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/" + sha256[:70], Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/" + sha256 + "0", Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/sha512:" + hex256, Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/md5:" + hex256, Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/sha256:" + hex256[:63] + "\x00", Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/latest", Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/", Request{}, CodeDigestInvalid},
		{"/v2/a/manifests/sha256:short", Request{}, CodeDigestInvalid},
		{"/v2/a/referrers/latest", Request{}, CodeDigestInvalid},
		{"/v2/a/blobs/uploads/..", Request{}, CodeBlobUploadUnknown},
		{"/v2/a/blobs/uploads/a_b", Request{}, CodeBlobUploadUnknown},
		{"/v2/a/blobs/uploads/" + strings.Repeat("a", 129), Request{}, CodeBlobUploadUnknown},
		{"/v2/a/manifests/.hidden", Request{}, CodeManifestUnknown},
		{"/v2/a/manifests/..", Request{}, CodeManifestUnknown},
		{"/v2/a/manifests/", Request{}, CodeManifestUnknown},
		{"/v2/a/manifests/" + strings.Repeat("t", 129), Request{}, CodeManifestUnknown},
	} {
		got, err := ParsePath(c.path)
		var e *Error
		switch {
		case c.code == "" && err != nil:
			t.Errorf("%q: %v", c.path, err)
		case c.code == "" && got != c.want:
			t.Errorf("%q: got %+v, want %+v", c.path, got, c.want)
		case c.code != "" && (!errors.As(err, &e) || e.Code != c.code):
			t.Errorf("%q: got error %v, want %s", c.path, err, c.code)
		}
	}
}

func TestParsePathAllocatesNothing(t *testing.T) {
	path := "/v2/library/nginx/manifests/" + sha256
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParsePath(path); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Both grammars are copied from the distribution specification.
const (
	nameGrammar = `^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`
	tagGrammar  = `^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`
)

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v2/", "/v2/a/b/manifests/latest", "/v2/a/blobs/" + sha256, "/v2/a--b/blobs/uploads/", "/v2/../%2e/tags/list"} {
		f.Add(s)
	}
	name := regexp.MustCompile(nameGrammar)
	f.Fuzz(func(t *testing.T, path string) {
		r, err := ParsePath(path)
		if err != nil || r.Kind == KindNone || r.Kind == KindPing || r.Kind == KindCatalog {
			return
		}
		if !name.MatchString(r.Name) || len(r.Name) > 255 {
			t.Errorf("%q: name %q", path, r.Name)
		}
		if strings.ContainsAny(r.Name+r.Ref, "%\\\x00") {
			t.Errorf("%q: %+v", path, r)
		}
	})
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"latest", "v1.0", "_x", ".x", "a/b", "a__b", "a-b", "a--b", "a.-b", strings.Repeat("a", 129)} {
		f.Add(s)
	}
	tag, name := regexp.MustCompile(tagGrammar), regexp.MustCompile(nameGrammar)
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := ValidTag(s), tag.MatchString(s) && !strings.HasSuffix(s, "\n"); got != want {
			t.Errorf("tag %q: got %v", s, got)
		}
		if got, want := ValidName(s), name.MatchString(s) && len(s) <= 255; got != want {
			t.Errorf("name %q: got %v", s, got)
		}
	})
}

func FuzzDigest(f *testing.F) {
	for _, s := range []string{sha256, sha512, "sha256:", "sha384:" + hex256, strings.ToUpper(sha256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := digest.Digest(s).Validate() == nil && !strings.HasPrefix(s, "sha384:")
		if got := ValidDigest(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	})
}
