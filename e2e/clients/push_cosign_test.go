package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// Signatures lie beside the image: bundles as referrers, and in cosign's older form under a tag made from the digest.
func TestPushCosign(t *testing.T) {
	h := newHosting(t)
	b := sandbox.New(t, tools.Cosign(), tools.Crane())
	b.Env = append(b.Env, "COSIGN_PASSWORD=")
	b.Run("cosign", "generate-key-pair", "--output-key-prefix", b.Dir+"/ours")
	b.Run("cosign", "generate-key-pair", "--output-key-prefix", b.Dir+"/others")
	img := newPushImage(t, 18)
	b.Run("crane", "push", writeLayout(t, b, img.Manifest, img), h.ref("team/signed:1"))
	b.Run("crane", "copy", h.ref("team/signed:1"), h.ref("team/tagged:1"))
	legacyTag := strings.Replace(img.Manifest.Digest.String(), ":", "-", 1) + ".sig"

	forms := []struct {
		repo      string
		args      []string
		referrers []string
		tags      []string
		tree      string // what the tree of artifacts says
	}{
		{"team/signed", nil, []string{"application/vnd.dev.sigstore.bundle.v0.3+json"}, []string{"1"}, "artifacts via OCI referrer"},
		{"team/tagged", []string{"--new-bundle-format=false"}, nil, []string{"1", legacyTag}, "Signatures for an image tag"},
	}
	for _, form := range forms {
		t.Run(form.repo, func(t *testing.T) {
			ref := h.ref(form.repo + "@" + img.Manifest.Digest.String())
			cosign := func(args ...string) sandbox.Result {
				args = append(append(args, "--allow-http-registry"), form.args...)
				return b.Try("cosign", append(args, ref)...)
			}
			verify := func(key string) sandbox.Result {
				return cosign("verify", "--key", b.Dir+"/"+key+".pub", "--insecure-ignore-tlog")
			}
			if r := verify("ours"); r.Err == nil || !strings.Contains(r.All, "no signatures found") {
				t.Fatalf("verify of an unsigned image: %v\n%s", r.Err, r.All)
			}
			if r := cosign("sign", "--key", b.Dir+"/ours.key", "--use-signing-config=false", "--tlog-upload=false"); r.Err != nil {
				t.Fatalf("sign: %v\n%s", r.Err, r.All)
			}
			if r := verify("ours"); r.Err != nil || !strings.Contains(r.All, img.Manifest.Digest.String()) {
				t.Errorf("verify: %v\n%s", r.Err, r.All)
			}
			if r := verify("others"); r.Err == nil || !strings.Contains(r.All, "no matching") {
				t.Errorf("verify with another key: %v\n%s", r.Err, r.All)
			}
			h.wantReferrers(t, form.repo, img.Manifest.Digest, form.referrers...)
			h.wantTags(t, form.repo, form.tags...)
			if out := b.Run("cosign", "tree", "--allow-http-registry", ref); !strings.Contains(out, form.tree) {
				t.Errorf("cosign tree:\n%s", out)
			}
			h.wantSame(t, form.repo, "1", img)
		})
	}
}
