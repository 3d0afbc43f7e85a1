package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestPushOfAManifest(t *testing.T) {
	for name, store := range stores(t) {
		s := startOver(t, store, nil)
		b := s.image(t, "team/img", nil)
		d, d512 := digest.FromBytes(b).String(), digest.SHA512.FromBytes(b).String()
		for _, c := range []struct {
			fact, path  string
			ask         []string
			digest      string
			tags, asked []string
		}{
			{"by tag", "v1", nil, d, nil, []string{"v1", d}},
			{"by tag again", "v1", nil, d, nil, []string{"v1"}},
			{"by digest", d, nil, d, nil, []string{d}},
			{"by sha512", d512, nil, d512, nil, []string{d512}},
			{"by digest with tags", d + "?tag=a&tag=b.1&tag=a", nil, d, []string{"a", "b.1"}, []string{"a", "b.1"}},
			{"by sha512 with a tag", d512 + "?tag=c", nil, d512, []string{"c"}, []string{"c"}},
			{"with a parameter of its type", "v2", []string{"Content-Type", ocispec.MediaTypeImageManifest + "; charset=utf-8"}, d, nil, []string{"v2"}},
			{"without a type", "v3", []string{"Content-Type", ""}, d, nil, []string{"v3"}},
			{"with a namespace", "v4?ns=docker.io", nil, d, nil, []string{"v4"}},
		} {
			ask := c.ask
			if ask == nil {
				ask = []string{"Content-Type", ocispec.MediaTypeImageManifest}
			}
			header := s.expect(t, 201, "PUT", "/v2/team/img/manifests/"+c.path, bytes.NewReader(b), ask...)
			location := "/v2/team/img/manifests/" + c.digest
			if strings.Contains(c.path, "ns=") {
				location += "?ns=docker.io"
			}
			if header.Get("Location") != location || header.Get("Docker-Content-Digest") != c.digest || !slices.Equal(header.Values("Oci-Tag"), c.tags) || header.Get("Oci-Subject") != "" {
				t.Errorf("%s, %s: got %v", name, c.fact, header)
			}
			for _, ref := range c.asked {
				res, got := s.do(t, "GET", "/v2/team/img/manifests/"+ref)
				if res.StatusCode != 200 || got != string(b) || res.Header.Get("Content-Type") != ocispec.MediaTypeImageManifest || res.Header.Get("Docker-Content-Digest") != c.digest {
					t.Errorf("%s, %s: %s: got %d %v", name, c.fact, ref, res.StatusCode, res.Header)
				}
			}
		}
	}
}

