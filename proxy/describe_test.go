package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	ociConfig = `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"$config","size":1000}`
	ociLayer  = `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"$a","size":10}`
)

// withDigests puts digests in the place of names.
func withDigests(s string) []byte {
	for _, name := range []string{"config", "a", "b", "c"} {
		s = strings.ReplaceAll(s, `"$`+name+`"`, `"`+digest.FromString(name).String()+`"`)
	}
	return []byte(s)
}

// described facts in a line: kind, artifact type, size, digests of config and layers by name.
func (d described) String() string {
	name := map[digest.Digest]string{"": ""}
	for _, n := range []string{"config", "a", "b", "c"} {
		name[digest.FromString(n)] = n
	}
	var layers, children []string
	for _, l := range d.layers {
		layers = append(layers, fmt.Sprintf("%s:%d", name[l.Digest], l.Size))
	}
	for _, c := range d.children {
		children = append(children, fmt.Sprintf("%s=%s:%s:%d", name[c.Digest], c.name, c.kind, c.Size))
	}
	return strings.Join([]string{d.kind, d.artifactType, fmt.Sprint(d.size), name[d.config.Digest], strings.Join(layers, " "), strings.Join(children, " "), name[d.subject]}, "|")
}

func TestDescribe(t *testing.T) {
	statement := func(about string) string {
		return `{"mediaType":"application/vnd.in-toto+json","digest":"$a","size":10,"annotations":{"in-toto.io/predicate-type":"` + about + `"}}`
	}
	for _, c := range []struct{ fact, mediaType, manifest, want string }{
		{"an OCI image", ocispec.MediaTypeImageManifest, `{"schemaVersion":2,` + ociConfig + `,"layers":[` + ociLayer + `,{"digest":"$b","size":5}]}`, "image||1015|config|a:10 b:5||"},
		{"an image without layers", "", `{` + ociConfig + `,"layers":[]}`, "image||1000|config|||"},
		{"a layer twice", "", `{` + ociConfig + `,"layers":[` + ociLayer + `,` + ociLayer + `]}`, "image||1010|config|a:10 a:10||"},
		{"a Docker image", "application/vnd.docker.distribution.manifest.v2+json", `{"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"$config","size":7},
			"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"$a","size":3}]}`, "image||10|config|a:3||"},
		{"a schema 1 image", "application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[{"blobSum":"$b"},{"blobSum":"x"},{"blobSum":"$a"}],"signatures":[{}]}`, "image||-1||a:-1 b:-1||"},
		{"an index", ocispec.MediaTypeImageIndex, `{"manifests":[
			{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"$a","size":1,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
			{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"$b","size":2,"platform":{"os":"windows","architecture":"amd64","os.version":"10.0.20348.1"}},
			{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"$c","size":3,"platform":{"os":"unknown","architecture":"unknown"},
				"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"x"}}]}`,
			"index||-1|||a=linux/arm64/v8::1 b=windows/amd64 (10.0.20348.1)::2 c=attestation:attestation:3|"},
		{"a Docker list", "application/vnd.docker.distribution.manifest.list.v2+json", `{"manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"$a","size":1,"platform":{"os":"linux","architecture":"386"}}]}`,
			"index||-1|||a=linux/386::1|"},
		{"an index that says so itself", "", `{"mediaType":"application/vnd.oci.image.index.v1+json"}`, "index||-1||||"},
		{"an index of other things", "", `{"artifactType":"x/y","manifests":[
			{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"$a","size":1},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"$b","size":2},
			{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"$c","size":3},{"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","digest":"$config","size":4}]}`,
			"index|x/y|-1|||a=index:index:1 b=image:image:2 c=artifact:artifact:3 config=artifact:artifact:4|"},
		{"referrers as an index", "", `{"manifests":[{"digest":"$a","size":1,"artifactType":"application/vnd.dev.cosign.artifact.sig.v1+json"},{"digest":"$b","size":1,"artifactType":"application/spdx+json"}]}`,
			"index||-1|||a=signature:signature:1 b=SBOM:SBOM:1|"},
		{"a platform that is none", "", `{"manifests":[{"mediaType":"x/manifest","digest":"$a","size":1,"platform":{"architecture":"amd64"}},{"mediaType":"x/manifest","digest":"$b","size":1,"platform":"linux"}]}`,
			"index||-1|||a=image:image:1 b=image:image:1|"},
		{"a chart", "", `{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"$config","size":1},
			"layers":[{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":"$a","size":2},{"mediaType":"application/vnd.cncf.helm.chart.provenance.v1.prov","digest":"$b","size":3}]}`,
			"chart|application/vnd.cncf.helm.config.v1+json|6|config|a:2 b:3||"},
		{"a cosign signature by tag", "", `{` + ociConfig + `,"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"$a","size":2}]}`,
			"signature|application/vnd.oci.image.config.v1+json|1002|config|a:2||"},
		{"a cosign signature that refers", "", `{"artifactType":"application/vnd.dev.cosign.artifact.sig.v1+json","subject":{"digest":"$b","size":1},"layers":[{"digest":"$a","size":2}]}`,
			"signature|application/vnd.dev.cosign.artifact.sig.v1+json|2||a:2||b"},
		{"a bundle that signs", "", `{"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","annotations":{"dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1"},"layers":[]}`,
			"signature|application/vnd.dev.sigstore.bundle.v0.3+json|0|||" + "|"},
		{"a bundle of provenance", "", `{"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","annotations":{"dev.sigstore.bundle.predicateType":"https://slsa.dev/provenance/v1"}}`,
			"provenance|application/vnd.dev.sigstore.bundle.v0.3+json|0||||"},
		{"a Notary signature", "", `{"config":{"mediaType":"application/vnd.cncf.notary.signature","digest":"$config","size":2},"layers":[{"mediaType":"application/jose+json","digest":"$a","size":3}],"subject":{"digest":"$b"}}`,
			"signature|application/vnd.cncf.notary.signature|5|config|a:3||b"},
		{"a cosign attestation by tag", "", `{` + ociConfig + `,"layers":[{"mediaType":"application/vnd.dsse.envelope.v1+json","digest":"$a","size":2,"annotations":{"predicateType":"https://example.com/x"}}]}`,
			"attestation|application/vnd.oci.image.config.v1+json|1002|config|a:2||"},
		{"buildkit's provenance", "", `{` + ociConfig + `,"layers":[` + statement("https://slsa.dev/provenance/v0.2") + `]}`, "provenance|application/vnd.oci.image.config.v1+json|1010|config|a:10||"},
		{"buildkit's SBOM", "", `{` + ociConfig + `,"layers":[` + statement("https://spdx.dev/Document") + `]}`, "SBOM|application/vnd.oci.image.config.v1+json|1010|config|a:10||"},
		{"buildkit's both", "", `{"artifactType":"application/vnd.docker.attestation.manifest.v1+json",` + ociConfig + `,"layers":[` + statement("https://spdx.dev/Document") + `,` + statement("https://slsa.dev/provenance/v1") + `]}`,
			"attestation|application/vnd.docker.attestation.manifest.v1+json|1010|config|a:10 a:10||"},
		{"an SBOM of ORAS", "", `{"artifactType":"application/vnd.cyclonedx+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"$config","size":2},"layers":[{"digest":"$a","size":3}]}`,
			"SBOM|application/vnd.cyclonedx+json|5|config|a:3||"},
		{"a wasm module", "", `{"config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"$config","size":2},"layers":[{"mediaType":"application/wasm","digest":"$a","size":3}]}`,
			"artifact|application/vnd.wasm.config.v0+json|5|config|a:3||"},
		{"a model that poses as an image", "", `{` + ociConfig + `,"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"$a","size":3}]}`, "artifact|application/vnd.oci.image.config.v1+json|1003|config|a:3||"},
		{"an image with an artifact type", "", `{"artifactType":"x/y",` + ociConfig + `,"layers":[` + ociLayer + `]}`, "artifact|x/y|1010|config|a:10||"},
		{"the artifact manifest of drafts", "application/vnd.oci.artifact.manifest.v1+json", `{"artifactType":"x/y","blobs":[{"mediaType":"a/b","digest":"$a","size":3}],"subject":{"digest":"$b"}}`, "artifact|x/y|3||a:3||b"},

		{"garbage", "", "\x00", "artifact||-1||||"},
		{"nothing", "", "", "artifact||-1||||"},
		{"a list", "", "[]", "artifact||-1||||"},
		{"null", "", "null", "artifact||-1||||"},
		{"odd types hide nothing else", "", `{"artifactType":1,"config":[],"subject":"x","annotations":[1],"layers":[1,null,{"digest":7},{"digest":"$a","size":"x","mediaType":[]},{"digest":"$b","size":2}]}`, "artifact||-1||a:-1 b:2||"},
		{"digests that are none", "", `{"config":{"digest":"sha256:../..","size":1},"layers":[{"digest":"latest","size":1},{"digest":"","size":1},{"size":1}],"subject":{"digest":"sha256:1"},"manifests":null}`, "index||-1||||"},
		{"layers that are none", "", `{"config":{"digest":"sha256:../..","size":1},"layers":[{"digest":"latest","size":1}],"subject":{"digest":"sha256:1"}}`, "artifact||0||||"},
		{"no size", "", `{"layers":[{"digest":"$a"}]}`, "artifact||-1||a:-1||"},
		{"a negative size", "", `{"layers":[{"digest":"$a","size":-5},{"digest":"$b","size":10}]}`, "artifact||-1||a:-1 b:10||"},
		{"a size that cannot be", "", `{"layers":[{"digest":"$a","size":9223372036854775807},{"digest":"$b","size":10}]}`, "artifact||-1||a:-1 b:10||"},
		{"a size beyond numbers", "", `{"layers":[{"digest":"$a","size":1e999},{"digest":"$b","size":1.5}]}`, "artifact||-1||a:-1 b:-1||"},
		{"sizes that cannot be together", "", `{"layers":[{"digest":"$a","size":1125899906842624},{"digest":"$b","size":1}]}`, "artifact||-1||a:1125899906842624 b:1||"},
	} {
		if got := describe(c.mediaType, withDigests(c.manifest)).String(); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.fact, got, c.want)
		}
	}
}

