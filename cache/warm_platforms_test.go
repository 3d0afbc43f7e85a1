package cache

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestWarmedPlatforms(t *testing.T) {
	g := newGallery(t)
	index, manifests := g.multi("1")
	r := g.warm(WarmOptions{Platforms: []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}}, "1")[0]
	wantStatus(t, r, WarmComplete)
	for d, want := range map[digest.Digest]bool{index.Digest: true, manifests[0].Digest: true, manifests[1].Digest: true, manifests[2].Digest: false, manifests[3].Digest: false} {
		if slices.Contains(r.Complete, d) != want {
			t.Errorf("%s is among what was fetched: %v", d, !want)
		}
	}
	r = g.warm(WarmOptions{Platforms: []ocispec.Platform{{OS: "linux", Architecture: "s390x"}, {OS: "linux", Architecture: "arm", Variant: "v7"}}}, "1")[0]
	wantStatus(t, r, WarmIncomplete, "linux/arm/v7", "only linux/amd64, linux/s390x")
	if !slices.Contains(r.Complete, manifests[2].Digest) {
		t.Error("a platform that is there was not fetched")
	}
}

func TestSamePlatform(t *testing.T) {
	for _, c := range []struct {
		wanted, p ocispec.Platform
		want      bool
	}{
		{ocispec.Platform{OS: "linux", Architecture: "arm64"}, ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, true},
		{ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, ocispec.Platform{OS: "linux", Architecture: "arm64"}, true},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, ocispec.Platform{OS: "linux", Architecture: "arm"}, true},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, ocispec.Platform{OS: "linux", Architecture: "arm"}, false},
		{ocispec.Platform{OS: "linux", Architecture: "amd64", Variant: "v1"}, ocispec.Platform{OS: "linux", Architecture: "amd64"}, true},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, false},
		{ocispec.Platform{OS: "windows", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "amd64"}, false},
	} {
		if samePlatform(c.wanted, c.p) != c.want {
			t.Errorf("%s, %s: %v", platformName(&c.wanted), platformName(&c.p), !c.want)
		}
	}
}

// Some indexes list one manifest for several platforms.
func TestChooseWhatIsForSeveralPlatforms(t *testing.T) {
	arm := func(variant string) Descriptor {
		return Descriptor{Digest: digest.FromString("arm"), Platform: &ocispec.Platform{OS: "linux", Architecture: "arm", Variant: variant}}
	}
	for _, wanted := range []string{"v6", "v7"} {
		chosen, absent := choose([]Descriptor{arm("v6"), arm("v7")}, []ocispec.Platform{{OS: "linux", Architecture: "arm", Variant: wanted}})
		if len(chosen) == 0 || len(absent) > 0 {
			t.Errorf("%s: chosen %v, absent %v", wanted, chosen, absent)
		}
	}
}
