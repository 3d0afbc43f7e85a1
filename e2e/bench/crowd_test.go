package bench

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// BenchmarkCrowd has many clients pull one cold image at once.
func BenchmarkCrowd(b *testing.B) {
	need(b)
	for _, c := range []struct {
		clients   int
		layer     int64
		firstByte time.Duration // of the slowest in a hundred
	}{
		{32, full[int64](100<<20, 16<<20), 300 * time.Millisecond},
		{256, full[int64](32<<20, 4<<20), time.Second},
	} {
		b.Run(fmt.Sprint(c.clients), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			img := fakehub.NewImage(fakehub.Spec{Layers: []int64{c.layer, c.layer, c.layer}})
			work := fmt.Sprintf("%d clients, one cold image of 3 × %s: upstream's bytes / unique ones", c.clients, mebibytes(c.layer))
			bytes, first, memory := row{workColumn: work}, row{workColumn: "— first layer byte, p99"}, row{workColumn: "— memory at most"}
			hub := fakehub.New(b, far())
			hub.Repo(repo).AddImage(img, "1")
			for _, p := range caches(b, hub)[1:] {
				if p.name == proxying && c.clients > 32 && !long {
					continue // it fetches the image for each client, and takes a minute
				}
				hub.ResetCounters()
				firsts := p.crowd(b, c.clients, img)
				p99 := percentile(firsts, 99)
				times := float64(hub.BlobBytes(img.Blobs()...)) / float64(img.Size())
				bytes[p.name], first[p.name], memory[p.name] = fmt.Sprintf("%.2f", times), seconds(p99), mebibytes(peak(b, p.pid))
				if p.name == entrepot {
					bytes.atMost(times, 1, "%.2f")
					first.atMost(p99.Seconds(), c.firstByte.Seconds(), "%.2f s")
					memory.atMost(float64(peak(b, p.pid)>>20), smallTierMiB+64, "%.0f MiB")
				}
			}
			results.add(bytes)
			results.add(first)
			results.add(memory)
		})
	}
}

// crowd pulls with so many clients at once, and gives their times to the first byte of a layer.
func (p peer) crowd(b *testing.B, clients int, img fakehub.Image) []time.Duration {
	b.Helper()
	firsts := make([]time.Duration, clients)
	var group errgroup.Group
	for i := range clients {
		group.Go(func() error {
			t, err := p.pull(b.Context(), "1", img)
			firsts[i] = t.firstLayer
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatalf("%s: %v", p.name, err)
	}
	return firsts
}
