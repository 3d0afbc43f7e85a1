package clients

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// platform is this machine's, as clients take it on their command line.
const platform = "linux/" + runtime.GOARCH

// wantFiles checks that a client wrote the image's blobs, each into a file of dir that is named by the digest's hex.
func wantFiles(t *testing.T, dir string, img image) {
	t.Helper()
	for _, b := range img.Blobs() {
		wantFile(t, filepath.Join(dir, b.Digest.Encoded()), b)
	}
}

func wantFile(t *testing.T, name string, b fakehub.Blob) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	got, err := digest.FromReader(f)
	if err != nil || got != b.Digest {
		t.Errorf("%s has digest %s, %v", name, got, err)
	}
}

// forgetFiles removes what a client wrote.
func forgetFiles(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}
