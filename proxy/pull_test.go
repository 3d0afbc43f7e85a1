package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

func filled() *fakeCache {
	m := &cache.Manifest{MediaType: dockerManifest, Digest: sha256, Bytes: []byte("{ \"byte\" :\"exact\"}\n")}
	blob := []byte(strings.Repeat("0123456789", 200))
	f := &fakeCache{
		hotManifests: map[string]*cache.Manifest{"docker.io/library/nginx:hot": m, "docker.io/library/nginx:" + sha256: m},
		manifests: map[string]cache.Answer{
			"docker.io/library/nginx:cold":      {Manifest: m, Tier: cache.TierDisk},
			"docker.io/library/nginx:stale":     {Manifest: m, Tier: cache.TierDisk, Warning: "upstream \"is\" out\r\n"},
			"docker.io/library/nginx:" + sha512: {Manifest: m, Tier: cache.TierUpstream},
			"gcr.io/p/i:v1":                     {Manifest: m, Tier: cache.TierUpstream},
		},
		hotBlobs: map[string][]byte{"docker.io/library/nginx@" + sha256: blob},
		blobs: map[string]func(cache.Range) (Content, error){
			"docker.io/library/nginx@" + sha256: ofBytes(blob, cache.TierMemory),
			"docker.io/library/nginx@" + sha512: ofBytes(blob, cache.TierUpstream),
			"gcr.io/p/i@" + sha256:              ofBytes(nil, cache.TierMemory),
			"gcr.io/p/i@" + sha512: func(cache.Range) (Content, error) {
				return &content{size: -1, body: blob, tier: cache.TierUpstream}, nil
			},
		},
		sizes: map[string]int64{"docker.io/library/nginx@" + sha512: 10 << 30, "gcr.io/p/i@" + sha512: -1},
		tags:  []string{"a", "b", "c"},
		names: []string{"library/alpine", "library/nginx"},
		index: ocispec.Index{Manifests: []ocispec.Descriptor{{ArtifactType: "x/sig", Digest: sha256}, {ArtifactType: "x/sbom", Digest: sha512}}},
	}
	return f
}

