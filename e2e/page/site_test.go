package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

// site is a server in front of two registries, and what was pulled and pushed there.
type site struct {
	*server.Server
	hub, gcr *fakehub.Hub
}

// newSite runs the server, empty.
func newSite(t *testing.T, settings map[string]string) site {
	t.Helper()
	s := site{hub: fakehub.New(t, fakehub.Options{RateLimit: 100}), gcr: fakehub.New(t, fakehub.Options{})}
	env := map[string]string{"HOSTED": "team", "PREFETCH": "false"}
	for name, value := range settings {
		env[name] = value
	}
	s.Server = server.Start(t, server.Options{Env: env, Upstreams: []server.Upstream{
		{Host: "docker.io", URL: s.hub.URL()}, {Host: "gcr.io", URL: s.gcr.URL()}}})
	return s
}

// fill stocks the registries, pulls of them, and pushes.
func (s site) fill(t *testing.T) {
	t.Helper()
	nginx := s.hub.Repo("library/nginx")
	images := []fakehub.Image{realistic(1, "amd64", ""), realistic(2, "arm64", "v8")}
	index := fakehub.NewIndex(false, images...)
	nginx.AddIndex(index, images, "1.29", "latest")
	nginx.AddImage(realistic(3, "amd64", ""), "1.28")
	nginx.AddReferrer(index.Digest, fakehub.NewArtifact(index.Descriptor, "application/vnd.dev.sigstore.bundle.v0.3+json", []byte("a signature")))
	nginx.AddReferrer(index.Digest, fakehub.NewArtifact(index.Descriptor, "application/spdx+json", []byte("a list of packages")))
	for i, name := range []string{"library/postgres", "library/redis", "grafana/grafana", "library/node"} {
		s.hub.Repo(name).AddImage(realistic(uint64(10+i), "amd64", ""), "17")
	}
	s.gcr.Repo("distroless/static").AddImage(realistic(20, "amd64", ""), "nonroot")

	crane := sandbox.New(t, tools.Crane())
	for _, ref := range []string{"library/nginx:1.29", "library/nginx:1.28", "library/postgres:17", "library/redis:17", "grafana/grafana:17", "library/node:17", "gcr.io/distroless/static:nonroot"} {
		crane.Run("crane", "pull", "--insecure", s.Addr+"/"+ref, crane.Dir+"/pulled.tar")
	}
	crane.Run("crane", "digest", "--insecure", s.Addr+"/library/nginx:latest")
	for _, ref := range []string{"team/app:v2.4.0", "team/app:v2.4.1", "team/app:doomed", "team/web:1", "my-image:latest"} {
		crane.Run("crane", "copy", "--insecure", s.Addr+"/library/nginx:1.28", s.Addr+"/"+ref)
	}
	crane.Run("crane", "copy", "--insecure", s.Addr+"/library/nginx:1.29", s.Addr+"/team/multi:1.29")
	s.get(t, "/v2/library/nginx/referrers/"+string(index.Digest))
	for range 12 { // what makes the figures of a cache
		for _, layer := range images[0].Layers {
			s.get(t, "/v2/library/nginx/blobs/"+string(layer.Digest))
		}
	}
}

// get reads an answer of the server to its end.
func (s site) get(t *testing.T, path string) {
	t.Helper()
	resp, err := http.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
	}
}

// realistic is an image that says of itself what images of distributions say. Its annotations are those of somebody who
// tries what a page makes of them.
func realistic(seed uint64, arch, variant string) fakehub.Image {
	created := time.Now().Add(-time.Duration(seed) * 31 * time.Hour)
	config := ocispec.Image{Created: &created, Platform: ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant},
		Config: ocispec.ImageConfig{Entrypoint: []string{"/docker-entrypoint.sh"}, Cmd: []string{"nginx", "-g", "daemon off;"}, WorkingDir: "/srv",
			User: "101", ExposedPorts: map[string]struct{}{"80/tcp": {}}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", fmt.Sprintf("SEED=%d", seed)}}}
	var img fakehub.Image
	for i, step := range []struct {
		size    int64
		command string
	}{
		{28 * mib / 8, "ADD rootfs.tar.xz / # buildkit"},
		{41 * mib / 8, "RUN /bin/sh -c set -eux; apt-get update; apt-get install -y --no-install-recommends ca-certificates curl gnupg2 lsb-release debian-archive-keyring; " +
			"curl -fsSL https://nginx.org/keys/nginx_signing.key | gpg --dearmor -o /usr/share/keyrings/nginx.gpg; apt-get install -y nginx; rm -rf /var/lib/apt/lists/* # buildkit"},
		{0, "ENV PATH=/usr/local/sbin"},
		{3 * kib, "COPY docker-entrypoint.sh / # buildkit"},
	} {
		config.History = append(config.History, ocispec.History{Created: &created, CreatedBy: step.command, EmptyLayer: step.size == 0})
		if step.size > 0 {
			img.Layers = append(img.Layers, fakehub.NewBlob(ocispec.MediaTypeImageLayerGzip, fakehub.Random(seed<<8+uint64(i), step.size)))
		}
	}
	config.RootFS.Type = "layers"
	for _, layer := range img.Layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.Digest)
	}
	img.Config = fakehub.NewBlob(ocispec.MediaTypeImageConfig, fakehub.Bytes(encode(config)))
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: img.Config.Descriptor,
		Annotations: map[string]string{
			ocispec.AnnotationSource: "https://git.corp/web/nginx", ocispec.AnnotationLicenses: "BSD-2-Clause", ocispec.AnnotationRevision: "9f2c41d07b1e5a33c1d2e0b4f66a7710d9c0f1ab",
			ocispec.AnnotationURL: "javascript:alert(1)", "evil": `"><script>alert(1)</script><img src=//elsewhere.example onerror=alert(1)>`,
		}}
	for _, layer := range img.Layers {
		m.Layers = append(m.Layers, layer.Descriptor)
	}
	img.Manifest = fakehub.NewManifest(m.MediaType, encode(m))
	img.Manifest.Platform = &config.Platform
	return img
}

func encode(v any) []byte {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		panic("encode a fixed value: " + err.Error())
	}
	return b.Bytes()
}
