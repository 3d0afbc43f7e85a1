package cache

import (
	"cmp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What buildkit says of the manifests that it puts beside those of platforms.
const (
	attestationType = "vnd.docker.reference.type"
	attestationOf   = "vnd.docker.reference.digest"
)

// choose gives the manifests of an index that belong to the platforms wanted, with what attests to them, and those platforms
// that it does not have. What names no platform belongs to all.
func choose(manifests []Descriptor, wanted []ocispec.Platform) (chosen []Descriptor, absent []string) {
	if len(wanted) == 0 {
		return manifests, nil
	}
	left := map[digest.Digest]bool{}
	found := make([]bool, len(wanted))
	for _, d := range manifests {
		if d.Annotations[attestationType] != "" || d.Platform == nil || d.Platform.OS == "unknown" {
			continue
		}
		if _, listed := left[d.Digest]; !listed { // some manifests are for several platforms
			left[d.Digest] = true
		}
		for i, w := range wanted {
			if samePlatform(w, *d.Platform) {
				found[i], left[d.Digest] = true, false
			}
		}
	}
	for _, d := range manifests {
		if !left[d.Digest] && !left[digest.Digest(d.Annotations[attestationOf])] {
			chosen = append(chosen, d)
		}
	}
	for i, w := range wanted {
		if !found[i] {
			absent = append(absent, platformName(&w))
		}
	}
	return chosen, absent
}

// samePlatform: a platform that is wanted without a variant may have any.
func samePlatform(wanted, p ocispec.Platform) bool {
	usual := map[string]string{"arm64": "v8", "arm": "v7", "amd64": "v1"} // what clients take one without a variant for
	variant := cmp.Or(p.Variant, usual[p.Architecture])
	return wanted.OS == p.OS && wanted.Architecture == p.Architecture && (wanted.Variant == "" || wanted.Variant == variant)
}

func platformName(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}

func platformsOf(manifests []Descriptor) string {
	var names []string
	for _, d := range manifests {
		if name := platformName(d.Platform); name != "" && d.Platform.OS != "unknown" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