func TestTagsAreToldAsTheSpecificationSpellsThem(t *testing.T) {
	s := startPush(t, nil)
	b := s.image(t, "team/img", nil)
	got := s.ask(t, fmt.Sprintf("PUT /v2/team/img/manifests/%s?tag=a&tag=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		digest.FromBytes(b), len(b), b))
	if !strings.Contains(got, "\r\nOCI-Tag: a\r\nOCI-Tag: b\r\n") {
		t.Errorf("got %q", got)
	}
}

func TestManifestRefusals(t *testing.T) {
	s := startPush(t, nil)
	b := s.image(t, "team/img", nil)
	d := digest.FromBytes(b).String()
	bad := bytes.Replace(b, []byte(`"layers"`), []byte(`"manifests":[],"layers"`), 1)
	tags := func(n int) string {
		var q strings.Builder
		for i := range n {
			fmt.Fprintf(&q, "&tag=t%d", i)
		}
		return strings.Replace(q.String(), "&", "?", 1)
	}
	for _, c := range []struct {
		fact, ref, mediaType string
		body                 []byte
		status               int
		code                 Code
	}{
		{"another digest", sha256, "", b, 400, CodeDigestInvalid},
		{"another sha512", sha512, "", b, 400, CodeDigestInvalid},
		{"a malformed digest", "sha256:x", "", b, 400, CodeDigestInvalid},
		{"no JSON", "v1", "", []byte("layer"), 400, CodeManifestInvalid},
		{"nothing", "v1", "", nil, 400, CodeManifestInvalid},
		{"another type than it says", "v1", ocispec.MediaTypeImageIndex, b, 400, CodeManifestInvalid},
		{"manifest and index at once", "v1", "", bad, 400, CodeManifestInvalid},
		{"a blob that is not there", "v1", "", bytes.Replace(b, []byte(`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:`), []byte(`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:`+hex256+`","size":5},{"mediaType":"x/y","digest":"sha256:`), 1), 404, CodeManifestBlobUnknown},
		{"a tag that is none", d + "?tag=ok&tag=-x", "", b, 400, CodeManifestInvalid},
		{"an empty tag", d + "?tag=", "", b, 400, CodeManifestInvalid},
		{"too many tags", d + tags(101), "", b, 414, CodeManifestInvalid},
		{"a reference that is no tag", ".x", "", b, 404, CodeManifestUnknown},
	} {
		mediaType := c.mediaType
		if mediaType == "" {
			mediaType = ocispec.MediaTypeImageManifest
		}
		res, got := s.send(t, "PUT", "/v2/team/img/manifests/"+c.ref, bytes.NewReader(c.body), "Content-Type", mediaType)
		if code, _ := refusal(got); res.StatusCode != c.status || code != string(c.code) {
			t.Errorf("%s: got %d %s", c.fact, res.StatusCode, got)
		}
	}
	for _, ref := range []string{"v1", "ok", "t0", d} {
		s.expect(t, 404, "GET", "/v2/team/img/manifests/"+ref, nil)
	}
	if got := s.expect(t, 201, "PUT", "/v2/team/img/manifests/"+d+tags(100), bytes.NewReader(b), "Content-Type", ocispec.MediaTypeImageManifest).Values("Oci-Tag"); len(got) != 100 {
		t.Errorf("%d tags were accepted", len(got))
	}
}

// manifestOf is a valid manifest of so many bytes.
func manifestOf(t *testing.T, s *running, size int) []byte {
	t.Helper()
	annotate := func(n int) func(*ocispec.Manifest) {
		return func(m *ocispec.Manifest) { m.Annotations = map[string]string{"a": strings.Repeat("x", n)} }
	}
	least := len(s.image(t, "team/img", annotate(1)))
	return s.image(t, "team/img", annotate(size-least+1))
}

func TestManifestLimit(t *testing.T) {
	s := startPush(t, nil)
	for _, c := range []struct {
		fact         string
		size, status int
	}{{"4 MiB", manifestLimit, 201}, {"a byte more", manifestLimit + 1, 413}} {
		b := manifestOf(t, s, c.size)
		if len(b) != c.size {
			t.Fatalf("the manifest has %d bytes", len(b))
		}
		for how, body := range map[string]io.Reader{"with a length": bytes.NewReader(b), "in chunks": inChunks{bytes.NewReader(b)}} {
			res, got := s.send(t, "PUT", "/v2/team/img/manifests/x", body, "Content-Type", ocispec.MediaTypeImageManifest)
			if res.StatusCode != c.status {
				t.Errorf("%s %s: got %d %.200s", c.fact, how, res.StatusCode, got)
			}
		}
	}
}

// zeros is a body that takes no memory of its own.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	return n, nil
}

// CVE-2017-11468: bodies took as much memory as they had bytes.
func TestCVE_2017_11468_MemoryStaysFlatWhateverIsPushed(t *testing.T) {
	s := startPush(t, nil)
	for _, c := range []struct {
		fact, path string
		chunked    bool
		status     int
		limit      uint64
	}{
		{"a manifest of 100 MB", "/v2/team/img/manifests/x", false, 413, 2 << 20},
		{"one in chunks", "/v2/team/img/manifests/x", true, 413, 48 << 20}, // 4 MiB of it are read, into a buffer that doubles
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		req, err := http.NewRequest("PUT", "http://"+s.addr+c.path, &zeros{100_000_000})
		if err != nil {
			t.Fatal(err)
		}
		if !c.chunked {
			req.ContentLength = 100_000_000
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; res.StatusCode != c.status || grown > c.limit {
			t.Errorf("%s: got %d, and %d bytes were allocated", c.fact, res.StatusCode, grown)
		}
	}
}

func TestSubject(t *testing.T) {
	s := startPush(t, nil)
	subject := s.pushImage(t, "team/img", "v1", nil)
	refer := func(n int, artifactType string) digest.Digest {
		b := s.image(t, "team/img", func(m *ocispec.Manifest) {
			m.Subject = &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: subject, Size: 1}
			m.ArtifactType, m.Annotations = artifactType, map[string]string{"n": fmt.Sprint(n)}
		})
		d := digest.FromBytes(b)
		header := s.expect(t, 201, "PUT", "/v2/team/img/manifests/"+d.String(), bytes.NewReader(b), "Content-Type", ocispec.MediaTypeImageManifest)
		if got := header.Get("Oci-Subject"); got != subject.String() {
			t.Errorf("the subject is said to be %q", got)
		}
		return d
	}
	var all, sboms []string
	for n := range 5 {
		all = append(all, refer(n, "x/sig").String())
	}
	for n := range 3 {
		sboms = append(sboms, refer(n, "x/sbom+json").String())
	}
	all = append(all, sboms...)
	slices.Sort(all)
	slices.Sort(sboms)
	for _, c := range []struct {
		fact, query string
		applied     string
		want        []string
	}{
		{"all", "", "", all},
		{"by page", "?n=3", "", all},
		{"of one type", "?artifactType=x%2Fsbom%2Bjson", "artifactType", sboms},
		{"of one type by page", "?artifactType=x%2Fsbom%2Bjson&n=1&ns=docker.io", "artifactType", sboms},
		{"of no type", "?artifactType=x/none", "artifactType", nil},
	} {
		var got []string
		path := "/v2/team/img/referrers/" + subject.String() + c.query
		for pages := 0; path != "" && pages < 10; pages++ {
			res, body := s.do(t, "GET", path)
			var index ocispec.Index
			if err := json.Unmarshal([]byte(body), &index); err != nil || res.StatusCode != 200 || index.Manifests == nil {
				t.Fatalf("%s: got %d %s", c.fact, res.StatusCode, body)
			}
			if h := res.Header; h.Get("Oci-Filters-Applied") != c.applied || h.Get("Content-Type") != ocispec.MediaTypeImageIndex || index.MediaType != ocispec.MediaTypeImageIndex {
				t.Errorf("%s: got %v", c.fact, h)
			}
			for _, d := range index.Manifests {
				got = append(got, d.Digest.String())
				if d.Annotations["n"] == "" || d.ArtifactType == "" {
					t.Errorf("%s: got %+v", c.fact, d)
				}
			}
			path = nextPage(res)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.fact, got, c.want)
		}
	}
	for _, path := range []string{"/v2/team/img/referrers/" + sha512, "/v2/team/nobody/referrers/" + sha256, "/v2/team/img/referrers/" + subject.String() + "?n=0"} {
		if res, body := s.do(t, "GET", path); res.StatusCode != 200 || !strings.Contains(body, `"manifests":[]`) || res.Header.Get("Link") != "" {
			t.Errorf("%s: got %d %s", path, res.StatusCode, body)
		}
	}
	if res, _ := s.do(t, "GET", "/v2/team/img/referrers/"+sha256+"?last=..%2F"); res.StatusCode != 400 {
		t.Errorf("last that is no digest: %d", res.StatusCode)
	}
}

