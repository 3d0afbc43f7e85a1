package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// regctlChunk is the least that the server asks for: regctl does not go below.
const regctlChunk = 1 << 20

func TestPushRegctl(t *testing.T) {
	h := newHosting(t)
	b := sandbox.New(t, tools.Regctl(), tools.Crane())
	b.Run("regctl", "registry", "set", h.addr, "--tls", "disabled", "--blob-chunk", fmt.Sprint(regctlChunk), "--blob-max", fmt.Sprint(regctlChunk))
	index, native, foreign := newPushIndex(t, 16)
	layout := "ocidir://" + writeLayout(t, b, index, native, foreign) + ":1"
	repo, one := h.ref("team/regctl"), h.ref("team/regctl:1")
	h.reset()

	t.Run("all platforms in chunks", func(t *testing.T) {
		b.Run("regctl", "image", "copy", layout, one)
		h.wantChunks(t, native)
		wantDigest(t, h.manifest(t, "team/regctl", "1"), index.Digest)
		p := h.wantSame(t, "team/regctl", native.Manifest.Digest.String(), native)
		h.wantSame(t, "team/regctl", foreign.Manifest.Digest.String(), foreign)
		h.testSkopeo(t, b, one, p)
		b.Run("crane", "validate", "--remote", one)
		b.Run("regctl", "image", "copy", one, "ocidir://"+b.Dir+"/back:1")
		wantFiles(t, b.Dir+"/back/blobs/sha256", native)
		wantFiles(t, b.Dir+"/back/blobs/sha256", foreign)
	})
	t.Run("mounts", func(t *testing.T) {
		h.reset()
		b.Run("regctl", "image", "copy", layout, h.ref("anywhere:1")) // without from
		b.Run("regctl", "image", "copy", one, h.ref("team/copied:1"))
		b.Run("regctl", "blob", "copy", repo, h.ref("team/blob"), native.Layers[0].Digest.String())
		h.wantUploaded(t)
		h.wantSame(t, "anywhere", native.Manifest.Digest.String(), native)
		wantDigest(t, h.manifest(t, "team/copied", "1"), index.Digest)
	})
	t.Run("tags", func(t *testing.T) {
		for _, tag := range []string{"2", "3", "a", "B"} {
			b.Run("regctl", "image", "copy", one, repo+":"+tag)
		}
		wantLines(t, b.Run("regctl", "tag", "ls", repo), "1", "2", "3", "B", "a")
		wantLines(t, b.Run("regctl", "tag", "ls", "--limit", "2", repo), "1", "2")
		wantLines(t, b.Run("regctl", "tag", "ls", "--limit", "2", "--last", "2", repo), "3", "B")
		b.Run("regctl", "tag", "rm", repo+":2")
		h.wantTags(t, "team/regctl", "1", "3", "B", "a")
		wantDigest(t, h.manifest(t, "team/regctl", "1"), index.Digest)
	})
	t.Run("referrers", func(t *testing.T) {
		file := b.File("sbom.json", `{"packages": []}`)
		for _, artifact := range []string{"application/vnd.example.sbom", "application/vnd.example.scan"} {
			b.Run("regctl", "artifact", "put", "--artifact-type", artifact, "--subject", one, "--file", file)
		}
		h.wantReferrers(t, "team/regctl", index.Digest, "application/vnd.example.sbom", "application/vnd.example.scan")
		h.wantTags(t, "team/regctl", "1", "3", "B", "a") // no fallback tag
		list := b.Run("regctl", "artifact", "list", "--filter-artifact-type", "application/vnd.example.sbom", one)
		if !strings.Contains(list, "vnd.example.sbom") || strings.Contains(list, "vnd.example.scan") {
			t.Errorf("artifact list:\n%s", list)
		}
	})
}

// wantChunks checks that the layers above the limit came by PATCH requests of regctlChunk bytes.
func (h hosting) wantChunks(t *testing.T, img image) {
	t.Helper()
	chunks, want := 0, 0
	for _, e := range h.exchanges(t) {
		if e.method == http.MethodPatch && e.status == http.StatusAccepted && e.header.Get("Content-Range") != "" {
			chunks++
		}
	}
	for _, b := range img.Blobs() {
		if b.Size > regctlChunk {
			want += int((b.Size + regctlChunk - 1) / regctlChunk)
		}
	}
	if chunks != want {
		t.Errorf("%d chunks came, want %d", chunks, want)
	}
}
