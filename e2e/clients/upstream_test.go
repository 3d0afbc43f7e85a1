package clients

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// upstream is a fake registry that stands for a real one, with one repository of images.
type upstream struct {
	*fakehub.Hub
	host string // what clients call it: "docker.io"
	repo string // "library/app"

	tagged  image // tag "1"
	pinned  image // no tag
	native  image // of tag "multi", for this machine
	foreign image // of tag "multi", for another architecture
}

// image is a fake image and what its program prints when it has read all of it.
type image struct {
	fakehub.Image
	prints string
}

func newImage(s fakehub.Spec) image {
	var bytes int64
	for _, size := range s.Layers {
		bytes += size
	}
	return image{fakehub.NewImage(s), fmt.Sprintf("app read %d files, %d bytes", len(s.Layers), bytes)}
}

// newUpstream fills the repository. Upstreams of different seeds share no blob. Media types are Docker's where the seed is
// odd, and OCI's where it is even.
func newUpstream(t *testing.T, o fakehub.Options, host, repo string, seed uint64) upstream {
	t.Helper()
	u := upstream{Hub: fakehub.New(t, o), host: host, repo: repo}
	spec := fakehub.Spec{
		Layers: []int64{24 << 20, 700_000, 4_000}, Seed: seed * 1000, Binary: appBinary(t, seed), Docker: seed%2 == 1,
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
	}
	u.tagged = newImage(spec)
	spec.Seed, spec.Layers = spec.Seed+1, []int64{1_500_000, 90_000}
	u.pinned = newImage(spec)
	spec.Seed++
	u.native = newImage(spec)
	spec.Seed, spec.Platform.Architecture, spec.Binary = spec.Seed+1, "s390x", []byte("not for this machine")
	u.foreign = newImage(spec)

	r := u.Repo(repo)
	r.AddImage(u.tagged.Image, "1")
	r.AddImage(u.pinned.Image)
	images := []fakehub.Image{u.foreign.Image, u.native.Image}
	r.AddIndex(fakehub.NewIndex(spec.Docker, images...), images, "multi")
	return u
}

// ref is the full name of a tag.
func (u upstream) ref(tag string) string { return u.host + "/" + u.repo + ":" + tag }

// digestRef is the full name of a manifest.
func (u upstream) digestRef(d digest.Digest) string { return u.host + "/" + u.repo + "@" + d.String() }

// wantOnce checks that every byte of these blobs left the upstream once. The last bytes may still be on their way into the
// count when the client has them.
func (u upstream) wantOnce(t *testing.T, blobs []fakehub.Blob) {
	t.Helper()
	for _, b := range blobs {
		deadline := time.Now().Add(10 * time.Second)
		for u.Served(b.Digest).Unique() < b.Size && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if s := u.Served(b.Digest); s.Unique() != b.Size || s.Twice() != 0 {
			t.Errorf("%s served %d of %d bytes of %s, and %d twice", u.host, s.Unique(), b.Size, b.Digest, s.Twice())
			u.logRequests(t)
		}
	}
}

// wantNoContent checks that since the last reset at most tags were asked for.
func (u upstream) wantNoContent(t *testing.T) {
	t.Helper()
	content := []fakehub.Kind{fakehub.KindManifestGet, fakehub.KindBlobHead, fakehub.KindBlobGet, fakehub.KindCDN}
	if n := u.Count(content...); n > 0 {
		t.Errorf("%s was asked %d times for content that is cached", u.host, n)
		u.logRequests(t)
	}
}

// wantUntouched checks that nothing of these blobs was fetched.
func (u upstream) wantUntouched(t *testing.T, blobs []fakehub.Blob) {
	t.Helper()
	for _, b := range blobs {
		if n := u.Served(b.Digest).Bytes; n > 0 {
			t.Errorf("%s served %d bytes of %s, which nobody asked for", u.host, n, b.Digest)
			u.logRequests(t)
		}
	}
}

func (u upstream) logRequests(t *testing.T) {
	for _, r := range u.Requests() {
		t.Logf("%s: %s %s range=%q: %d, %d bytes", u.host, r.Method, r.URI, r.Header.Get("Range"), r.Status, r.Sent)
	}
}

// appBinary builds the program that the images hold, without any C library. Programs of different seeds differ in bytes after
// the end that no loader looks at.
func appBinary(t *testing.T, seed uint64) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the images' program: %v\n%s", err, out)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return binary.AppendUvarint(program, seed)
}
