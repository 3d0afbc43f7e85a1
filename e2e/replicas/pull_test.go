package replicas

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// leases is the environment of replicas that leave a fetch to one of them.
var leases = map[string]string{"ADVERTISE_URL": "http://" + itself}

// release is an image for several platforms, of which clients pull the first.
type release struct {
	repo, tag string
	index     fakehub.Manifest
	image     fakehub.Image
	other     fakehub.Image
}

// newRelease puts an image with such layers at the hub.
func (s *set) newRelease(repo string, seed uint64, layers ...int64) release {
	r := release{repo: repo, tag: "1", image: newImage(1000+seed, layers...)}
	r.other = fakehub.NewImage(fakehub.Spec{Layers: []int64{100}, Seed: seed, Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}})
	r.index = fakehub.NewIndex(false, r.image, r.other)
	s.hub.Repo(repo).AddIndex(r.index, []fakehub.Image{r.image, r.other}, r.tag)
	return r
}

func (r release) manifests() []fakehub.Manifest { return []fakehub.Manifest{r.index, r.image.Manifest} }

func (r release) manifestPath(ref string) string { return "/v2/" + r.repo + "/manifests/" + ref }

func (r release) blobPath(d digest.Digest) string { return "/v2/" + r.repo + "/blobs/" + d.String() }

// fetched is what came of a GET whose body was hashed and dropped.
type fetched struct {
	status int
	header http.Header
	n      int64
	digest digest.Digest
	err    error // without it the answer was whole
	took   time.Duration
}

func (f fetched) String() string {
	return fmt.Sprintf("%d with %d bytes after %v, %v", f.status, f.n, f.took.Round(time.Millisecond), f.err)
}

// is returns what is wrong with an answer that should be this content.
func (f fetched) is(d digest.Digest) error {
	switch {
	case f.err != nil || f.status != http.StatusOK:
		return fmt.Errorf("%s: %s", d, f)
	case f.digest != d:
		return fmt.Errorf("%s: other bytes that look whole: %s", d, f)
	}
	return nil
}

// fetch gets a path. taken counts the bytes as they come; nil: nobody looks.
func (c *client) fetch(ctx context.Context, path string, taken *atomic.Int64, header ...string) (f fetched) {
	began := time.Now()
	defer func() { f.took = time.Since(began) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return fetched{err: err}
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex+", "+ocispec.MediaTypeImageManifest)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fetched{err: err}
	}
	defer resp.Body.Close()
	if taken == nil {
		taken = new(atomic.Int64)
	}
	f = fetched{status: resp.StatusCode, header: resp.Header}
	sum := sha256.New()
	f.n, f.err = io.Copy(io.MultiWriter(sum, counter{taken}), resp.Body)
	f.digest = digest.NewDigest(digest.SHA256, sum)
	return f
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// pull pulls as a daemon does: the tag, the platform's manifest, its config, its layers. Every byte is compared.
func (c *client) pull(r release, header ...string) error {
	type part struct {
		path string
		d    digest.Digest
	}
	parts := []part{{r.manifestPath(r.tag), r.index.Digest}, {r.manifestPath(r.image.Manifest.Digest.String()), r.image.Manifest.Digest}}
	for _, b := range r.image.Blobs() {
		parts = append(parts, part{r.blobPath(b.Digest), b.Digest})
	}
	for _, p := range parts {
		if err := c.fetch(context.Background(), p.path, nil, header...).is(p.d); err != nil {
			return fmt.Errorf("pull %s:%s: %w", r.repo, r.tag, err)
		}
	}
	return nil
}

