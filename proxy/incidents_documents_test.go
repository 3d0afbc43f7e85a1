package proxy

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// twofold are bodies that one client reads as an image and another one as an index.
func twofold(config string) map[string]string {
	image := `"config":` + config + `,"layers":[]`
	return map[string]string{
		"layers and manifests":       `{"schemaVersion":2,` + image + `,"manifests":[]}`,
		"of an image, with manifest": `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `",` + image + `,"manifests":[]}`,
		"of an index, with layers":   `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[],` + image + `}`,
		"of two types":               `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`,
		"with keys in other case":    `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `",` + image + `,"Manifests":[]}`,
		"with a key twice":           `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `",` + image + `,"layers":[]}`,
	}
}

// GHSA-qq97-vm5h-rrhg, CVE-2021-41190, GO-2022-0360: one body was a manifest to one reader and an index to the next.
func TestGHSA_qq97_vm5h_rrhg_CVE_2021_41190_GO_2022_0360_WhatIsTwoThingsIsNotTaken(t *testing.T) {
	s := startPush(t, nil)
	config := s.pushBlob(t, "team/img", ocispec.MediaTypeImageConfig, []byte("{}"))
	bodies := twofold(string(encoded(t, config)))
	bodies["another type than it is declared as"] = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`
	for fact, body := range bodies {
		for _, ref := range []string{"v1", digest.FromString(body).String(), digest.FromString(body).String() + "?tag=v1"} {
			res, got := s.send(t, "PUT", "/v2/team/img/manifests/"+ref, strings.NewReader(body), "Content-Type", ocispec.MediaTypeImageManifest)
			if code, _ := refusal(got); res.StatusCode != 400 || code != "MANIFEST_INVALID" {
				t.Errorf("%s, %s: %d %s", fact, ref, res.StatusCode, got)
			}
		}
		s.expect(t, 404, "GET", "/v2/team/img/manifests/v1", nil)
	}
}

// GHSA-qq97-vm5h-rrhg, of what is pulled through: nobody's bytes are changed here, and their type is what the upstream says.
func TestGHSA_qq97_vm5h_rrhg_CVE_2021_41190_WhatIsPulledThroughStaysAsItIs(t *testing.T) {
	for fact, body := range twofold(`{"mediaType":"x/y","digest":"` + sha256 + `","size":1}`) {
		for _, mediaType := range []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest} {
			o, up := withCache(t)
			up.manifest = cache.Manifest{MediaType: mediaType, Digest: digest.FromString(body), Bytes: []byte(body)}
			o.Registries["docker.io"] = Registry{Repository: func(name string) Repository {
				o := up
				o.repo = cache.Repo{Registry: "docker.io", Name: name}
				return o
			}}
			s := start(t, filled(), func(into *Options) { into.Registries, into.Manifests, into.Blobs = o.Registries, o.Manifests, o.Blobs })
			for range 2 { // from upstream, then from memory
				for _, ref := range []string{"v1", up.manifest.Digest.String()} {
					for _, method := range []string{"GET", "HEAD"} {
						res, got := s.do(t, method, "/v2/library/app/manifests/"+ref, "Accept", ocispec.MediaTypeImageLayer)
						if method == "HEAD" {
							body, got = "", ""
						}
						if res.StatusCode != 200 || got != body && method == "GET" || res.Header.Get("Content-Type") != mediaType || res.Header.Get("Docker-Content-Digest") != up.manifest.Digest.String() {
							t.Errorf("%s, %s %s: %d %s %q", fact, method, ref, res.StatusCode, res.Header.Get("Content-Type"), got)
						}
						body = string(up.manifest.Bytes)
					}
				}
			}
		}
	}
}

// Cache poisoning: whatever an upstream sends for a blob, no client takes it for the blob.
func TestCachePoisoning_AnAnswerWithOtherBytesIsCut(t *testing.T) {
	o, up := withCache(t)
	wrong := digest.FromString("another blob")
	o.Registries["docker.io"] = Registry{Repository: func(name string) Repository {
		return lying{up, cache.Repo{Registry: "docker.io", Name: name}}
	}}
	s := start(t, filled(), func(into *Options) { into.Registries, into.Manifests, into.Blobs = o.Registries, o.Manifests, o.Blobs })
	for range 2 {
		got := s.ask(t, "GET /v2/library/app/blobs/"+wrong.String()+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		if strings.HasPrefix(got, "HTTP/1.1 200 ") && len(body) >= len(up.blob) {
			t.Errorf("%d bytes came, as many as were announced", len(body))
		}
	}
	res, _ := s.do(t, "GET", "/v2/library/app/blobs/"+wrong.String(), "Range", fmt.Sprintf("bytes=0-%d", len(up.blob)-1))
	if res.StatusCode < 500 {
		t.Errorf("all of it by a range, at once: %d", res.StatusCode)
	}
}

// lying is an upstream that sends the same bytes for every blob.
type lying struct {
	origin
	repo cache.Repo
}

func (l lying) Repo() cache.Repo { return l.repo }

func (l lying) StatBlob(context.Context, digest.Digest) (int64, error) {
	return int64(len(l.blob)), nil
}

func (l lying) FetchBlob(_ context.Context, _ digest.Digest, off, n int64) (cache.Part, error) {
	size := int64(len(l.blob))
	end := size
	if n >= 0 {
		end = min(off+n, size)
	}
	return cache.Part{Body: io.NopCloser(strings.NewReader(string(l.blob[off:end]))), Off: off, Len: end - off, Size: size, Ranged: n >= 0}, nil
}
