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
	}{
		{"team/signed", nil, []string{"application/vnd.dev.sigstore.bundle.v0.3+json"}, []string{"1"}},
		{"team/tagged", []string{"--new-bundle-format=false"}, nil, []string{"1", legacyTag}},
	}
	for _, form := range forms {
		t.Run(form.repo, func(t *testing.T) {
			ref := h.ref(form.repo + "@" + img.Manifest.Digest.String())
			verify := func(key string) sandbox.Result {
				return b.Try("cosign", append(append([]string{"verify", "--key", b.Dir + "/" + key + ".pub", "--insecure-ignore-tlog", "--allow-http-registry"}, form.args...), ref)...)
			}
			if r := verify("ours"); r.Err == nil {
				t.Fatalf("an unsigned image is verified:\n%s", r.All)
			}
			b.Run("cosign", append(append([]string{"sign", "--yes", "--key", b.Dir + "/ours.key", "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry"}, form.args...), ref)...)
			if r := verify("ours"); r.Err != nil || !strings.Contains(r.All, img.Manifest.Digest.String()) {
				t.Errorf("verify: %v\n%s", r.Err, r.All)
			}
			if r := verify("others"); r.Err == nil {
				t.Errorf("the signature is verified by another key:\n%s", r.All)
			}
			h.wantReferrers(t, form.repo, img.Manifest.Digest, form.referrers...)
			h.wantTags(t, form.repo, form.tags...)
			if out := b.Run("cosign", "tree", "--allow-http-registry", ref); !strings.Contains(out, "sha256:") {
				t.Errorf("cosign tree:\n%s", out)
			}
			h.wantSame(t, form.repo, "1", img)
		})
	}
}