func TestPull(t *testing.T) {
	const (
		manifest = "{ \"byte\" :\"exact\"}\n"
		nginx    = "/v2/library/nginx"
	)
	blob := strings.Repeat("0123456789", 200)
	s := start(t, filled(), nil)
	for _, c := range []struct {
		fact, method, path string
		ask                []string // headers
		status             int
		want               []string // headers; an empty value: absent
		body               string
	}{
		{"ping", "GET", "/v2/", nil, 200, []string{"Docker-Distribution-Api-Version", "registry/2.0"}, "{}"},
		{"manifest by tag from memory", "GET", nginx + "/manifests/hot", []string{"Accept", "application/json"}, 200,
			[]string{"Content-Type", dockerManifest, "Docker-Content-Digest", sha256, "Etag", `"` + sha256 + `"`, "Warning", "", "Oci-Namespace", "", "Cache-Control", ""}, manifest},
		{"manifest by digest may be kept", "GET", nginx + "/manifests/" + sha256, nil, 200, []string{"Cache-Control", forEver}, manifest},
		{"manifest head has the length and no body", "HEAD", nginx + "/manifests/hot", nil, 200, []string{"Content-Length", "19", "Docker-Content-Digest", sha256}, ""},
		{"manifest from disk", "GET", nginx + "/manifests/cold", nil, 200, []string{"Content-Type", dockerManifest}, manifest},
		{"cold manifest head", "HEAD", nginx + "/manifests/cold", nil, 200, []string{"Content-Length", "19", "Docker-Content-Digest", sha256, "Content-Type", dockerManifest}, ""},
		{"digest in the algorithm asked", "GET", nginx + "/manifests/" + sha512, nil, 200, []string{"Docker-Content-Digest", sha512}, manifest},
		{"head with digest in the algorithm asked", "HEAD", nginx + "/manifests/" + sha512, nil, 200, []string{"Docker-Content-Digest", sha512}, ""},
		{"a stale answer says so", "GET", nginx + "/manifests/stale", nil, 200, []string{"Warning", `299 - "upstream  is  out  "`}, manifest},
		{"a stale head too", "HEAD", nginx + "/manifests/stale", nil, 200, []string{"Warning", `299 - "upstream  is  out  "`}, ""},
		{"a range of a manifest is ignored", "GET", nginx + "/manifests/hot", []string{"Range", "bytes=0-"}, 200, nil, manifest},
		{"unchanged manifest", "GET", nginx + "/manifests/hot", []string{"If-None-Match", `"x", "` + sha256 + `"`}, 304, []string{"Etag", `"` + sha256 + `"`}, ""},
		{"changed manifest", "GET", nginx + "/manifests/hot", []string{"If-None-Match", `"x"`}, 200, nil, manifest},
		{"namespace is repeated", "GET", "/v2/p/i/manifests/v1?ns=gcr.io", nil, 200, []string{"Oci-Namespace", "gcr.io"}, manifest},
		{"namespace of Hub by its alias", "GET", nginx + "/manifests/hot?ns=registry-1.docker.io", nil, 200, []string{"Oci-Namespace", "registry-1.docker.io"}, manifest},
		{"prefix", "GET", "/v2/gcr.io/p/i/manifests/v1", nil, 200, nil, manifest},

		{"blob from memory", "GET", nginx + "/blobs/" + sha256, nil, 200,
			[]string{"Content-Type", "application/octet-stream", "Content-Length", "2000", "Docker-Content-Digest", sha256, "Accept-Ranges", "bytes", "Cache-Control", forEver, "Etag", `"` + sha256 + `"`}, blob},
		{"blob with an escaped colon", "GET", nginx + "/blobs/sha256%3A" + hex256, nil, 200, nil, blob},
		{"blob head from memory", "HEAD", nginx + "/blobs/" + sha256, nil, 200, []string{"Content-Length", "2000"}, ""},
		{"blob that arrives", "GET", nginx + "/blobs/" + sha512, []string{"Accept-Encoding", "zstd, gzip"}, 200, []string{"Content-Length", "2000", "Content-Encoding", ""}, blob},
		{"blob head starts nothing", "HEAD", nginx + "/blobs/" + sha512, nil, 200, []string{"Content-Length", "10737418240", "Docker-Content-Digest", sha512}, ""},
		{"blob head without a size", "HEAD", "/v2/p/i/blobs/" + sha512 + "?ns=gcr.io", nil, 200, []string{"Content-Length", ""}, ""},
		{"blob of unknown size", "GET", "/v2/p/i/blobs/" + sha512 + "?ns=gcr.io", nil, 200, []string{"Content-Length", ""}, blob},
		{"range of a blob of unknown size", "GET", "/v2/p/i/blobs/" + sha512 + "?ns=gcr.io", []string{"Range", "bytes=0-"}, 200, []string{"Content-Range", ""}, blob},
		{"empty blob", "GET", "/v2/p/i/blobs/" + sha256 + "?ns=gcr.io", nil, 200, []string{"Content-Length", "0"}, ""},
		{"range of an empty blob from its start", "GET", "/v2/p/i/blobs/" + sha256 + "?ns=gcr.io", []string{"Range", "bytes=0-"}, 200, []string{"Content-Range", ""}, ""},
		{"range", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=500-1499"}, 206, []string{"Content-Range", "bytes 500-1499/2000", "Content-Length", "1000"}, blob[500:1500]},
		{"range of what arrives", "GET", nginx + "/blobs/" + sha512, []string{"Range", "bytes=501-"}, 206, []string{"Content-Range", "bytes 501-1999/2000"}, blob[501:]},
		{"all of it by range", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=0-"}, 206, []string{"Content-Range", "bytes 0-1999/2000"}, blob},
		{"one byte past the end", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=1000-2000"}, 206, []string{"Content-Range", "bytes 1000-1999/2000"}, blob[1000:]},
		{"the end", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=-500"}, 206, []string{"Content-Range", "bytes 1500-1999/2000"}, blob[1500:]},
		{"several ranges are ignored", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=0-1,3-4"}, 200, []string{"Content-Range", ""}, blob},
		{"a malformed range is ignored", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=x"}, 200, nil, blob},
		{"a range of other content is ignored", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=0-1", "If-Range", `"other"`}, 200, nil, blob},
		{"a range of this content is not", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=0-1", "If-Range", `"` + sha256 + `"`}, 206, nil, "01"},
		{"unchanged blob", "GET", nginx + "/blobs/" + sha512, []string{"If-None-Match", `"` + sha512 + `"`}, 304, nil, ""},
		{"a head has no ranges", "HEAD", nginx + "/blobs/" + sha256, []string{"Range", "bytes=0-1"}, 200, []string{"Content-Length", "2000"}, ""},

		{"tags", "GET", nginx + "/tags/list", nil, 200, []string{"Link", "", "Content-Type", "application/json"}, `{"name":"library/nginx","tags":["a","b","c"]}`},
		{"tags by page", "GET", nginx + "/tags/list?n=2", nil, 200, []string{"Link", `</v2/library/nginx/tags/list?n=2&last=b>; rel="next"`}, `{"name":"library/nginx","tags":["a","b"]}`},
		{"the next page", "GET", nginx + "/tags/list?n=2&last=b", nil, 200, []string{"Link", ""}, `{"name":"library/nginx","tags":["c"]}`},
		{"tags, none", "GET", nginx + "/tags/list?n=0", nil, 200, []string{"Link", ""}, `{"name":"library/nginx","tags":[]}`},
		{"the link keeps the namespace", "GET", "/v2/p/i/tags/list?n=1&ns=gcr.io", nil, 200, []string{"Link", `</v2/p/i/tags/list?n=1&last=a&ns=gcr.io>; rel="next"`}, `{"name":"p/i","tags":["a"]}`},
		{"tags by the name that was asked", "GET", "/v2/gcr.io/p/i/tags/list", nil, 200, nil, `{"name":"gcr.io/p/i","tags":["a","b","c"]}`},
		{"a large n is cut", "GET", nginx + "/tags/list?n=2147483647", nil, 200, nil, `{"name":"library/nginx","tags":["a","b","c"]}`},
		{"catalog of a namespace", "GET", "/v2/_catalog?ns=docker.io&n=1", nil, 200, []string{"Link", `</v2/_catalog?n=1&last=library%2Falpine&ns=docker.io>; rel="next"`, "Oci-Namespace", "docker.io"}, `{"repositories":["library/alpine"]}`},
		{"catalog of what is hosted", "GET", "/v2/_catalog", nil, 200, nil, `{"repositories":[]}`},
	} {
		res, body := s.do(t, c.method, c.path, c.ask...)
		if res.StatusCode != c.status || body != c.body {
			t.Errorf("%s: got %d %.100q, want %d %.100q", c.fact, res.StatusCode, body, c.status, c.body)
		}
		for i := 0; i < len(c.want); i += 2 {
			if got := res.Header.Get(c.want[i]); got != c.want[i+1] {
				t.Errorf("%s: %s: got %q, want %q", c.fact, c.want[i], got, c.want[i+1])
			}
		}
	}
}

func TestReferrersAreFiltered(t *testing.T) {
	s := start(t, filled(), nil)
	for _, c := range []struct {
		query, applied string
		want           []string
	}{
		{"", "", []string{sha256, sha512}},
		{"?artifactType=x/sbom", "artifactType", []string{sha512}},
		{"?artifactType=x%2Fsig", "artifactType", []string{sha256}},
		{"?artifactType=none", "artifactType", []string{}},
	} {
		res, body := s.do(t, "GET", "/v2/library/nginx/referrers/"+sha256+c.query)
		var index ocispec.Index
		if err := json.Unmarshal([]byte(body), &index); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		got := []string{}
		for _, d := range index.Manifests {
			got = append(got, d.Digest.String())
		}
		if !slices.Equal(got, c.want) || index.SchemaVersion != 2 || index.MediaType != ocispec.MediaTypeImageIndex || strings.Contains(body, "null") {
			t.Errorf("%q: got %s", c.query, body)
		}
		if h := res.Header; h.Get("Oci-Filters-Applied") != c.applied || h.Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Errorf("%q: headers %v", c.query, h)
		}
	}
}

func TestRefusals(t *testing.T) {
	f := filled()
	s := start(t, f, func(o *Options) {
		private := o.Registries["gcr.io"]
		private.Private = true
		o.Registries["gcr.io"] = private
	})
	const nginx = "/v2/library/nginx"
	for _, c := range []struct {
		fact, method, path string
		ask                []string
		status             int
		code, says         string
		header             []string
	}{
		{"no such endpoint", "GET", "/v2/a", nil, 404, "UNSUPPORTED", "", nil},
		{"the root", "GET", "/", nil, 404, "UNSUPPORTED", "", nil},
		{"wrong method on tags", "POST", nginx + "/tags/list", nil, 405, "UNSUPPORTED", "", []string{"Allow", "GET, HEAD"}},
		{"wrong method on ping", "DELETE", "/v2/", nil, 405, "UNSUPPORTED", "", []string{"Allow", "GET, HEAD"}},
		{"unknown manifest", "GET", nginx + "/manifests/nope", nil, 404, "MANIFEST_UNKNOWN", "", nil},
		{"unknown blob", "GET", "/v2/a/b/blobs/" + sha256, nil, 404, "BLOB_UNKNOWN", "", nil},
		{"malformed digest", "GET", nginx + "/blobs/sha256:short", nil, 400, "DIGEST_INVALID", "", nil},
		{"upwards", "GET", nginx + "/blobs/sha256:../../x", nil, 400, "NAME_INVALID", "", nil},
		{"escaped upwards", "GET", "/v2/a/%2e%2e/b/manifests/x", nil, 400, "NAME_INVALID", "", nil},
		{"unknown namespace", "GET", nginx + "/manifests/hot?ns=evil.example", nil, 404, "NAME_UNKNOWN", "evil.example", nil},
		{"unknown prefix", "GET", "/v2/quay.io/a/manifests/x", nil, 404, "NAME_UNKNOWN", "quay.io", nil},
		{"one element", "GET", "/v2/my-image/manifests/latest", nil, 404, "MANIFEST_UNKNOWN", "library/my-image", nil},
		{"hosted", "GET", "/v2/team/img/blobs/" + sha256, nil, 404, "BLOB_UNKNOWN", "", nil},
		{"no such range", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=5000-10000"}, 416, "RANGE_INVALID", "", []string{"Content-Range", "bytes */2000"}},
		{"range that ends before it starts", "GET", nginx + "/blobs/" + sha256, []string{"Range", "bytes=500-0"}, 416, "RANGE_INVALID", "", []string{"Content-Range", "bytes */2000"}},
		{"n is not a number", "GET", nginx + "/tags/list?n=abc", nil, 400, "PAGINATION_NUMBER_INVALID", "", nil},
		{"n is negative", "GET", nginx + "/tags/list?n=-1", nil, 400, "PAGINATION_NUMBER_INVALID", "", nil},
		{"n is empty", "GET", nginx + "/tags/list?n=", nil, 400, "PAGINATION_NUMBER_INVALID", "", nil},
		{"n in a catalog", "GET", "/v2/_catalog?ns=docker.io&n=x", nil, 400, "PAGINATION_NUMBER_INVALID", "", nil},
		{"push to an upstream's name", "PUT", "/v2/grafana/grafana/manifests/x", nil, 403, "DENIED", "set ENTREPOT_HOSTED=grafana", []string{"Www-Authenticate", ""}},
		{"upload to an upstream's name", "POST", "/v2/grafana/grafana/blobs/uploads/", nil, 403, "DENIED", "set ENTREPOT_HOSTED=grafana", nil},
		{"upload behind a prefix", "POST", "/v2/gcr.io/p/i/blobs/uploads/", nil, 403, "DENIED", "gcr.io owns", nil},
		{"upload to an unknown prefix", "POST", "/v2/quay.io/a/blobs/uploads/", nil, 403, "DENIED", "quay.io", nil},
		{"status of an upload to an upstream's name", "GET", "/v2/grafana/grafana/blobs/uploads/1", nil, 403, "DENIED", "set ENTREPOT_HOSTED=grafana", nil},
		{"deletion of an upstream's name", "DELETE", "/v2/grafana/grafana/manifests/x", nil, 403, "DENIED", "set ENTREPOT_HOSTED=grafana", nil},
		{"private manifest", "GET", "/v2/p/i/manifests/v1?ns=gcr.io", nil, 403, "DENIED", "anonymously", []string{"Www-Authenticate", ""}},
		{"private blob", "GET", "/v2/gcr.io/p/i/blobs/" + sha256, nil, 403, "DENIED", "", nil},
		{"private tags", "GET", "/v2/gcr.io/p/i/tags/list", nil, 403, "DENIED", "", nil},
		{"private referrers", "GET", "/v2/gcr.io/p/i/referrers/" + sha256, nil, 403, "DENIED", "", nil},
		{"private catalog", "GET", "/v2/_catalog?ns=gcr.io", nil, 403, "DENIED", "", nil},
	} {
		res, body := s.do(t, c.method, c.path, c.ask...)
		var got struct {
			Errors []struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Errors) != 1 {
			t.Errorf("%s: body %q", c.fact, body)
			continue
		}
		if res.StatusCode != c.status || got.Errors[0].Code != c.code || !strings.Contains(got.Errors[0].Message, c.says) {
			t.Errorf("%s: got %d %s", c.fact, res.StatusCode, body)
		}
		for i := 0; i < len(c.header); i += 2 {
			if got := res.Header.Get(c.header[i]); got != c.header[i+1] {
				t.Errorf("%s: %s: got %q, want %q", c.fact, c.header[i], got, c.header[i+1])
			}
		}
	}
	if got := f.questions(); slices.ContainsFunc(got, func(q string) bool { return !strings.Contains(q, "docker.io/") || strings.Contains(q, "grafana") }) {
		t.Errorf("refused requests reached the cache: %q", got)
	}
}

func TestOutageHasRetryAfter(t *testing.T) {
	f := filled()
	f.err = &cache.UnavailableError{Upstream: "docker.io", Cause: cache.CauseLimited, RetryAfter: 1500e6, Err: fmt.Errorf("429")}
	s := start(t, f, nil)
	res, _ := s.do(t, "GET", "/v2/library/nginx/manifests/cold")
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "2" {
		t.Errorf("got %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

func TestHeadOfErrorHasNoBody(t *testing.T) {
	s := start(t, filled(), nil)
	res, body := s.do(t, "HEAD", "/v2/library/nginx/manifests/nope")
	if res.StatusCode != 404 || body != "" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}

func TestAnswersAreTold(t *testing.T) {
	s := start(t, filled(), nil)
	for _, c := range []struct {
		method, path string
		want         Answer
	}{
		{"GET", "/v2/library/nginx/manifests/hot", Answer{Kind: KindManifest, Registry: "docker.io", Status: 200, Tier: cache.TierMemory, Bytes: 19}},
		{"HEAD", "/v2/library/nginx/manifests/hot", Answer{Kind: KindManifest, Registry: "docker.io", Status: 200, Tier: cache.TierMemory}},
		{"GET", "/v2/library/nginx/blobs/" + sha512, Answer{Kind: KindBlob, Registry: "docker.io", Status: 200, Tier: cache.TierUpstream, Bytes: 2000}},
		{"GET", "/v2/p/i/blobs/" + sha512 + "?ns=gcr.io", Answer{Kind: KindBlob, Registry: "gcr.io", Status: 200, Tier: cache.TierUpstream, Bytes: 2000}},
	} {
		s.do(t, c.method, c.path)
		got := <-s.answered
		got.Duration, got.FirstByte = 0, 0
		if got != c.want {
			t.Errorf("%s %s: got %+v, want %+v", c.method, c.path, got, c.want)
		}
	}
}