// wantPull pulls, and tells how long it took.
func (c *client) wantPull(t *testing.T, r release, header ...string) time.Duration {
	t.Helper()
	began := time.Now()
	if err := c.pull(r, header...); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// It is not beside others: on a machine that has no time, a holder keeps silent, and is not waited for.
func TestPullsAtAllReplicasAreOneFetch(t *testing.T) {
	s := newSet(t, 3, leases)
	releases := s.pullTen(t, 300)
	for _, r := range releases {
		s.wantFetches(t, r, 1)
		s.gateway.wantStored(t, r)
	}
	s.wantNoLeases(t)
}

func TestWithoutLeasesEachReplicaFetchesOnce(t *testing.T) {
	t.Parallel()
	s := newSet(t, 3, nil)
	for _, r := range s.pullTen(t, 60) {
		s.wantFetches(t, r, 3)
		s.gateway.wantStored(t, r)
	}
}

// pullTen pulls ten images so many times at once, each request at another replica.
func (s *set) pullTen(t *testing.T, times int) (releases []release) {
	t.Helper()
	for i := range 10 {
		releases = append(releases, s.newRelease(fmt.Sprintf("library/app-%d", i), uint64(i), 4_000, 300_000, 3_000_000+int64(i)))
	}
	c, began := s.client(), time.Now()
	var pulls sync.WaitGroup
	for i := range times {
		pulls.Go(func() {
			if err := c.pull(releases[i%len(releases)]); err != nil {
				t.Error(err)
			}
		})
	}
	pulls.Wait()
	t.Logf("%d pulls in %v", times, time.Since(began).Round(time.Millisecond))
	heads := 0
	for _, q := range s.hub.Requests() {
		if q.Kind == fakehub.KindManifestHead && q.Status == http.StatusOK {
			heads++
		}
	}
	if most := 2 * len(releases) * len(s.replicas); heads > most { // the second where the bucket has a manifest, and not yet the note whose it is
		t.Errorf("%d HEADs of manifests, want two of each image by each replica at most: %d", heads, most)
	}
	return releases
}

// wantFetches compares what upstream sent of an image with what there is.
func (s *set) wantFetches(t *testing.T, r release, times int64) {
	t.Helper()
	sizes := map[digest.Digest]int64{}
	for _, m := range r.manifests() {
		sizes[m.Digest] = m.Size
	}
	for _, b := range r.image.Blobs() {
		sizes[b.Digest] = b.Size
	}
	for d, size := range sizes {
		if got := s.hub.Served(d); got.Bytes > times*size && !s.excused(t, got.Bytes-times*size, size) {
			t.Errorf("%s: upstream sent %d bytes of %s, which has %d: %v", r.repo, got.Bytes, d, size, got.Ranges)
		} else if got.Unique() != size {
			t.Errorf("%s: upstream sent %d of the %d bytes of %s", r.repo, got.Unique(), size, d)
		}
	}
}

// mostExcused is how often in a test a processor that has too much to do may keep a holder or S3 from giving a byte in time.
const mostExcused = 5

// excused: each time that a replica gave up another one, or S3, it may have fetched for itself, as it should.
func (s *set) excused(t *testing.T, extra, size int64) bool {
	given := 0.0
	for _, r := range s.replicas {
		m := r.Metrics()
		given += m.Sum("entrepot_cache_replica_reads_total", "result", "failed") + m.Sum("entrepot_cache_s3_failures_total")
	}
	if s.excuses += float64(extra) / float64(size); s.excuses > given || given > mostExcused {
		return false
	}
	t.Logf("%d bytes were fetched again: replicas gave up others or S3 %g times", extra, given)
	return true
}

func (s *set) wantNoLeases(t *testing.T) {
	t.Helper()
	left := func() (all string) {
		for key, file := range s.gateway.Objects() {
			if strings.HasPrefix(key, fillLeases) {
				content, _ := os.ReadFile(file) // it may be gone
				all += key + ": " + string(content) + "\n"
			}
		}
		return all
	}
	wantSoon(t, arrival, "no fill has a lease any more", func() bool { return left() == "" }, left)
}

// A server whose own address leads to any of them is asked for what it asks others.
func TestAnAddressOfAllReplicas(t *testing.T) {
	t.Parallel()
	s := newSet(t, 0, nil)
	for range 2 {
		s.replicas = append(s.replicas, s.newReplica(map[string]string{"ADVERTISE_URL": "http://" + s.front}))
	}
	r, c := s.newRelease("library/app", 20, 4_000, 3_000_000), s.client()
	var pulls sync.WaitGroup
	var slowest atomic.Int64
	for range 20 {
		pulls.Go(func() {
			began := time.Now()
			if err := c.pull(r); err != nil {
				t.Error(err)
			}
			slowest.Store(max(slowest.Load(), int64(time.Since(began))))
		})
	}
	pulls.Wait()
	t.Logf("the slowest pull took %v", time.Duration(slowest.Load()).Round(time.Millisecond))
	s.wantFetches(t, r, 2)
}
