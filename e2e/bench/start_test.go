package bench

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// BenchmarkStart measures how long a server with many cached blobs takes to be ready, after an orderly stop and after a kill.
func BenchmarkStart(b *testing.B) {
	need(b)
	hub := fakehub.New(b, near())
	ours, s := newEntrepot(b, anyCore, hub, nil)
	blobs := full(100_000, 20_000)
	fillWith(b, hub, ours, blobs)
	for _, c := range []struct {
		after string
		stop  func(*server.Server)
	}{
		{"a stop", func(s *server.Server) { s.Stop() }},
		{"a kill", func(s *server.Server) { s.Kill() }},
	} {
		c.stop(s)
		began := time.Now()
		s.Start()
		took := time.Since(began)
		if n := s.Metrics().Sum("entrepot_disk_blobs"); n < float64(blobs) {
			b.Errorf("%.0f of %d blobs are there after %s", n, blobs, c.after)
		}
		r := row{workColumn: fmt.Sprintf("ready with %d blobs after %s", blobs, c.after), entrepot: seconds(took)}
		r.atMost(took.Seconds(), 1, "%.2f s")
		results.add(r)
	}
}

// fillWith has the server cache so many small blobs.
func fillWith(b *testing.B, hub *fakehub.Hub, p peer, blobs int) {
	b.Helper()
	client, end := p.client()
	defer end()
	const batch = 1000
	for first := 0; first < blobs; first += batch {
		var group errgroup.Group
		group.SetLimit(8)
		for i := range min(batch, blobs-first) {
			blob := fakehub.RandomBlob(uint64(first+i), 200)
			hub.Repo(repo).AddBlob(blob)
			group.Go(func() error { return whole(b.Context(), client, p.url, blob) })
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		hub.ResetCounters() // it remembers every request
	}
}

func whole(ctx context.Context, client *http.Client, url string, blob fakehub.Blob) error {
	a, err := ask(ctx, client, http.MethodGet, url+blobPath(repo, blob.Digest), everything)
	if err == nil && (a.status != http.StatusOK || a.n != blob.Size) {
		err = fmt.Errorf("blob %s: status %d, %d bytes", blob.Digest, a.status, a.n)
	}
	return err
}