func TestDescribeLooksAtSoManyParts(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(ociLayer+",", 2*mostParts), ",")
	d := describe("", withDigests(`{`+ociConfig+`,"layers":[`+many+`]}`))
	if d.kind != "image" || len(d.layers) != mostParts || d.size != -1 {
		t.Errorf("%s of %d layers, %d bytes", d.kind, len(d.layers), d.size)
	}
	if d := describe("", withDigests(`{`+ociConfig+`,"annotations":{"a":"`+strings.Repeat("x", mostDescribed)+`"},"layers":[`+ociLayer+`]}`)); !strings.Contains(d.kind, "too large") || d.layers != nil || d.size != -1 {
		t.Errorf("of what is too large: %s of %d layers, %d bytes", d.kind, len(d.layers), d.size)
	}
}

func TestDescribeAnnotations(t *testing.T) {
	d := describe("", []byte(`{"annotations":{"b":"2","a":"1\n\u0000\u202e2","c":"`+strings.Repeat("é", 2000)+`"}}`))
	want := []ui.Pair{{Name: "a", Value: "1  2"}, {Name: "b", Value: "2"}, {Name: "c", Value: strings.Repeat("é", longestValue) + "…"}}
	if !slices.Equal(d.annotations, want) {
		t.Errorf("%q", d.annotations)
	}
	var many bytes.Buffer
	for i := range 3 * mostAnnotations {
		fmt.Fprintf(&many, `"%d":"",`, i)
	}
	if d = describe("", []byte(`{"annotations":{`+many.String()+`"x":""}}`)); len(d.annotations) != mostAnnotations {
		t.Errorf("%d annotations", len(d.annotations))
	}
}

