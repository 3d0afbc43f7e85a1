package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestReadingWhatIsHosted(t *testing.T) {
	blob := []byte(strings.Repeat("0123456789", 200))
	d, d512 := digest.FromBytes(blob).String(), digest.SHA512.FromBytes(blob).String()
	for name, store := range stores(t) {
		s := startOver(t, store, nil)
		s.pushBlob(t, "team/img", "", blob)
		s.expect(t, 201, "POST", "/v2/team/img/blobs/uploads/?digest="+d512, bytes.NewReader(blob))
		// In parts, as chunks leave it.
		parts := s.begin(t, "team/parts")
		for i := range 4 {
			s.expect(t, 202, "PATCH", parts, bytes.NewReader(append(blob[i*500:(i+1)*500:(i+1)*500], "x"...)))
		}
		inParts := append(append(append(append(append(append(append([]byte{}, blob[:500]...), 'x'), blob[500:1000]...), 'x'), blob[1000:1500]...), 'x'), append(blob[1500:2000:2000], 'x')...)
		dParts := digest.FromBytes(inParts).String()
		s.expect(t, 201, "PUT", parts+"?digest="+dParts, nil)
		m := s.image(t, "team/img", nil)
		md, md512 := digest.FromBytes(m).String(), digest.SHA512.FromBytes(m).String()
		for _, ref := range []string{"v1", md512} {
			s.expect(t, 201, "PUT", "/v2/team/img/manifests/"+ref, bytes.NewReader(m), "Content-Type", ocispec.MediaTypeImageManifest)
		}
		for _, c := range []struct {
			fact, method, path string
			ask                []string
			status             int
			want               []string
			body               string
		}{
			{"manifest by tag", "GET", "img/manifests/v1", nil, 200, []string{"Content-Type", ocispec.MediaTypeImageManifest, "Docker-Content-Digest", md, "Etag", `"` + md + `"`, "Cache-Control", ""}, string(m)},
			{"manifest by digest", "GET", "img/manifests/" + md, nil, 200, []string{"Docker-Content-Digest", md, "Cache-Control", forClients}, string(m)},
			{"manifest by sha512", "GET", "img/manifests/" + md512, nil, 200, []string{"Docker-Content-Digest", md512}, string(m)},
			{"manifest head", "HEAD", "img/manifests/v1", nil, 200, []string{"Content-Length", fmt.Sprint(len(m)), "Docker-Content-Digest", md}, ""},
			{"unchanged manifest", "GET", "img/manifests/v1", []string{"If-None-Match", `"` + md + `"`}, 304, nil, ""},
			{"with a namespace", "GET", "img/manifests/v1?ns=docker.io", nil, 200, []string{"Oci-Namespace", "docker.io"}, string(m)},
			{"unknown tag", "GET", "img/manifests/v2", nil, 404, nil, ""},
			{"a manifest is no blob", "GET", "img/blobs/" + md, nil, 404, nil, ""},
			{"blob", "GET", "img/blobs/" + d, nil, 200, []string{"Content-Type", "application/octet-stream", "Content-Length", "2000", "Docker-Content-Digest", d, "Accept-Ranges", "bytes", "Cache-Control", forClients, "Etag", `"` + d + `"`}, string(blob)},
			{"blob by sha512", "GET", "img/blobs/" + d512, nil, 200, []string{"Docker-Content-Digest", d512}, string(blob)},
			{"blob head", "HEAD", "img/blobs/" + d, nil, 200, []string{"Content-Length", "2000", "Docker-Content-Digest", d, "Accept-Ranges", "bytes"}, ""},
			{"unchanged blob", "GET", "img/blobs/" + d, []string{"If-None-Match", `"` + d + `"`}, 304, nil, ""},
			{"unchanged blob's head", "HEAD", "img/blobs/" + d, []string{"If-None-Match", `"` + d + `"`}, 304, nil, ""},
			{"range", "GET", "img/blobs/" + d, []string{"Range", "bytes=500-1499"}, 206, []string{"Content-Range", "bytes 500-1499/2000"}, string(blob[500:1500])},
			{"from a byte on", "GET", "img/blobs/" + d, []string{"Range", "bytes=1990-"}, 206, nil, "0123456789"},
			{"the end", "GET", "img/blobs/" + d, []string{"Range", "bytes=-500"}, 206, []string{"Content-Range", "bytes 1500-1999/2000"}, string(blob[1500:])},
			{"one byte past the end", "GET", "img/blobs/" + d, []string{"Range", "bytes=1000-2000"}, 206, []string{"Content-Range", "bytes 1000-1999/2000"}, string(blob[1000:])},
			{"a range of other content", "GET", "img/blobs/" + d, []string{"Range", "bytes=0-1", "If-Range", `"x"`}, 200, nil, string(blob)},
			{"several ranges", "GET", "img/blobs/" + d, []string{"Range", "bytes=0-1,3-4"}, 200, nil, string(blob)},
			{"behind the end", "GET", "img/blobs/" + d, []string{"Range", "bytes=5000-10000"}, 416, []string{"Content-Range", "bytes */2000"}, ""},
			{"backwards", "GET", "img/blobs/" + d, []string{"Range", "bytes=500-0"}, 416, []string{"Content-Range", "bytes */2000"}, ""},
			{"unknown blob", "GET", "img/blobs/" + sha256, nil, 404, nil, ""},
			{"of another repository", "GET", "other/blobs/" + d, nil, 404, nil, ""},
			{"its head", "HEAD", "other/blobs/" + d, nil, 404, nil, ""},
			{"in parts", "GET", "parts/blobs/" + dParts, nil, 200, nil, string(inParts)},
			{"a range of two parts", "GET", "parts/blobs/" + dParts, []string{"Range", "bytes=499-503"}, 206, nil, string(inParts[499:504])},
			{"the end in parts", "GET", "parts/blobs/" + dParts, []string{"Range", "bytes=-600"}, 206, nil, string(inParts[len(inParts)-600:])},
		} {
			res, body := s.do(t, c.method, "/v2/team/"+c.path, c.ask...)
			if res.StatusCode != c.status || c.status < 400 && body != c.body {
				t.Errorf("%s, %s: got %d %.100q", name, c.fact, res.StatusCode, body)
			}
			for i := 0; i < len(c.want); i += 2 {
				if got := res.Header.Get(c.want[i]); got != c.want[i+1] {
					t.Errorf("%s, %s: %s: got %q, want %q", name, c.fact, c.want[i], got, c.want[i+1])
				}
			}
		}
		if got := s.cache.questions(); len(got) > 0 {
			t.Errorf("%s: the cache was asked %q", name, got)
		}
	}
}