// nextPage is where a Link header leads; empty without one.
func nextPage(res *http.Response) string {
	link, found := strings.CutSuffix(res.Header.Get("Link"), `>; rel="next"`)
	if !found {
		return ""
	}
	return strings.TrimPrefix(link, "<")
}

func TestDeletions(t *testing.T) {
	for name, store := range stores(t) {
		s := startOver(t, store, nil)
		d := s.pushImage(t, "team/img", "v1", nil)
		s.pushImage(t, "team/img", "v2", nil)
		blob := digest.FromString("layer").String()
		for _, c := range []struct {
			fact, method, path string
			status             int
		}{
			{"a tag", "DELETE", "/manifests/v1", 202},
			{"it is gone", "GET", "/manifests/v1", 404},
			{"the other is not", "GET", "/manifests/v2", 200},
			{"nor is the manifest", "GET", "/manifests/" + d.String(), 200},
			{"the tag again", "DELETE", "/manifests/v1", 404},
			{"a manifest", "DELETE", "/manifests/" + d.String(), 202},
			{"it is gone too", "HEAD", "/manifests/" + d.String(), 404},
			{"and its tag", "GET", "/manifests/v2", 404},
			{"the manifest again", "DELETE", "/manifests/" + d.String(), 404},
			{"one that never was", "DELETE", "/manifests/" + sha512, 404},
			{"its blob stays", "HEAD", "/blobs/" + blob, 200},
			{"a blob", "DELETE", "/blobs/" + blob, 202},
			{"which is gone at once", "GET", "/blobs/" + blob, 404},
			{"the blob again", "DELETE", "/blobs/" + blob, 404},
			{"the tags that are left", "GET", "/tags/list", 200},
		} {
			if res, body := s.do(t, c.method, "/v2/team/img"+c.path); res.StatusCode != c.status {
				t.Errorf("%s, %s: got %d %s", name, c.fact, res.StatusCode, body)
			}
		}
		if res, body := s.do(t, "DELETE", "/v2/team/nobody/manifests/x"); res.StatusCode != 404 {
			t.Errorf("%s, of an unknown repository: %d %s", name, res.StatusCode, body)
		}
	}
}