func TestDescribeReferrer(t *testing.T) {
	for want, all := range map[string][]ocispec.Descriptor{
		"signature": {
			{ArtifactType: "application/vnd.dev.cosign.artifact.sig.v1+json"}, {ArtifactType: "application/vnd.cncf.notary.signature"},
			{ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", Annotations: map[string]string{"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}},
		},
		"SBOM": {
			{ArtifactType: "application/spdx+json"}, {ArtifactType: "text/spdx"}, {ArtifactType: "application/vnd.cyclonedx+xml"}, {ArtifactType: "application/vnd.syft+json"}, {ArtifactType: "sbom/example"},
			{ArtifactType: "application/vnd.in-toto+json", Annotations: map[string]string{"in-toto.io/predicate-type": "https://cyclonedx.org/bom/v1.5"}},
		},
		"provenance": {{ArtifactType: "application/vnd.in-toto+json", Annotations: map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}}},
		"attestation": {
			{ArtifactType: "application/vnd.in-toto+json"}, {ArtifactType: "application/vnd.dsse.envelope.v1+json"}, {ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json"},
			{Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}},
			{ArtifactType: "application/vnd.in-toto+json", Annotations: map[string]string{"predicateType": "https://example.com/scan"}},
		},
		"other": {{}, {ArtifactType: "x/y"}, {ArtifactType: "x/y", Annotations: map[string]string{"predicateType": "https://slsa.dev/provenance/v1"}}},
	} {
		for _, d := range all {
			if got := describeReferrer(d); got != want {
				t.Errorf("%+v is %s, want %s", d, got, want)
			}
		}
	}
}