// pages follows the links of a list.
func pages(t *testing.T, s *running, path, field string) (all []string, count int) {
	t.Helper()
	for ; path != "" && count < 100; count++ {
		res, body := s.do(t, "GET", path)
		var list map[string]json.RawMessage
		var names []string
		if err := json.Unmarshal([]byte(body), &list); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: got %d %s", path, res.StatusCode, body)
		}
		if err := json.Unmarshal(list[field], &names); err != nil || names == nil {
			t.Fatalf("%s: got %s", path, body)
		}
		all = append(all, names...)
		path = nextPage(res)
	}
	return all, count
}

func TestListsOfWhatIsHosted(t *testing.T) {
	tags := []string{"A", "Z", "_x", "a", "b", "v1", "v1.0", "v1.10", "v1.2", "v2"} // in byte order
	repos := []string{"my-image", "team/a", "team/a-b", "team/a.b", "team/a/b", "team/z"}
	for name, store := range stores(t) {
		s := startOver(t, store, nil)
		if res, body := s.do(t, "GET", "/v2/_catalog"); res.StatusCode != 200 || body != `{"repositories":[]}` {
			t.Errorf("%s: an empty catalog: %d %s", name, res.StatusCode, body)
		}
		for _, tag := range []string{"v2", "v1.10", "a", "Z", "v1.2", "_x", "A", "v1", "b", "v1.0"} {
			s.pushImage(t, "team/a", tag, nil)
		}
		for _, repo := range repos {
			s.pushImage(t, repo, "x", nil)
		}
		s.expect(t, 202, "DELETE", "/v2/team/a/manifests/x", nil)
		s.expect(t, 202, "DELETE", "/v2/team/z/manifests/x", nil)
		for _, c := range []struct {
			fact, path, field string
			want              []string
			pages             int
		}{
			{"tags", "/v2/team/a/tags/list", "tags", tags, 1},
			{"tags by page", "/v2/team/a/tags/list?n=3", "tags", tags, 4},
			{"tags by whole pages", "/v2/team/a/tags/list?n=5", "tags", tags, 2},
			{"exactly as many", "/v2/team/a/tags/list?n=10", "tags", tags, 1},
			{"one by one, with a namespace", "/v2/team/a/tags/list?n=1&ns=docker.io", "tags", tags, 10},
			{"tags after one", "/v2/team/a/tags/list?last=b", "tags", tags[5:], 1},
			{"tags after one that is not there", "/v2/team/a/tags/list?last=v1.1", "tags", tags[7:], 1},
			{"tags after all", "/v2/team/a/tags/list?last=zzz", "tags", nil, 1},
			{"no tags asked for", "/v2/team/a/tags/list?n=0", "tags", nil, 1},
			{"more than there can be", "/v2/team/a/tags/list?n=2147483647", "tags", tags, 1},
			{"no tags left", "/v2/team/z/tags/list", "tags", nil, 1},
			{"catalog", "/v2/_catalog", "repositories", repos, 1},
			{"catalog by page", "/v2/_catalog?n=2", "repositories", repos, 3},
			{"catalog one by one", "/v2/_catalog?n=1", "repositories", repos, 6},
			{"catalog after one", "/v2/_catalog?last=team%2Fa-b", "repositories", repos[3:], 1},
			{"no names asked for", "/v2/_catalog?n=0", "repositories", nil, 1},
			{"more names than there can be", "/v2/_catalog?n=2147483647", "repositories", repos, 1},
		} {
			if got, n := pages(t, s, c.path, c.field); !slices.Equal(got, c.want) || n != c.pages {
				t.Errorf("%s, %s: got %q on %d pages, want %q on %d", name, c.fact, got, n, c.want, c.pages)
			}
		}
		for path, want := range map[string]int{
			"/v2/team/none/tags/list": 404, "/v2/team/none/tags/list?n=0": 404, "/v2/team/a/tags/list?n=-1": 400, "/v2/team/a/tags/list?n=abc": 400,
			"/v2/team/a/tags/list?last=" + strings.Repeat("a", 600): 400, "/v2/team/a/tags/list?last=..%2F..%2F%00": 200, "/v2/_catalog?n=x": 400, "/v2/_catalog?last=%00..%2F": 200,
		} {
			if res, body := s.do(t, "GET", path); res.StatusCode != want {
				t.Errorf("%s, %.60s: got %d %s", name, path, res.StatusCode, body)
			}
		}
	}
}

