package replicas

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/bucket"
	"github.com/entrepot/entrepot/storage/s3"
)

// arrival is how long something may take to come to the bucket behind the work.
const arrival = 40 * time.Second

// Keys of what was pulled, as files of the S3 server's folder.
func (g *gateway) file(key string) string {
	return filepath.Join(g.Folder, bucket.Name, bucket.Prefix, filepath.FromSlash(key))
}

func (g *gateway) blobFile(d digest.Digest) string {
	return g.file("cache/blobs/" + d.Algorithm().String() + "/" + d.Encoded()[:2] + "/" + d.Encoded())
}

func (g *gateway) manifestFile(d digest.Digest) string {
	return g.file("cache/manifests/" + dashed(d))
}

func (g *gateway) tagFile(repo, tag string) string {
	return g.file("cache/tags/docker.io/" + strings.ReplaceAll(repo, "/", "!") + "/" + tag)
}

func (g *gateway) seenFile(repo string, d digest.Digest) string {
	return g.file("cache/seen/docker.io/" + strings.ReplaceAll(repo, "/", "!") + "/" + dashed(d))
}

func dashed(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() }

// has reports whether a file is there and has these bytes; "" is any.
func has(file string, d digest.Digest) bool {
	content, err := os.ReadFile(file)
	return err == nil && (d == "" || digest.FromBytes(content) == d)
}

// lease is the record of a digest's lease; "" where nobody has it.
func (g *gateway) lease(d digest.Digest) (record string) {
	for key, file := range g.Objects() {
		if strings.HasPrefix(key, fillLeases) && strings.Contains(key, d.Encoded()) {
			content, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				g.t.Error(err)
			}
			record = string(content)
		}
	}
	return record
}

const fillLeases = "leases/fills/"

// wantStored waits until the bucket has an image whole.
func (g *gateway) wantStored(t *testing.T, r release) {
	t.Helper()
	began := time.Now()
	missing := ""
	wantSoon(t, arrival, "the bucket has "+r.repo, func() bool { missing = g.missing(r); return missing == "" }, func() string { return missing })
	t.Logf("%s is in the bucket after %v", r.repo, time.Since(began).Round(time.Millisecond))
}

// missing is an object without which the image cannot be pulled from the bucket alone; "" where there is none.
func (g *gateway) missing(r release) string {
	files := map[string]digest.Digest{g.tagFile(r.repo, r.tag): ""}
	for _, m := range r.manifests() {
		files[g.manifestFile(m.Digest)], files[g.seenFile(r.repo, m.Digest)] = m.Digest, ""
	}
	for _, b := range r.image.Blobs() {
		files[g.blobFile(b.Digest)], files[g.seenFile(r.repo, b.Digest)] = b.Digest, ""
	}
	for file, d := range files {
		if !has(file, d) {
			return strings.TrimPrefix(file, g.file("")+"/")
		}
	}
	return ""
}

// wantQuiet waits until the S3 server is asked nothing any more.
func (g *gateway) wantQuiet(t *testing.T) {
	t.Helper()
	last, since := -1, time.Now()
	wantSoon(t, arrival, "S3 is asked nothing any more", func() bool {
		if n := g.asked.count(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	}, func() string { return strings.Join(g.asked.since(max(last-20, 0)), "\n") })
}

// store is a client of the bucket that is none of the replicas.
func (g *gateway) store(t *testing.T) *s3.Store {
	t.Helper()
	store, err := s3.New(t.Context(), s3.Options{
		Bucket: bucket.Name, Prefix: bucket.Prefix, Endpoint: g.url, PathStyle: true, Spool: t.TempDir(), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// wantSoon waits until something holds. state tells what holds instead.
func wantSoon(t *testing.T, within time.Duration, what string, holds func() bool, state func() string) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so: %s: %.2000s", within, what, state())
		}
	}
}

// overwrite changes an object behind the S3 server's back, which looks at nothing but the size.
func overwrite(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(content), 0o644); err != nil { // in place: what the server knows of it stays
		t.Fatal(err)
	}
}

// flip gives other bytes at one place.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0xff; return b }
}