// Whatever the order, what is acknowledged last is what there is, and nothing is there in part.
func TestPushAndDeletionAtOnce(t *testing.T) {
	s := startPush(t, nil)
	b := s.image(t, "team/img", nil)
	d := digest.FromBytes(b).String()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() { // ends with its requests
			for range 10 {
				method, path, body := "PUT", "/v2/team/img/manifests/v1", io.Reader(bytes.NewReader(b))
				if i%2 == 1 {
					method, path, body = "DELETE", "/v2/team/img/manifests/"+d, nil
				}
				res, got, err := s.try(method, path, body, "Content-Type", ocispec.MediaTypeImageManifest)
				if err != nil || res.StatusCode != 201 && res.StatusCode != 202 && res.StatusCode != 404 {
					t.Errorf("%s: %v %s %v", method, res, got, err)
				}
			}
		})
	}
	all.Wait()
	byTag, _ := s.do(t, "GET", "/v2/team/img/manifests/v1")
	byDigest, _ := s.do(t, "GET", "/v2/team/img/manifests/"+d)
	if byTag.StatusCode == 200 && byDigest.StatusCode != 200 {
		t.Errorf("the tag is %d, and the manifest %d", byTag.StatusCode, byDigest.StatusCode)
	}
	s.expect(t, 201, "PUT", "/v2/team/img/manifests/v1", bytes.NewReader(b), "Content-Type", ocispec.MediaTypeImageManifest)
	s.expect(t, 200, "GET", "/v2/team/img/manifests/v1", nil)
}

func TestAnIndexOfWhatIsNotThere(t *testing.T) {
	s := startPush(t, nil)
	b := encoded(t, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: sha256, Size: 7}},
	})
	s.expect(t, 201, "PUT", "/v2/team/img/manifests/sparse", bytes.NewReader(b), "Content-Type", ocispec.MediaTypeImageIndex)
	if got := s.expect(t, 200, "GET", "/v2/team/img/manifests/sparse", nil).Get("Content-Type"); got != ocispec.MediaTypeImageIndex {
		t.Errorf("got %q", got)
	}
}