func TestA404TellsHowToAskUpstream(t *testing.T) {
	s := startPush(t, nil)
	s.pushImage(t, "my-image", "v1", nil)
	s.expect(t, 200, "GET", "/v2/my-image/manifests/v1", nil)
	for path, code := range map[string]Code{
		"/v2/my-image/manifests/v2": CodeManifestUnknown, "/v2/nginx/manifests/latest": CodeManifestUnknown,
		"/v2/nginx/blobs/" + sha256: CodeBlobUnknown, "/v2/nginx/tags/list": CodeNameUnknown,
	} {
		_, body := s.do(t, "GET", path)
		if got, message := refusal(body); got != string(code) || !strings.Contains(message, "to ask docker.io, spell it library/") {
			t.Errorf("%s: got %s", path, body)
		}
	}
	if _, body := s.do(t, "GET", "/v2/team/img/manifests/x"); strings.Contains(body, "docker.io") {
		t.Errorf("a name that is hosted whatever happens: got %s", body)
	}
}

// A blob that is deleted while somebody pulls it still comes whole.
func TestABlobIsDeletedWhileItIsPulled(t *testing.T) {
	for name, store := range stores(t) {
		s := startOver(t, store, nil)
		blob := randomBytes(t, 64<<20) // more than any socket's buffers hold
		path := "/v2/team/img/blobs/" + s.pushBlob(t, "team/img", "", blob).Digest.String()
		res, err := http.Get("http://" + s.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		s.expect(t, 202, "DELETE", path, nil)
		s.expect(t, 404, "GET", path, nil)
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%s: %d bytes came, %v", name, len(got), err)
		}
	}
}

