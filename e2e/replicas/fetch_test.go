package replicas

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// fetching has replica 0 fetch a large layer, slowly, for as long as a client of it reads.
func (s *set) fetching(t *testing.T, layer fakehub.Blob) (path string, first *reading) {
	t.Helper()
	s.hub.Repo("library/app").AddBlob(layer)
	s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = steady })
	path = "/v2/library/app/blobs/" + layer.Digest.String()
	first = read(t.Context(), t, s.replicas[0], path)
	first.wantBytes(t, 1)
	if record := s.gateway.lease(layer.Digest); !strings.Contains(record, s.replicas[0].URL) {
		t.Fatalf("the lease is %q, want one that names %s", record, s.replicas[0].URL)
	}
	return path, first
}

func TestARangeThroughTheHolderDoesNotWaitForTheFront(t *testing.T) {
	t.Parallel()
	s := newSet(t, 2, leases)
	layer := fakehub.RandomBlob(90, 40<<20)
	path, first := s.fetching(t, layer)
	want, err := io.ReadAll(part(layer, 35_000_000, 35_100_000))
	if err != nil {
		t.Fatal(err)
	}
	a := newClient(t, s.replicas[1].Addr).send(context.Background(), http.MethodGet, path, nil, "Range", "bytes=35000000-35099999").want(t, "a range", http.StatusPartialContent)
	if !bytes.Equal(a.body, want) {
		t.Errorf("%d other bytes", len(a.body))
	}
	t.Logf("a range of what another one fetches: %v", a.took.Round(time.Millisecond))
	if front := first.taken.Load(); front > 30_000_000 {
		t.Errorf("by then the front was at %d", front)
	}
	s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = 0 })
	if err := (<-first.ended).is(layer.Digest); err != nil {
		t.Error(err)
	}
}

// A holder that is told to stop hands over: nobody waits for its lease to end.
func TestAHolderThatStops(t *testing.T) {
	t.Parallel()
	s := newSet(t, 2, map[string]string{"ADVERTISE_URL": leases["ADVERTISE_URL"], "DRAIN_TIMEOUT": "500ms"})
	layer := fakehub.RandomBlob(91, 20<<20)
	path, first := s.fetching(t, layer)
	other := read(t.Context(), t, s.replicas[1], path)
	other.wantBytes(t, 600_000)
	if code := s.replicas[0].Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	<-first.ended
	if record := s.gateway.lease(layer.Digest); strings.Contains(record, s.replicas[0].URL) {
		t.Errorf("a server that has ended still has the lease: %s", record)
	}
	s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = 0 })
	if err := (<-other.ended).is(layer.Digest); err != nil {
		t.Error(err)
	}
	s.replicas[0].Start()
	if err := (<-read(t.Context(), t, s.replicas[0], path).ended).is(layer.Digest); err != nil {
		t.Error(err)
	}
	s.wantNoLeases(t)
}

// A holder that is killed and comes back finds its own lease.
func TestAHolderThatComesBack(t *testing.T) {
	t.Parallel()
	s := newSet(t, 2, leases)
	layer := fakehub.RandomBlob(92, 20<<20)
	path, first := s.fetching(t, layer)
	s.replicas[0].Kill()
	<-first.ended
	s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = 4 * steady })
	s.replicas[0].Start()
	again, other := read(t.Context(), t, s.replicas[0], path), read(t.Context(), t, s.replicas[1], path)
	for _, r := range []*reading{again, other} {
		if err := (<-r.ended).is(layer.Digest); err != nil {
			t.Error(err)
		}
	}
	s.wantNoLeases(t)
}

func TestWhatUpstreamDoesNotHaveIsNowhere(t *testing.T) {
	t.Parallel()
	s := newSet(t, 2, leases)
	s.newRelease("library/app", 93, 4_000)
	none := digest.FromString("nobody has this")
	for _, replica := range s.replicas {
		c := newClient(t, replica.Addr)
		for _, path := range []string{"/v2/library/app/blobs/" + none.String(), "/v2/library/app/manifests/" + none.String(), "/v2/library/app/manifests/none"} {
			c.get(path).want(t, path, http.StatusNotFound)
			c.send(context.Background(), http.MethodHead, path, nil).want(t, "HEAD "+path, http.StatusNotFound)
		}
	}
	s.wantNoLeases(t)
}

// Bytes are kept once for all repositories, and upstream is asked whether one has them.
func TestABlobOfTwoRepositoriesIsOneFetch(t *testing.T) {
	t.Parallel()
	s := newSet(t, 2, leases)
	r := s.newRelease("library/app", 94, 4_000, 3_000_000)
	other := r
	other.repo = "library/other"
	s.hub.Repo(other.repo).AddIndex(r.index, []fakehub.Image{r.image, r.other}, r.tag)
	newClient(t, s.replicas[0].Addr).wantPull(t, r)
	s.gateway.wantStored(t, r)
	newClient(t, s.replicas[1].Addr).wantPull(t, other)
	s.wantFetches(t, r, 1)
}
