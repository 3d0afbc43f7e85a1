package fakehub

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestPull(t *testing.T) {
	modes := map[string]Options{
		"Hub's way":        {},
		"over TLS":         {TLS: true},
		"without tokens":   {NoAuth: true},
		"without redirect": {NoRedirect: true},
	}
	for name, o := range modes {
		t.Run(name, func(t *testing.T) {
			h := New(t, o)
			img := NewImage(Spec{Layers: []int64{100_000, 1}, Docker: true})
			h.Repo("library/app").AddImage(img, "1")
			c := newClient(t, h)
			resp, b := c.fetch(t, "GET", h.URL()+"/v2/library/app/manifests/1", "")
			if resp.StatusCode != 200 || !bytes.Equal(b, img.Manifest.Bytes) || resp.Header.Get("Content-Type") != DockerManifest ||
				resp.Header.Get("Docker-Content-Digest") != img.Manifest.Digest.String() {
				t.Errorf("manifest: %d %v, %d bytes", resp.StatusCode, resp.Header, len(b))
			}
			for _, blob := range img.Blobs() {
				_, b := c.fetch(t, "GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), "")
				if digest.FromBytes(b) != blob.Digest {
					t.Errorf("a blob of %d bytes came as %d others", blob.Size, len(b))
				}
			}
			if got := h.BlobBytes(img.Blobs()...); got != img.Size() {
				t.Errorf("counted %d bytes of blobs, want %d", got, img.Size())
			}
			if wantToken := !o.NoAuth; (h.Count(KindToken) > 0) != wantToken {
				t.Errorf("%d token requests", h.Count(KindToken))
			}
			if wantCDN := !o.NoRedirect; (h.Count(KindCDN) > 0) != wantCDN {
				t.Errorf("%d CDN requests", h.Count(KindCDN))
			}
		})
	}
}

func TestTLSSpeaksHTTP2(t *testing.T) {
	h := New(t, Options{TLS: true, NoAuth: true})
	resp, _ := newClient(t, h).fetch(t, "GET", h.URL()+"/v2/", "")
	if resp.ProtoMajor != 2 {
		t.Errorf("answered over %s, want HTTP/2", resp.Proto)
	}
}

func TestPrivateRepository(t *testing.T) {
	h := New(t, Options{})
	h.AddUser("ann", "secret")
	h.AddUser("bob", "other")
	h.Repo("team/app").AddImage(NewImage(Spec{}), "1")
	h.Repo("team/app").Private("ann")
	for _, c := range []struct {
		user, password string
		want           int
	}{{"ann", "secret", 200}, {"bob", "other", 401}, {"ann", "wrong", 401}, {"", "", 401}} {
		pulling := newClient(t, h)
		pulling.user, pulling.password = c.user, c.password
		if resp, _ := pulling.fetch(t, "HEAD", h.URL()+"/v2/team/app/manifests/1", ""); resp.StatusCode != c.want {
			t.Errorf("%q with %q: %d, want %d", c.user, c.password, resp.StatusCode, c.want)
		}
	}
}

func TestTokensEnd(t *testing.T) {
	h := New(t, Options{})
	h.Repo("library/app").AddImage(NewImage(Spec{}), "1")
	c := newClient(t, h)
	address := h.URL() + "/v2/library/app/manifests/1"
	c.fetch(t, "HEAD", address, "")
	h.RevokeTokens()
	if resp, _, _ := c.do("HEAD", address, ""); resp.StatusCode != 401 {
		t.Errorf("a revoked token: %d", resp.StatusCode)
	}
	h.Set(func(o *Options) { o.TokenLife = time.Nanosecond })
	c.token = ""
	if resp, _ := c.fetch(t, "HEAD", address, ""); resp.StatusCode != 401 {
		t.Errorf("an expired token: %d", resp.StatusCode)
	}
	if resp, _, _ := c.do("HEAD", h.URL()+"/v2/library/other/manifests/1", ""); resp.StatusCode != 401 {
		t.Errorf("a token of another repository: %d", resp.StatusCode)
	}
}

func TestCDNIsStrict(t *testing.T) {
	h := New(t, Options{NoAuth: true})
	blob := RandomBlob(1, 100)
	h.Repo("library/app").AddBlob(blob)
	c := newClient(t, h)
	resp, _, err := c.do("GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	signed := resp.Header.Get("Location")
	c.token = "leaked"
	if resp, _, _ := c.do("GET", signed, ""); resp.StatusCode != 400 {
		t.Errorf("with Authorization: %d, want 400", resp.StatusCode)
	}
	c.token = ""
	if resp, _, _ := c.do("GET", strings.Replace(signed, "expires=1", "expires=2", 1), ""); resp.StatusCode != 403 {
		t.Errorf("with a changed expiry: %d, want 403", resp.StatusCode)
	}
	h.Set(func(o *Options) { o.URLLife = -time.Second })
	if resp, _ := c.fetch(t, "GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), ""); resp.StatusCode != 403 {
		t.Errorf("after its time: %d, want 403", resp.StatusCode)
	}
}

func TestRanges(t *testing.T) {
	h := New(t, Options{NoAuth: true})
	blob := RandomBlob(1, 1000)
	want := read(blob.Content)
	h.Repo("library/app").AddBlob(blob)
	c := newClient(t, h)
	for _, q := range []struct {
		span          string
		status        int
		contentRange  string
		first, beyond int
	}{
		{"bytes=0-9", 206, "bytes 0-9/1000", 0, 10},
		{"bytes=990-", 206, "bytes 990-999/1000", 990, 1000},
		{"bytes=-5", 206, "bytes 995-999/1000", 995, 1000},
		{"bytes=-5000", 206, "bytes 0-999/1000", 0, 1000},
		{"bytes=900-5000", 206, "bytes 900-999/1000", 900, 1000},
		{"bytes=1000-", 416, "bytes */1000", 0, 0},
		{"bytes=5-4", 200, "", 0, 1000},
		{"bytes=0-1,5-6", 200, "", 0, 1000},
		{"pages=1-2", 200, "", 0, 1000},
	} {
		resp, b := c.fetch(t, "GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), q.span)
		if resp.StatusCode != q.status || resp.Header.Get("Content-Range") != q.contentRange {
			t.Errorf("%s: %d %q, want %d %q", q.span, resp.StatusCode, resp.Header.Get("Content-Range"), q.status, q.contentRange)
		}
		if q.status != 416 && !bytes.Equal(b, want[q.first:q.beyond]) {
			t.Errorf("%s: wrong bytes", q.span)
		}
	}
	h.Set(func(o *Options) { o.NoRanges = true })
	if resp, b := c.fetch(t, "GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), "bytes=0-9"); resp.StatusCode != 200 || len(b) != 1000 {
		t.Errorf("without ranges: %d, %d bytes", resp.StatusCode, len(b))
	}
}

func TestRateLimit(t *testing.T) {
	h := New(t, Options{NoAuth: true, RateLimit: 2})
	h.Repo("library/app").AddImage(NewImage(Spec{}), "1")
	c := newClient(t, h)
	for i, step := range []struct {
		method    string
		status    int
		remaining string
	}{
		{"HEAD", 200, "2;w=21600"}, {"GET", 200, "1;w=21600"}, {"HEAD", 200, "1;w=21600"}, {"GET", 200, "0;w=21600"},
		{"GET", 429, "0;w=21600"}, {"HEAD", 200, "0;w=21600"},
	} {
		resp, b := c.fetch(t, step.method, h.URL()+"/v2/library/app/manifests/1", "")
		if resp.StatusCode != step.status || resp.Header.Get("Ratelimit-Remaining") != step.remaining {
			t.Errorf("step %d: %d, remaining %q; want %+v", i, resp.StatusCode, resp.Header.Get("Ratelimit-Remaining"), step)
		}
		if step.status == 429 && !bytes.Contains(b, []byte("TOOMANYREQUESTS")) {
			t.Errorf("429 without its code: %s", b)
		}
	}
	h.Set(func(o *Options) { o.LimitHEAD = true })
	if resp, _ := c.fetch(t, "HEAD", h.URL()+"/v2/library/app/manifests/1", ""); resp.StatusCode != 429 {
		t.Errorf("HEAD at the limit: %d, want 429", resp.StatusCode)
	}
	h.SetRemaining(1)
	if resp, _ := c.fetch(t, "GET", h.URL()+"/v2/library/app/manifests/1", ""); resp.StatusCode != 200 {
		t.Errorf("with one left: %d", resp.StatusCode)
	}
}

func TestListsAndReferrers(t *testing.T) {
	h := New(t, Options{NoAuth: true})
	repo := h.Repo("library/app")
	img := NewImage(Spec{})
	repo.AddImage(img, "b", "a", "c")
	repo.AddReferrer(img.Manifest.Digest, NewArtifact(img.Manifest.Descriptor, "application/signature", []byte("signed")))
	c := newClient(t, h)
	resp, b := c.fetch(t, "GET", h.URL()+"/v2/library/app/tags/list?n=2", "")
	if !strings.Contains(string(b), `["a","b"]`) || resp.Header.Get("Link") != `</v2/library/app/tags/list?last=b&n=2>; rel="next"` {
		t.Errorf("first page: %s %q", b, resp.Header.Get("Link"))
	}
	resp, b = c.fetch(t, "GET", h.URL()+"/v2/library/app/tags/list?n=2&last=b", "")
	if !strings.Contains(string(b), `["c"]`) || resp.Header.Get("Link") != "" {
		t.Errorf("last page: %s %q", b, resp.Header.Get("Link"))
	}
	referrers := func(path string) (int, int) {
		var index ocispec.Index
		resp, b := c.fetch(t, "GET", h.URL()+"/v2/library/app/"+path, "")
		json.Unmarshal(b, &index)
		return resp.StatusCode, len(index.Manifests)
	}
	subject := img.Manifest.Digest.String()
	fallback := "manifests/" + strings.Replace(subject, ":", "-", 1)
	check := func(path string, status, n int) {
		t.Helper()
		if gotStatus, got := referrers(path); gotStatus != status || got != n {
			t.Errorf("%s: %d with %d, want %d with %d", path, gotStatus, got, status, n)
		}
	}
	check("referrers/"+subject, 200, 1)
	check("referrers/"+subject+"?artifactType=application/signature", 200, 1)
	check("referrers/"+subject+"?artifactType=other", 200, 0)
	check(fallback, 404, 0)
	h.Set(func(o *Options) { o.NoReferrers = true })
	check("referrers/"+subject, 404, 0)
	check(fallback, 200, 1)
}

func TestTagsMoveAndGo(t *testing.T) {
	h := New(t, Options{NoAuth: true})
	repo := h.Repo("library/app")
	one, two := NewImage(Spec{Seed: 1}), NewImage(Spec{Seed: 2, Env: []string{"TWO=2"}})
	repo.AddImage(one, "latest")
	repo.AddImage(two, "latest")
	c := newClient(t, h)
	resp, _ := c.fetch(t, "HEAD", h.URL()+"/v2/library/app/manifests/latest", "")
	if got := resp.Header.Get("Docker-Content-Digest"); got != two.Manifest.Digest.String() || got == one.Manifest.Digest.String() {
		t.Errorf("the moved tag is %s", got)
	}
	repo.Delete(two.Manifest.Digest.String())
	if resp, _ := c.fetch(t, "HEAD", h.URL()+"/v2/library/app/manifests/latest", ""); resp.StatusCode != 404 {
		t.Errorf("a tag of a deleted manifest: %d", resp.StatusCode)
	}
}

func TestDownAndUp(t *testing.T) {
	h := New(t, Options{NoAuth: true})
	c := newClient(t, h)
	address := h.URL() + "/v2/"
	for range 2 {
		if _, _, err := c.do("GET", address, ""); err != nil {
			t.Fatal(err)
		}
		h.Down()
		if _, _, err := c.do("GET", address, ""); err == nil {
			t.Error("answered while down")
		}
		if err := h.Up(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBandwidthAndLatency(t *testing.T) {
	h := New(t, Options{NoAuth: true, NoRedirect: true, Bandwidth: 1 << 20, Latency: 50 * time.Millisecond})
	blob := RandomBlob(1, 256<<10)
	h.Repo("library/app").AddBlob(blob)
	began := time.Now()
	_, b := newClient(t, h).fetch(t, "GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), "")
	if took := time.Since(began); took < 250*time.Millisecond || int64(len(b)) != blob.Size {
		t.Errorf("%d bytes took %v; at 1 MiB/s and after 50 ms they take 300 ms", len(b), took)
	}
}

func TestManifestsOnlyForThoseWhoAskForThem(t *testing.T) {
	h := New(t, Options{NoAuth: true})
	h.Repo("library/app").AddImage(NewImage(Spec{}), "oci")
	h.Repo("library/app").AddImage(NewImage(Spec{Docker: true}), "docker")
	for tag, want := range map[string]int{"oci": 404, "docker": 200} {
		resp, err := http.Get(h.URL() + "/v2/library/app/manifests/" + tag)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s without Accept: %d, want %d", tag, resp.StatusCode, want)
		}
	}
}
