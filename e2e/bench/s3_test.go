package bench

import (
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/e2e/bucket"
	"github.com/entrepot/entrepot/e2e/fakehub"
)

// BenchmarkS3 compares our server with a bucket behind its cache with one without, when they have everything: what a pull
// pays for the tier that it does not need. Both are bound to one processor, the load to another; they take turns.
func BenchmarkS3(b *testing.B) {
	need(b)
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{2500, 1<<20 - 4096, 100 << 20}})
	peers := bucketPeers(b, img)
	for _, w := range []struct {
		work, path string
		load       func(*testing.B, string) load
	}{
		{"manifest by tag, 64 connections", manifestPath(repo, "1"), requests()},
		{"4 KiB blob, 64 connections", blobPath(repo, img.Layers[0].Digest), requests()},
		{"1 MiB blob, 64 connections", blobPath(repo, img.Layers[1].Digest), transfers(64)},
		{"100 MiB blob, 8 connections", blobPath(repo, img.Layers[2].Digest), transfers(8)},
	} {
		b.Run(w.work, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			loads := takeTurns(b, peers, full(15, 7), func(p peer) load { return w.load(b, p.url+w.path) })
			r := row{workColumn: "warm " + w.work + ", with S3 behind the cache"}
			r[diskServer], r[entrepot] = loads[diskServer].String(), loads[entrepot].String()
			r.atLeast(loads[entrepot].rate()/loads[diskServer].rate(), 0.95, "%.2f")
			r[verdict] += fmt.Sprintf(" (processor: %.2f)", loads[diskServer].cost()/loads[entrepot].cost())
			results.add(r)
		})
	}
}

// bucketPeers are servers that have the image, of which one has a bucket too.
func bucketPeers(b *testing.B, img fakehub.Image) []peer {
	b.Helper()
	hub := fakehub.New(b, near())
	hub.Repo(repo).AddImage(img, "1")
	settings, others := bucket.Settings("http://" + bucket.Start(b).Addr)
	settings["TAG_TTL"], settings["ADVERTISE_URL"] = "1h", "http://127.0.0.1:1" // leases are taken too; nobody reads here
	ours, _ := newEntrepot(b, serverCore, hub, settings, others...)
	disk, _ := newEntrepot(b, serverCore, hub, map[string]string{"TAG_TTL": "1h"})
	disk.name = diskServer
	peers := []peer{disk, ours}
	for _, p := range peers {
		for range 2 { // the memory tier shows an object only some time after it was set
			if _, err := p.pull(b.Context(), "1", img); err != nil {
				b.Fatalf("%s: %v", p.name, err)
			}
		}
	}
	return peers
}
