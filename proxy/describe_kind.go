package proxy

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kinds of manifests.
const (
	kindImage       = "image"
	kindIndex       = "index"
	kindChart       = "chart"
	kindSignature   = "signature"
	kindSBOM        = "SBOM"
	kindProvenance  = "provenance"
	kindAttestation = "attestation"
	kindArtifact    = "artifact"
	kindOther       = "other" // than what refers to images usually
)

// Media types beside those of package ocispec, or what they begin with.
const (
	dockerList      = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig    = "application/vnd.docker.container.image.v1+json"
	dockerLayers    = "application/vnd.docker.image.rootfs."
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerAttests   = "application/vnd.docker.attestation.manifest"
	ociLayers       = "application/vnd.oci.image.layer."
	helmConfig      = "application/vnd.cncf.helm.config.v1+json"
	simpleSigning   = "application/vnd.dev.cosign.simplesigning"
	cosignSignature = "application/vnd.dev.cosign.artifact.sig"
	notarySignature = "application/vnd.cncf.notary.signature"
	sigstoreBundle  = "application/vnd.dev.sigstore.bundle"
	inTotoStatement = "application/vnd.in-toto"
	inTotoLink      = "application/in-toto"
	signedEnvelope  = "application/vnd.dsse.envelope"
)

// Annotations that say what a statement is about, and what they say.
const (
	referenceType   = "vnd.docker.reference.type" // of what buildkit adds to an index
	buildkitAttests = "attestation-manifest"
	bundlePredicate = "dev.sigstore.bundle.predicateType"
	inTotoPredicate = "in-toto.io/predicate-type"
	cosignPredicate = "predicateType"
	cosignSigns     = "https://sigstore.dev/cosign/sign"
	slsaProvenance  = "slsa.dev/provenance"
)

// describeReferrer is the kind of an entry of a list of referrers: signature, SBOM, provenance, attestation, other.
func describeReferrer(d ocispec.Descriptor) string {
	types := []string{d.ArtifactType}
	if d.Annotations[referenceType] == buildkitAttests {
		types = append(types, dockerAttests)
	}
	return kindOfStatement(types, predicates(nil, d.Annotations))
}

// kindOfManifest is the kind of a manifest that is no index. Layers decide where a manifest poses as an image, as those of
// buildkit and cosign do.
func kindOfManifest(d described, annotations map[string]string) string {
	types := []string{d.artifactType, d.config.MediaType}
	stated := predicates(nil, annotations)
	var imageLayers bool
	for _, l := range d.layers {
		types, stated = append(types, l.MediaType), predicates(stated, l.Annotations)
		imageLayers = imageLayers || strings.HasPrefix(l.MediaType, ociLayers) || strings.HasPrefix(l.MediaType, dockerLayers)
	}
	if d.config.MediaType == helmConfig {
		return kindChart
	}
	if kind := kindOfStatement(types, stated); kind != kindOther {
		return kind
	}
	isImage := d.config.MediaType == ocispec.MediaTypeImageConfig || d.config.MediaType == dockerConfig
	if isImage && d.artifactType == "" && (imageLayers || len(d.layers) == 0) {
		return kindImage
	}
	return kindArtifact
}

// kindOfStatement tells what says something about an image, by its media types and by what its statements are about.
func kindOfStatement(types []string, stated []string) string {
	attests := false
	for _, t := range types {
		switch {
		case strings.HasPrefix(t, simpleSigning), strings.HasPrefix(t, notarySignature), strings.HasPrefix(t, cosignSignature):
			return kindSignature
		case isSBOM(t):
			return kindSBOM
		case strings.HasPrefix(t, inTotoStatement), strings.HasPrefix(t, inTotoLink), strings.HasPrefix(t, signedEnvelope),
			strings.HasPrefix(t, dockerAttests), strings.HasPrefix(t, sigstoreBundle):
			attests = true
		}
	}
	if !attests {
		return kindOther
	}
	kind := ""
	for _, s := range stated {
		one := kindAttestation
		switch {
		case strings.HasPrefix(s, cosignSigns):
			one = kindSignature
		case strings.Contains(s, slsaProvenance):
			one = kindProvenance
		case isSBOM(s):
			one = kindSBOM
		}
		if kind != "" && kind != one {
			return kindAttestation // of several things
		}
		kind = one
	}
	if kind == "" {
		return kindAttestation
	}
	return kind
}

// isSBOM knows the formats of lists of contents, by media type or by the URI of a predicate.
func isSBOM(s string) bool {
	s = strings.ToLower(s)
	for _, format := range []string{"spdx", "cyclonedx", "vnd.syft", "sbom"} {
		if strings.Contains(s, format) {
			return true
		}
	}
	return false
}

// predicates adds what statements are about, as annotations say it.
func predicates(stated []string, annotations map[string]string) []string {
	for _, name := range []string{inTotoPredicate, cosignPredicate, bundlePredicate} {
		if about := annotations[name]; about != "" {
			stated = append(stated, about)
		}
	}
	return stated
}
