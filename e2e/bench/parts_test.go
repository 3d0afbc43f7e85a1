package bench

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// BenchmarkRange asks for parts of a large blob that nobody has pulled yet, as lazy readers do.
func BenchmarkRange(b *testing.B) {
	need(b)
	const size, middle, footer = 500 << 20, 1 << 20, 20 << 10
	for _, c := range []struct {
		work, header string
		peers        func(*testing.B, *fakehub.Hub) []peer
	}{
		{"1 MiB in the middle of a cold blob of 500 MiB", fmt.Sprintf("bytes=%d-%d", size/2, size/2+middle-1), caches},
		{"the last 20 KiB of a cold blob of 500 MiB", fmt.Sprintf("bytes=-%d", footer), directAndOurs},
	} {
		b.Run(c.work, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			hub := fakehub.New(b, far())
			blob := fakehub.RandomBlob(1, size)
			hub.Repo(repo).AddBlob(blob)
			r := row{workColumn: c.work}
			for _, p := range c.peers(b, hub) {
				client, end := p.client()
				defer end()
				a, err := ask(b.Context(), client, http.MethodGet, p.url+blobPath(repo, blob.Digest), everything, "Range", c.header)
				if err != nil {
					b.Fatalf("%s: %v", p.name, err)
				}
				r[p.name] = fmt.Sprintf("%s, %d", seconds(a.took), a.status)
				if p.name == entrepot {
					r.atMost(a.took.Seconds(), 0.2, "%.2f s")
				} else {
					settle(hub, blob) // what it fetches behind its answer would disturb the next
				}
			}
			results.add(r)
		})
	}
}

// directAndOurs leaves out those who fetch the whole blob for its end: one row shows that.
func directAndOurs(b *testing.B, hub *fakehub.Hub) []peer {
	b.Helper()
	return append([]peer{upstream(b, hub)}, onlyOurs(b, hub)...)
}

// BenchmarkLeaver has the only client of a cold layer leave after a tenth of it, and asks for the layer later.
func BenchmarkLeaver(b *testing.B) {
	need(b)
	hub := fakehub.New(b, far())
	blob := fakehub.RandomBlob(1, full[int64](300<<20, 64<<20))
	hub.Repo(repo).AddBlob(blob)
	r := row{workColumn: "the client leaves after 10 % of a cold layer: a minute later upstream's bytes / the layer's, and the next answer"}
	for _, p := range caches(b, hub)[1:] {
		hub.ResetCounters()
		client, end := p.client()
		defer end()
		url := p.url + blobPath(repo, blob.Digest)
		if _, err := ask(b.Context(), client, http.MethodGet, url, blob.Size/10); err != nil {
			b.Fatalf("%s: %v", p.name, err)
		}
		settle(hub, blob)
		a, err := ask(b.Context(), client, http.MethodGet, url, everything)
		times := float64(hub.BlobBytes(blob)) / float64(blob.Size)
		whole := err == nil && a.status == http.StatusOK && a.n == blob.Size
		r[p.name] = fmt.Sprintf("%.2f, %d, whole: %t", times, a.status, whole)
		if p.name == entrepot {
			r.atMost(times, 1, "%.2f")
		}
	}
	results.add(r)
}

// settle waits until upstream has sent the blob, or nothing of it for a while.
func settle(hub *fakehub.Hub, blob fakehub.Blob) {
	sent, quiet := int64(-1), 0
	for deadline := time.Now().Add(time.Minute); quiet < 20 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		now := hub.BlobBytes(blob)
		if quiet++; now != sent {
			sent, quiet = now, 0
		}
	}
}
