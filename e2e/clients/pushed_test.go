package clients

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
)

const manifestTypes = ocispec.MediaTypeImageIndex + ", " + ocispec.MediaTypeImageManifest + ", " + fakehub.DockerList + ", " + fakehub.DockerManifest

// pushed is a manifest as the server keeps it.
type pushed struct {
	ocispec.Manifest
	digest digest.Digest
}

// blobs are the config and the layers.
func (p pushed) blobs() []ocispec.Descriptor {
	return append([]ocispec.Descriptor{p.Config}, p.Layers...)
}

// manifest reads a manifest or an index from the server.
func (h hosting) manifest(t *testing.T, repo, ref string) pushed {
	t.Helper()
	var p pushed
	header := h.get(t, "/v2/"+repo+"/manifests/"+ref, http.StatusOK, &p.Manifest)
	p.digest = digest.Digest(header.Get("Docker-Content-Digest"))
	if got := header.Get("Content-Type"); p.MediaType != "" && got != p.MediaType {
		t.Errorf("%s:%s has Content-Type %q, want %q", repo, ref, got, p.MediaType)
	}
	return p
}

// wantImage checks every byte of an image that a client pushed, by the digests that its configuration has of the unpacked
// layers: clients may compress anew, and a change of format changes the configuration.
func (h hosting) wantImage(t *testing.T, repo, ref string, img image) pushed {
	t.Helper()
	p := h.manifest(t, repo, ref)
	var got, want ocispec.Image
	h.get(t, "/v2/"+repo+"/blobs/"+p.Config.Digest.String(), http.StatusOK, &got)
	if err := json.NewDecoder(io.NewSectionReader(img.Config.Content, 0, img.Config.Size)).Decode(&want); err != nil {
		t.Fatal(err)
	}
	diffs := want.RootFS.DiffIDs
	if len(p.Layers) != len(diffs) || len(got.RootFS.DiffIDs) != len(diffs) {
		t.Fatalf("%s:%s has %d layers and %d in its configuration, want %d", repo, ref, len(p.Layers), len(got.RootFS.DiffIDs), len(diffs))
	}
	for i, layer := range p.Layers {
		if unpacked := h.unpacked(t, repo, layer); unpacked != diffs[i] || got.RootFS.DiffIDs[i] != diffs[i] {
			t.Errorf("layer %d of %s:%s unpacks to %s, by its configuration to %s; want %s", i, repo, ref, unpacked, got.RootFS.DiffIDs[i], diffs[i])
		}
	}
	return p
}

// wantSame is wantImage where the client must have kept the manifest and all blobs as they were.
func (h hosting) wantSame(t *testing.T, repo, ref string, img image) pushed {
	t.Helper()
	p := h.wantImage(t, repo, ref, img)
	if p.digest != img.Manifest.Digest || p.Config.Digest != img.Config.Digest {
		t.Errorf("%s:%s is %s with configuration %s, want %s with %s", repo, ref, p.digest, p.Config.Digest, img.Manifest.Digest, img.Config.Digest)
	}
	return p
}

func wantDigest(t *testing.T, got pushed, want digest.Digest) {
	t.Helper()
	if got.digest != want {
		t.Errorf("the server has manifest %s, want %s", got.digest, want)
	}
}

func wantType(t *testing.T, got pushed, want string) {
	t.Helper()
	if got.MediaType != want {
		t.Errorf("the manifest is a %s, want %s", got.MediaType, want)
	}
}

// wantPulled checks that a client had the image's blobs from the server since the last reset.
func (h hosting) wantPulled(t *testing.T, p pushed) {
	t.Helper()
	var size int64
	for _, b := range p.blobs() {
		size += b.Size
	}
	if moved := h.moved.Load(); moved < size {
		t.Errorf("the client took %d bytes from the server; the image's blobs are %d", moved, size)
	}
}

// get asks the server past the recorder. A 200's body is checked against its digest, where it has one, and decoded into v.
func (h hosting) get(t *testing.T, path string, status int, v any) http.Header {
	t.Helper()
	resp := h.ask(t, path, status)
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	if v == nil {
		return resp.Header
	}
	if want := digest.Digest(resp.Header.Get("Docker-Content-Digest")); want != "" && want != digest.FromBytes(body) {
		t.Errorf("GET %s: the body is not %s", path, want)
	}
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return resp.Header
}

// unpacked is the digest of a layer's tar. The layer's own digest and size are checked on the way.
func (h hosting) unpacked(t *testing.T, repo string, layer ocispec.Descriptor) digest.Digest {
	t.Helper()
	resp := h.ask(t, "/v2/"+repo+"/blobs/"+layer.Digest.String(), http.StatusOK)
	defer resp.Body.Close()
	packed := layer.Digest.Verifier()
	body := io.TeeReader(resp.Body, packed)
	unpack := body
	if strings.HasSuffix(layer.MediaType, "gzip") {
		gz, err := gzip.NewReader(body)
		if err != nil {
			t.Fatalf("unpack %s: %v", layer.Digest, err)
		}
		unpack = gz
	}
	d, err := digest.FromReader(unpack)
	if err != nil {
		t.Fatalf("unpack %s: %v", layer.Digest, err)
	}
	if rest, err := io.Copy(io.Discard, body); err != nil || rest > 0 || !packed.Verified() || resp.ContentLength != layer.Size {
		t.Errorf("blob %s came with %d bytes, want %d (%v)", layer.Digest, resp.ContentLength, layer.Size, err)
	}
	return d
}

// ask asks past the recorder. The caller closes the body.
func (h hosting) ask(t *testing.T, path string, status int) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", manifestTypes)
	req.Header.Set("Accept-Encoding", "identity")
	if h.as != (account{}) {
		req.SetBasicAuth(h.as.name, h.as.password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		resp.Body.Close()
		t.Fatalf("GET %s: %s, want %d", path, resp.Status, status)
	}
	return resp
}

// testSkopeo pulls an image with a client that checks every digest.
func (h hosting) testSkopeo(t *testing.T, b *sandbox.Sandbox, ref string, p pushed) {
	t.Helper()
	h.reset()
	dir := b.Dir + "/skopeo"
	forgetFiles(t, dir)
	b.Run("skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+dir)
	h.wantPulled(t, p)
}

// testCrane pulls an image with another one.
func (h hosting) testCrane(t *testing.T, b *sandbox.Sandbox, ref string, p pushed) {
	t.Helper()
	h.reset()
	b.Run("crane", "validate", "--remote", ref)
	h.wantPulled(t, p)
}
