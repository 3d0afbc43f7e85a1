package replicas

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

const (
	leaseLife = 10 * time.Second // after which a lease that nobody renews is taken over
	steady    = 500_000          // bytes a second of each connection to the hub: seconds for a large layer
	trickle   = 150_000          // longer than a lease's life for it
)

// reading is a blob on its way to a client.
type reading struct {
	taken atomic.Int64
	ended chan fetched
}

func read(ctx context.Context, t *testing.T, r *server.Server, path string, header ...string) *reading {
	reads := &reading{ended: make(chan fetched, 1)}
	c := newClient(t, r.Addr)
	go func() { reads.ended <- c.fetch(ctx, path, &reads.taken, header...) }() // ends with the answer
	return reads
}

func (r *reading) wantBytes(t *testing.T, n int64) {
	t.Helper()
	wantSoon(t, arrival, "the client has bytes", func() bool { return r.taken.Load() >= n }, func() string { return "" })
}

func TestReadersOutliveTheHolder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signal syscall.Signal
		lives  bool
	}{"killed": {syscall.SIGKILL, false}, "silent": {syscall.SIGSTOP, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSet(t, 3, leases)
			layer := fakehub.RandomBlob(uint64(c.signal), 20<<20)
			s.hub.Repo("library/app").AddBlob(layer)
			s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = steady })
			path := "/v2/library/app/blobs/" + layer.Digest.String()

			holder := s.replicas[0]
			first := read(t.Context(), t, holder, path)
			first.wantBytes(t, 1)
			if record := s.gateway.lease(layer.Digest); !strings.Contains(record, holder.URL) {
				t.Fatalf("the lease is %q, want one that names %s", record, holder.URL)
			}
			others := []*reading{read(t.Context(), t, s.replicas[1], path), read(t.Context(), t, s.replicas[2], path)}
			for _, o := range others {
				o.wantBytes(t, 600_000)
			}
			if twice := s.hub.Served(layer.Digest).Twice(); twice > 0 {
				t.Errorf("with a holder, upstream sent %d bytes twice", twice)
			}

			s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = trickle })
			holder.Signal(c.signal)
			began := time.Now()
			wantSoon(t, leaseLife+10*time.Second, "another one has the lease", func() bool {
				return !strings.Contains(s.gateway.lease(layer.Digest), holder.URL)
			}, func() string { return s.gateway.lease(layer.Digest) })
			t.Logf("the lease of %s is another's after %v", name, time.Since(began).Round(time.Millisecond))
			s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = 0 })
			for _, o := range others {
				f := <-o.ended
				if err := f.is(layer.Digest); err != nil {
					t.Error(err)
				}
				t.Logf("a reader has it %v after the holder went", time.Since(began).Round(time.Millisecond))
			}
			if sent := s.hub.Served(layer.Digest).Bytes; sent >= 3*layer.Size {
				t.Errorf("upstream sent %d bytes of %d", sent, layer.Size)
			} else {
				t.Logf("upstream sent %.2f times the layer", float64(sent)/float64(layer.Size))
			}
			if c.lives {
				holder.Signal(syscall.SIGCONT)
				if err := (<-first.ended).is(layer.Digest); err != nil {
					t.Errorf("the client of the holder that went on: %v", err)
				}
			} else if f := <-first.ended; f.err == nil {
				t.Errorf("a killed server has answered whole: %s", f)
			}
			s.wantNoLeases(t)
			wantSoon(t, arrival, "the bucket has the layer", func() bool { return has(s.gateway.blobFile(layer.Digest), layer.Digest) }, func() string { return "" })
		})
	}
}

// Who dies before it has a byte leaves a lease that nobody waits out.
func TestAHolderThatDiesBeforeItsFirstByte(t *testing.T) {
	t.Parallel()
	s := newSet(t, 2, leases)
	r := s.newRelease("library/app", 30, 4_000, 300_000)
	hangs := s.hub.Inject(fakehub.Fault{Kind: fakehub.KindManifestGet, Digest: r.image.Manifest.Digest, Count: 1, Do: fakehub.Hang()})
	first := read(t.Context(), t, s.replicas[0], r.manifestPath(r.image.Manifest.Digest.String()))
	wantSoon(t, arrival, "it has the lease, and waits for upstream", func() bool {
		return hangs.Hits() > 0 && strings.Contains(s.gateway.lease(r.image.Manifest.Digest), s.replicas[0].URL)
	}, func() string { return "" })
	s.replicas[0].Kill()
	<-first.ended
	took := newClient(t, s.replicas[1].Addr).wantPull(t, r)
	t.Logf("a pull took %v", took.Round(time.Millisecond))
	if took >= leaseLife {
		t.Error("it waited for the lease to end")
	}
	s.wantNoLeases(t)
}