func TestAnswersAboutWhatIsHosted(t *testing.T) {
	s := startPush(t, nil)
	d := digest.FromString("12345").String()
	for _, c := range []struct {
		method, path, body string
		want               Answer
	}{
		{"POST", "/v2/team/img/blobs/uploads/?digest=" + d, "12345", Answer{Kind: KindUpload, Hosted: true, Status: 201, Received: 5}},
		{"GET", "/v2/team/img/blobs/" + d, "", Answer{Kind: KindBlob, Hosted: true, Status: 200, Tier: cache.TierDisk, Bytes: 5}},
		{"DELETE", "/v2/team/img/blobs/" + d, "", Answer{Kind: KindBlob, Hosted: true, Status: 202}},
		{"GET", "/v2/_catalog", "", Answer{Kind: KindCatalog, Hosted: true, Status: 200, Bytes: 19}},
	} {
		s.send(t, c.method, c.path, strings.NewReader(c.body))
		got := <-s.answered
		if got.Duration, got.FirstByte = 0, 0; got != c.want {
			t.Errorf("%s %s: got %+v, want %+v", c.method, c.path, got, c.want)
		}
	}
}

// Clients skip what a HEAD has found, and push the manifest that names it much later.
func TestAHeadBySomebodyWhoMayPushKeepsTheBlob(t *testing.T) {
	var now atomic.Int64
	var writes atomic.Int64
	store := storagetest.Around(mem.New(time.Now), func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if op == storagetest.PutIf {
			writes.Add(1)
		}
		return do()
	})
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	pushed, err := hosted.New(hosted.Options{Store: store, Grace: time.Hour, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	s := startPush(t, func(o *Options) { o.Hosted = pushed })
	path := "/v2/team/img/blobs/" + s.pushBlob(t, "team/img", "", []byte("layer")).Digest.String()
	now.Add(3000) // more than half of the grace
	for _, c := range []struct {
		fact    string
		headers []string
		renews  bool
	}{
		{"from afar", []string{"X-Forwarded-For", "8.8.8.8"}, false},
		{"from near", nil, true},
		{"from near again", nil, false},
	} {
		before := writes.Load()
		if res, _ := s.do(t, "HEAD", path, c.headers...); res.StatusCode != 200 || res.ContentLength != 5 {
			t.Errorf("%s: got %d, %d bytes", c.fact, res.StatusCode, res.ContentLength)
		}
		if renewed := writes.Load() > before; renewed != c.renews {
			t.Errorf("%s: renewed: %v", c.fact, renewed)
		}
	}
}

// A store that takes nothing more still serves pulls.
func TestAFullStoreServesPulls(t *testing.T) {
	var full atomic.Bool
	var now atomic.Int64
	store := storagetest.Around(mem.New(time.Now), func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if full.Load() && (op == storagetest.Put || op == storagetest.PutIf) {
			return storage.ErrNoSpace
		}
		return do()
	})
	pushed, err := hosted.New(hosted.Options{Store: store, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	s := startPush(t, func(o *Options) { o.Hosted = pushed })
	s.pushImage(t, "team/img", "v1", nil)
	full.Store(true)
	now.Add(1e6) // claims are old
	blob := "/v2/team/img/blobs/" + digest.FromString("layer").String()
	for _, request := range []string{"GET /v2/team/img/manifests/v1", "HEAD " + blob, "GET " + blob, "GET /v2/team/img/tags/list"} {
		method, path, _ := strings.Cut(request, " ")
		s.expect(t, 200, method, path, nil)
	}
	res, body := s.send(t, "POST", "/v2/team/img/blobs/uploads/?digest="+digest.FromString("more").String(), strings.NewReader("more"))
	if code, _ := refusal(body); res.StatusCode != 507 || code != "UNAVAILABLE" {
		t.Errorf("a push: got %d %s", res.StatusCode, body)
	}
}
