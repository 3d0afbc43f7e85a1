package bench

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// BenchmarkMemory has 64 clients pull blobs of 1 GiB that are cached, and many small ones that fill the memory tier.
func BenchmarkMemory(b *testing.B) {
	need(b)
	hub := fakehub.New(b, near())
	big := fakehub.NewImage(fakehub.Spec{Layers: []int64{1 << 30}})
	hub.Repo(repo).AddImage(big, "1")
	for _, tier := range []int64{256, 16} {
		b.Run(fmt.Sprintf("%d MiB tier", tier), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			ours, _ := newEntrepot(b, serverCore, hub, map[string]string{"MEMORY_SIZE": fmt.Sprintf("%dMiB", tier)})
			peers := []peer{ours}
			if tier == 256 {
				peers = append(peers, distribution(b, serverCore, hub))
			}
			r := row{workColumn: fmt.Sprintf("memory at most, 64 clients of a warm blob of 1 GiB, memory tier of %d MiB", tier)}
			for _, p := range peers {
				if _, err := p.pull(b.Context(), "1", big); err != nil {
					b.Fatalf("%s: %v", p.name, err)
				}
				transfers(64)(b, p.url+blobPath(repo, big.Layers[0].Digest))
				r[p.name] = mebibytes(peak(b, p.pid))
			}
			r.atMost(float64(peak(b, ours.pid)>>20), float64(tier+64), "%.0f MiB")
			results.add(r)
			churn(b, hub, ours, tier)
			r = row{workColumn: "— after blobs of half a MiB, twice what the tier holds", entrepot: mebibytes(peak(b, ours.pid))}
			r.atMost(float64(peak(b, ours.pid)>>20), float64(tier+64), "%.0f MiB")
			results.add(r)
		})
	}
}

// churn pulls small blobs three times over, by sixteen clients.
func churn(b *testing.B, hub *fakehub.Hub, p peer, tier int64) {
	b.Helper()
	var images []fakehub.Image
	size := min(int64(500<<10), tier<<20/256-4096)
	for n := int64(0); n < 2*tier<<20; n += 8 * size {
		img := fakehub.NewImage(fakehub.Spec{Seed: uint64(1000 + n), Layers: []int64{size, size, size, size, size, size, size, size}})
		hub.Repo(repo).AddImage(img, fmt.Sprintf("small-%d", len(images)))
		images = append(images, img)
	}
	for range 3 {
		var group errgroup.Group
		group.SetLimit(16)
		for i, img := range images {
			group.Go(func() error {
				_, err := p.pull(b.Context(), fmt.Sprintf("small-%d", i), img)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}
