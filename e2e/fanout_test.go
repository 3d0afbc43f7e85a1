package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// likeHub is the upstream that the figures are stated for.
func likeHub() fakehub.Options {
	return fakehub.Options{Bandwidth: 25e6, Latency: 30 * time.Millisecond}
}

func TestManyClientsOneColdImage(t *testing.T) {
	for _, c := range []struct {
		clients   int
		layer     int64
		overTLS   bool
		firstByte time.Duration // of the slowest in a hundred; asserted in the long form
	}{
		{1, full[int64](100<<20, 4<<20), false, 0},
		{32, full[int64](100<<20, 8<<20), false, 300 * time.Millisecond},
		{32, full[int64](100<<20, 8<<20), true, 300 * time.Millisecond},
		{256, full[int64](32<<20, 2<<20), false, time.Second},
	} {
		t.Run(fmt.Sprintf("%d clients, TLS %v", c.clients, c.overTLS), func(t *testing.T) {
			o := likeHub()
			o.TLS = c.overTLS
			s := newSite(t, o)
			img := fakehub.NewImage(fakehub.Spec{Layers: []int64{c.layer, c.layer, c.layer}, Docker: true})
			s.hub.Repo("library/app").AddImage(img, "1")
			firsts := s.pullMany(c.clients, img)
			s.wantOnce(img.Blobs()...)
			if sent := s.hub.Served(img.Manifest.Digest).Bytes; sent != img.Manifest.Size {
				t.Errorf("upstream sent %d bytes of the manifest, which has %d", sent, img.Manifest.Size)
			}
			slices.Sort(firsts)
			p99 := firsts[(len(firsts)*99+99)/100-1]
			t.Logf("first layer byte: median %v, p99 %v; peak memory %d MiB", firsts[len(firsts)/2], p99, s.server.PeakRSS()>>20)
			if long && c.firstByte > 0 && p99 > c.firstByte {
				t.Errorf("first layer byte, p99: %v, want %v", p99, c.firstByte)
			}
		})
	}
}

// pullMany pulls with as many clients at once, and gives their times to the first byte of a layer.
func (s site) pullMany(clients int, img fakehub.Image) []time.Duration {
	s.Helper()
	var group errgroup.Group
	firsts := make([]time.Duration, clients)
	for i := range clients {
		group.Go(func() error {
			p, err := s.client.pull(context.Background(), "library/app", "1", img)
			firsts[i] = p.firstLayer
			return err
		})
	}
	if err := group.Wait(); err != nil {
		s.Fatal(err)
	}
	return firsts
}

func TestFirstByteIsNotLaterThanUpstreams(t *testing.T) {
	o := likeHub()
	o.NoAuth = true
	s := newSite(t, o)
	direct := &client{s.hub.URL(), s.client.http}
	var extra []time.Duration
	for i := range 5 {
		b := fakehub.RandomBlob(uint64(i), 8<<20)
		s.hub.Repo("library/app").AddBlob(b)
		without := direct.pullBlob(context.Background(), "library/app", b)
		extra = append(extra, s.wantBlob("library/app", b).first-without.first)
	}
	t.Logf("first byte after a direct client's: %v", extra)
	if fastest := slices.Min(extra); fastest > full(20*time.Millisecond, 150*time.Millisecond) {
		t.Errorf("the first byte came %v after a direct client's at best", fastest)
	}
}

// leave reads n bytes of a blob and closes the connection.
func (s site) leave(repo string, b fakehub.Blob, n int64) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+blobPath(repo, b.Digest), nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := s.client.http.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, n); err != nil {
		s.Fatalf("read the first %d bytes: %v", n, err)
	}
}

func TestFirstClientLeavesAndOthersDoNotNotice(t *testing.T) {
	o := likeHub()
	o.Bandwidth = 4e6 // the fill is still under way when the others come
	s := newSite(t, o)
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{full[int64](100<<20, 16<<20)}})
	s.hub.Repo("library/app").AddImage(img, "1")
	layer := img.Layers[0]
	s.leave("library/app", layer, layer.Size/10)
	s.pullMany(32, img)
	s.wantOnce(img.Blobs()...)
}

func TestOnlyClientLeavesAndTheFillCompletes(t *testing.T) {
	s := newSite(t, likeHub())
	b := fakehub.RandomBlob(1, full[int64](300<<20, 24<<20))
	s.hub.Repo("library/app").AddBlob(b)
	s.leave("library/app", b, b.Size/10)
	s.kept(1) // nobody waits for it
	s.hub.Down()
	s.wantBlob("library/app", b)
	s.wantOnce(b)
}

func TestLayersOfAManifestAreFetchedAhead(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{3 << 20, 3 << 20, 3 << 20}})
	s.hub.Repo("library/app").AddImage(img, "1")
	s.client.get(manifestPath("library/app", "1"), nil)
	s.wantBlob("library/app", img.Config)
	if n := s.hub.BlobBytes(img.Layers...); n != 0 {
		t.Errorf("%d bytes of layers were fetched for a manifest and its config", n)
	}
	s.wantBlob("library/app", img.Layers[0])
	s.kept(3)
	s.wantOnce(img.Layers...)
}

func TestColdPullAgainstDirect(t *testing.T) {
	s := newSite(t, likeHub())
	size := full[int64](100<<20, 20<<20)
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{size, size, size}})
	s.hub.Repo("library/app").AddImage(img, "1")
	took := s.wantPull("library/app", "1", img).took
	direct := time.Duration(float64(img.Layers[0].Size)/25e6*float64(time.Second)) + 6*30*time.Millisecond
	t.Logf("cold pull %v; directly, three layers at once, about %v: %.2f of it", took, direct, took.Seconds()/direct.Seconds())
	if long && took > direct/2 {
		t.Errorf("a cold pull took %v, more than half of %v", took, direct)
	}
}
