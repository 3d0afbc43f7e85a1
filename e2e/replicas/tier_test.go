package replicas

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/entrepot/entrepot/e2e/server"
)

// tiers is how many answers with content came from a tier.
func tiers(r *server.Server, tier string) float64 {
	return r.Metrics().Sum("entrepot_http_requests_total", "tier", tier)
}

func TestANewReplicaServesFromTheBucketAlone(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{"with leases": leases, "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSet(t, 1, env)
			r := s.newRelease("library/app", 40, 4_000, 300_000, 12_000_000)
			newClient(t, s.replicas[0].Addr).wantPull(t, r)
			s.gateway.wantStored(t, r)
			s.replicas[0].Kill()
			s.hub.Down()

			pulls := s.newReplica(map[string]string{"TAG_TTL": "1ms"})
			c := newClient(t, pulls.Addr)
			c.wantRefused(t, "content of a repository that was not seen to have it", "/v2/library/other/blobs/"+r.image.Layers[1].Digest.String())
			c.wantRefused(t, "a manifest of such a repository", "/v2/library/other/manifests/"+r.image.Manifest.Digest.String())
			tag := c.get(r.manifestPath(r.tag)).want(t, "pull the tag", http.StatusOK)
			if tag.header.Get("Warning") == "" {
				t.Error("a tag past its time comes without a Warning")
			}
			took := c.wantPull(t, r)
			t.Logf("pulled from the bucket in %v", took)
			if got := tiers(pulls, "s3"); got == 0 {
				t.Error("no answer is counted as the bucket's")
			}
			c.wantRefused(t, "what is here by now, of a repository that was not seen to have it", "/v2/library/other/blobs/"+r.image.Layers[1].Digest.String())
			if got := tiers(pulls, "upstream"); got != 0 {
				t.Errorf("%v answers are counted as upstream's", got)
			}
			s.wantPartsFromTheBucket(t, r)
		})
	}
}

func (c *client) wantRefused(t *testing.T, what, path string) {
	t.Helper()
	if f := c.fetch(context.Background(), path, nil); f.status < 400 {
		t.Errorf("%s: %s", what, f)
	}
}

// wantPartsFromTheBucket asks a replica that has nothing for HEADs, then another one for ranges.
func (s *set) wantPartsFromTheBucket(t *testing.T, r release) {
	t.Helper()
	c := newClient(t, s.newReplica(nil).Addr)
	layer := r.image.Layers[2]
	for path, size := range map[string]int64{
		r.manifestPath(r.tag): r.index.Size, r.manifestPath(r.image.Manifest.Digest.String()): r.image.Manifest.Size,
		r.blobPath(r.image.Config.Digest): r.image.Config.Size, r.blobPath(layer.Digest): layer.Size,
	} {
		a := c.send(context.Background(), http.MethodHead, path, nil).want(t, "HEAD "+path, http.StatusOK)
		if got := a.header.Get("Content-Length"); got != fmt.Sprint(size) {
			t.Errorf("HEAD %s: %s bytes, want %d", path, got, size)
		}
	}
	c = newClient(t, s.newReplica(nil).Addr)
	for _, span := range []struct {
		header   string
		from, to int64
	}{
		{"bytes=5000000-5999999", 5_000_000, 6_000_000},
		{"bytes=-20000", layer.Size - 20_000, layer.Size},
		{"bytes=0-0", 0, 1},
		{"bytes=11000000-", 11_000_000, layer.Size},
	} {
		want, err := io.ReadAll(part(layer, span.from, span.to))
		if err != nil {
			t.Fatal(err)
		}
		a := c.send(context.Background(), http.MethodGet, r.blobPath(layer.Digest), nil, "Range", span.header).want(t, span.header, http.StatusPartialContent)
		if !bytes.Equal(a.body, want) {
			t.Errorf("%s: %d other bytes", span.header, len(a.body))
		}
	}
	c.send(context.Background(), http.MethodGet, r.blobPath(layer.Digest), nil, "Range", "bytes=99000000-").want(t, "a range beyond the end", http.StatusRequestedRangeNotSatisfiable)
}

// What the disk of a replica does not hold goes through it.
func TestDisksThatAreTooSmall(t *testing.T) {
	t.Parallel()
	for name, small := range map[string]string{"less than a layer": "8MiB", "none": "0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSet(t, 1, leases)
			stored := s.newRelease("library/stored", 50, 4_000, 300_000, 20_000_000)
			fresh := s.newRelease("library/fresh", 51, 4_000, 300_000, 20_000_000)
			newClient(t, s.replicas[0].Addr).wantPull(t, stored)
			s.gateway.wantStored(t, stored)

			c := newClient(t, s.newReplica(map[string]string{"DISK_SIZE": small, "MEMORY_SIZE": "4MiB"}).Addr)
			for range 2 {
				c.wantPull(t, stored)
				c.wantPull(t, fresh)
			}
			newClient(t, s.replicas[0].Addr).wantPull(t, fresh)
			s.gateway.wantStored(t, fresh)
			s.hub.Down()
			for _, r := range []release{stored, fresh} {
				c.wantPull(t, r)
				newClient(t, s.newReplica(map[string]string{"DISK_SIZE": small}).Addr).wantPull(t, r)
			}
		})
	}
}

// What is purged at one server is not found in the bucket by any other that has not got it.
func TestAPurgeIsOfTheBucketToo(t *testing.T) {
	t.Parallel()
	s := newSet(t, 1, nil)
	r, stays := s.newRelease("library/app", 60, 4_000, 300_000), s.newRelease("library/stays", 61, 4_000)
	c := newClient(t, s.replicas[0].Addr)
	c.wantPull(t, r)
	c.wantPull(t, stays)
	s.gateway.wantStored(t, r)
	s.gateway.wantStored(t, stays)
	if out, code := s.replicas[0].Run("purge", "docker.io/library/app"); code != 0 {
		t.Fatalf("purge: %d\n%s", code, out)
	}
	for _, file := range []string{
		s.gateway.tagFile(r.repo, r.tag), s.gateway.manifestFile(r.index.Digest), s.gateway.manifestFile(r.image.Manifest.Digest),
		s.gateway.blobFile(r.image.Layers[0].Digest), s.gateway.blobFile(r.image.Layers[1].Digest), s.gateway.seenFile(r.repo, r.index.Digest),
	} {
		if has(file, "") {
			t.Errorf("the bucket still has %s", file)
		}
	}
	s.hub.ResetCounters()
	c.wantPull(t, r)
	for _, b := range r.image.Blobs() {
		if got := s.hub.Served(b.Digest).Bytes; got != b.Size {
			t.Errorf("upstream sent %d of %d bytes of %s after the purge", got, b.Size, b.Digest)
		}
	}
	for _, m := range r.manifests() {
		if got := s.hub.Served(m.Digest).Bytes; got != m.Size {
			t.Errorf("upstream sent %d of %d bytes of manifest %s after the purge", got, m.Size, m.Digest)
		}
	}
	s.gateway.wantStored(t, r)
	s.hub.Down()
	newClient(t, s.newReplica(nil).Addr).wantPull(t, stays)
}