func FuzzDescribe(f *testing.F) {
	for _, s := range []string{"", "null", "{}", `{` + ociConfig + `,"layers":[` + ociLayer + `],"annotations":{"a":"b"},"subject":{"digest":"$b"}}`,
		`{"manifests":[{"digest":"$a","size":1,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}`, `{"fsLayers":[{"blobSum":"$a"}]}`} {
		f.Add("", withDigests(s))
	}
	kinds := []string{"image", "index", "chart", "signature", "SBOM", "provenance", "attestation", "artifact"}
	f.Fuzz(func(t *testing.T, mediaType string, b []byte) {
		d := describe(mediaType, b)
		if !slices.Contains(kinds, d.kind) || d.size < -1 || d.size > believableSize || d.subject != "" && d.subject.Validate() != nil {
			t.Errorf("%+v", d)
		}
		parts := d.layers
		if d.config.Digest != "" {
			parts = append(parts, d.config)
		}
		for _, c := range d.children {
			parts = append(parts, c.Descriptor)
			if c.name == "" || !utf8.ValidString(c.name) || c.kind != "" && !slices.Contains(kinds, c.kind) {
				t.Errorf("%+v", c)
			}
		}
		for _, p := range parts {
			if p.Digest.Validate() != nil || p.Size < -1 || p.Size > believableSize {
				t.Errorf("%+v", p)
			}
		}
		for _, p := range d.annotations {
			if !utf8.ValidString(p.Name+p.Value) || utf8.RuneCountInString(p.Value) > longestValue+1 {
				t.Errorf("%+v", p)
			}
		}
	})
}

func BenchmarkDescribe(b *testing.B) {
	var layers []json.RawMessage
	for range 20 {
		layers = append(layers, json.RawMessage(ociLayer))
	}
	list, _ := json.Marshal(layers)
	manifest := withDigests(`{` + ociConfig + `,"layers":` + string(list) + `}`)
	for b.Loop() {
		if d := describe("", manifest); len(d.layers) != 20 {
			b.Fatal(d)
		}
	}
}
