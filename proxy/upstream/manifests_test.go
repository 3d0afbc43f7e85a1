package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

func TestFetchManifest(t *testing.T) {
	sha512 := digest.SHA512.FromString(manifestBody)
	other := digest.FromString("something else")
	says := func(d digest.Digest, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			if d != "" {
				w.Header().Set("Docker-Content-Digest", d.String())
			}
			fmt.Fprint(w, body)
		}
	}
	for name, c := range map[string]struct {
		ref    string
		answer http.HandlerFunc
		want   digest.Digest
		err    error
		cause  cache.Cause
	}{
		"a tag":                               {"v1", serveManifest, manifestDigest, nil, ""},
		"a tag without a digest header":       {"v1", says("", manifestBody), manifestDigest, nil, ""},
		"a tag with a broken digest header":   {"v1", says("sha256:../../x", manifestBody), manifestDigest, nil, ""},
		"a tag with a sha512 header":          {"v1", says(sha512, manifestBody), sha512, nil, ""},
		"a digest":                            {manifestDigest.String(), serveManifest, manifestDigest, nil, ""},
		"a sha512 digest, sha256 in answer":   {sha512.String(), serveManifest, sha512, nil, ""},
		"a tag, bytes unlike the header":      {"v1", says(other, manifestBody), "", cache.ErrCorrupt, ""},
		"a digest, other bytes":               {other.String(), says("", manifestBody), "", cache.ErrCorrupt, ""},
		"a digest, another one in the header": {manifestDigest.String(), says(other, manifestBody), "", cache.ErrCorrupt, ""},
		"an error page with status 200":       {"v1", text("<html>login</html>"), "", nil, cache.CauseFailed},
		"too large":                           {"v1", text(strings.Repeat(" ", MaxManifest+1)), "", nil, cache.CauseFailed},
		"absent":                              {"v1", status(404), "", cache.ErrNotFound, ""},
		"forbidden":                           {"v1", status(403), "", cache.ErrDenied, ""},
		"401 without a challenge":             {"v1", status(401), "", cache.ErrDenied, ""},
		"400":                                 {"v1", status(400), "", nil, cache.CauseFailed},
		"501 is not asked again":              {"v1", status(501), "", nil, cache.CauseFailed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.mux.HandleFunc("/v2/a/b/manifests/", c.answer)
			m, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(context.Background(), c.ref)
			if c.err == nil && c.cause == "" {
				if err != nil || m.Digest != c.want || string(m.Bytes) != manifestBody || m.MediaType != "application/vnd.oci.image.manifest.v1+json" {
					t.Fatalf("got %s %s %v", m.Digest, m.MediaType, err)
				}
			} else if !errors.Is(err, c.err) && c.err != nil || causeOf(err) != c.cause {
				t.Fatalf("got %v, want %v %s", err, c.err, c.cause)
			}
			if n := f.count("/v2/"); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			if got := f.requests("/")[0].Header.Get("Accept"); got != manifestTypes {
				t.Errorf("Accept %q", got)
			}
		})
	}
}

func TestResolveManifest(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   cache.Descriptor
	}{
		"HEAD with a digest":    {serveManifest, cache.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: manifestDigest, Size: int64(len(manifestBody))}},
		"HEAD is not allowed":   {status(405), cache.Descriptor{}},
		"HEAD without a digest": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "x/y") }, cache.Descriptor{MediaType: "x/y", Size: -1}},
	} {
		f := newFake(t)
		f.mux.HandleFunc("HEAD /v2/a/b/manifests/v1", c.answer)
		got, err := newRegistry(t, f, nil).Repository("a/b").ResolveManifest(context.Background(), "v1")
		if err != nil || got.MediaType != c.want.MediaType || got.Digest != c.want.Digest || got.Size != c.want.Size {
			t.Errorf("%s: got %+v %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestManifestBodyThatBreaksIsAskedAgain(t *testing.T) {
	f := newFake(t)
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, manifestBody[:10])
	}
	f.mux.HandleFunc("/v2/a/b/manifests/v1", scripted(cut, cut, serveManifest))
	m, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(context.Background(), "v1")
	if err != nil || m.Digest != manifestDigest || f.count("/v2/") != 3 {
		t.Fatalf("%v after %d requests", err, f.count("/v2/"))
	}
}

// registry.k8s.io redirects manifests to another host, which wants an anonymous token of its own.
func TestManifestRedirectedToAHostWithItsOwnTokens(t *testing.T) {
	other, f := newFake(t), newFake(t)
	other.mux.HandleFunc("/token", text(`{"token":"there"}`))
	other.mux.HandleFunc("/v2/x/b/manifests/v1", guarded(other.URL+"/token", "there", serveManifest))
	f.mux.HandleFunc("/token", text(`{"token":"here"}`))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", guarded(f.URL+"/token", "here", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, other.URL+"/v2/x/b/manifests/v1", http.StatusTemporaryRedirect)
	}))
	r := newRegistry(t, f, password)
	m, err := r.Repository("a/b").FetchManifest(context.Background(), "v1")
	if err != nil || m.Digest != manifestDigest {
		t.Fatal(err)
	}
	for _, req := range other.requests("/") {
		if a := req.Header.Get("Authorization"); a != "" && a != "Bearer there" {
			t.Errorf("%s carried %q", req.URL, a)
		}
	}
	if user, _, _ := f.requests("/token")[0].BasicAuth(); user != "bob" {
		t.Error("our own token server did not get the credential")
	}
}

func TestRedirectsEnd(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, "/loop", http.StatusFound) })
	_, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(context.Background(), "v1")
	if causeOf(err) != cache.CauseFailed || f.count("/") != maxRedirects+1 {
		t.Fatalf("%v after %d requests", err, f.count("/"))
	}
}

func TestMediaType(t *testing.T) {
	const docker = "application/vnd.docker.distribution.manifest.v2+json"
	for name, c := range map[string]struct{ said, body, want string }{
		"the registry's word":       {docker, manifestBody, docker},
		"without parameters":        {docker + "; charset=utf-8", manifestBody, docker},
		"nothing said":              {"", manifestBody, "application/vnd.oci.image.manifest.v1+json"},
		"nothing said of manifests": {"application/json; charset=utf-8", manifestBody, "application/vnd.oci.image.manifest.v1+json"},
		"nothing known":             {"text/plain", "{}", "text/plain"},
		"nonsense":                  {"; x", "{}", ""},
	} {
		if got := mediaType(http.Header{"Content-Type": {c.said}}, []byte(c.body)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
