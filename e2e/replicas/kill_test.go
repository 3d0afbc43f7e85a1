package replicas

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// A client whose replica is killed goes on with another one, from where the last answer was.
func TestAPushOutlivesItsReplica(t *testing.T) {
	s := newSet(t, 2, nil)
	dies, lives := newClient(t, s.replicas[0].Addr), newClient(t, s.replicas[1].Addr)
	blob := fakehub.RandomBlob(60, 24_000_000)
	const half = 8_000_000
	at := dies.send(context.Background(), http.MethodPost, "/v2/app/blobs/uploads/", nil).want(t, "begin", http.StatusAccepted).location(t)
	at = dies.send(context.Background(), http.MethodPatch, at, part(blob, 0, half), "Content-Range", "0-7999999").want(t, "send half", http.StatusAccepted).location(t)

	body, sender := io.Pipe()
	ended := make(chan answer, 1)
	go func() {
		ended <- dies.send(context.Background(), http.MethodPatch, at, body, "Content-Type", "application/octet-stream")
	}()
	if _, err := io.Copy(sender, part(blob, half, half+4_000_000)); err != nil {
		t.Fatal(err)
	}
	s.replicas[0].Kill()
	sender.Close()
	if a := <-ended; a.status == http.StatusAccepted {
		t.Fatalf("a killed replica has answered: %v", a)
	}

	status := lives.get(at).want(t, "ask another replica", http.StatusNoContent)
	if got := status.header.Get("Range"); got != "0-7999999" {
		t.Fatalf("the upload has %s", got)
	}
	at = lives.send(context.Background(), http.MethodPatch, at, part(blob, half, blob.Size), "Content-Range", "8000000-23999999").
		want(t, "send the rest", http.StatusAccepted).location(t)
	lives.send(context.Background(), http.MethodPut, withDigest(at, blob.Digest), nil).want(t, "close", http.StatusCreated)
	wantBlob(t, lives, blob)

	s.replicas[0].Start()
	wantBlob(t, dies, blob)
	if out, code := s.replicas[0].Run("gc", "--grace", "0s", "--json"); code != 0 {
		t.Errorf("gc: %d\n%s", code, out)
	}
}

func wantBlob(t *testing.T, c *client, b fakehub.Blob) {
	t.Helper()
	began := time.Now()
	got := c.get("/v2/app/blobs/"+b.Digest.String()).want(t, "pull", http.StatusOK)
	if digest.FromBytes(got.body) != b.Digest {
		t.Errorf("%d other bytes after %v", len(got.body), time.Since(began))
	}
}
