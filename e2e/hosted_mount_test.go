package e2e

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

func described(d digest.Digest, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(content))}
}

func (s site) mount(repo, from string, d digest.Digest) answer {
	s.Helper()
	query := "?mount=" + d.String()
	if from != "" {
		query += "&from=" + from
	}
	return s.ask(http.MethodPost, uploadsPath(repo)+query, nil)
}

// wantMounted fails the test unless the repository has the blob by the mount that was answered.
func (s site) wantMounted(a answer, repo string, d digest.Digest, content []byte) {
	s.Helper()
	s.accepted("mount", a, http.StatusCreated)
	s.has("mount", a, "Location", blobPath(repo, d), "Docker-Content-Digest", d.String())
	s.keepsBlob(repo, d, content)
}

// wantUpload fails the test unless the mount was answered by an upload, which takes the blob.
func (s site) wantUpload(a answer, repo string, d digest.Digest, content []byte) {
	s.Helper()
	s.accepted("mount", a, http.StatusAccepted)
	s.absent(blobPath(repo, d))
	s.accepted("upload instead", s.ask(http.MethodPut, withDigest(s.at(a), d), content), http.StatusCreated)
	s.keepsBlob(repo, d, content)
}

func TestMountFromAnotherRepository(t *testing.T) { everywhere(t, mountFromAnotherRepository) }

func mountFromAnotherRepository(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		content, nobodys := noise(1, 5000), noise(2, 5000)
		d, none := s.pushAs(alg, "team/app", content).Digest, alg.FromBytes(nobodys)
		to := func(name string) string { return "team/" + alg.String() + "/" + name }
		s.wantMounted(s.mount(to("from"), "team/app", d), to("from"), d, content)
		s.wantMounted(s.mount(to("from"), "team/app", d), to("from"), d, content)
		s.wantMounted(s.mount(to("itself"), "", d), to("itself"), d, content)
		s.wantUpload(s.mount(to("elsewhere"), "team/none", d), to("elsewhere"), d, content)
		s.wantUpload(s.mount(to("none"), "", none), to("none"), none, nobodys)
		image := manifestOf(described(d, content))
		s.accepted("an image of it", s.put(to("from"), "latest", image), http.StatusCreated)
	}
	good := s.push("team/app", noise(3, 10)).Digest
	s.refused("a malformed digest", s.ask(http.MethodPost, uploadsPath("team/x")+"?mount=sha256:abc&from=team/app", nil), http.StatusBadRequest, "DIGEST_INVALID")
	s.refused("a malformed from", s.ask(http.MethodPost, uploadsPath("team/x")+"?from=../app&mount="+good.String(), nil), http.StatusBadRequest, "NAME_INVALID")
}

func TestMountFromTheCache(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakehub.Options{}, "HOSTED", "team")
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{3 << 20, 1000}})
	secret := fakehub.RandomBlob(7, 1000)
	s.hub.Repo("library/app").AddImage(img, "1")
	s.hub.Repo("library/other").AddBlob(secret)
	s.wantPull("library/app", "1", img)
	s.wantBlob("library/other", secret)
	layer := img.Layers[0]
	s.eventually(20e9, "the layer is in the cache for good", func() bool {
		return s.mount("team/early", "library/app", layer.Digest).status == http.StatusCreated
	})
	s.hub.ResetCounters()
	content := make([]byte, layer.Size)
	layer.Content.ReadAt(content, 0)
	s.wantMounted(s.mount("team/app", "library/app", layer.Digest), "team/app", layer.Digest, content)
	s.wantMounted(s.mount("team/prefixed", "docker.io/library/app", layer.Digest), "team/prefixed", layer.Digest, content)
	for what, a := range map[string]answer{
		"what another repository has":     s.mount("team/x", "library/app", secret.Digest),
		"from a repository without it":    s.mount("team/y", "library/other", img.Config.Digest),
		"what nobody has pulled":          s.mount("team/y", "library/app", digest.FromString("x")),
		"from an upstream that is nobody": s.mount("team/y", "evil.example/app", layer.Digest),
		"the cache's without from":        s.mount("team/y", "", secret.Digest),
	} {
		s.accepted(what, a, http.StatusAccepted)
	}
	s.absent(blobPath("team/x", secret.Digest), blobPath("team/y", secret.Digest), blobPath("team/y", layer.Digest))
	if n := s.hub.Count(); n != 0 {
		t.Errorf("upstream was asked %d times: %v", n, s.hub.Requests())
	}
	s.hub.Down()
	if out, code := s.server.Run("purge", "docker.io/library/app"); code != 0 {
		t.Fatalf("purge ends with %d: %s", code, out)
	}
	s.server.Kill()
	s.server.Start()
	s.keepsBlob("team/app", layer.Digest, content)
}

func TestMountTakesTheNamesOwner(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakehub.Options{}, "HOSTED", "team")
	d := s.push("team/app", noise(1, 100)).Digest
	s.refused("into an upstream's", s.mount("library/app", "team/app", d), http.StatusForbidden, "DENIED")
	if n := s.hub.Count(); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
}
