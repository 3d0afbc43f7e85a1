package replicas

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// variant is a manifest like an image's that nobody else has.
func variant(t *testing.T, img fakehub.Image, n int) fakehub.Manifest {
	t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: img.Config.Descriptor, Annotations: map[string]string{"number": fmt.Sprint(n)},
	}
	for _, l := range img.Layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return fakehub.NewManifest(m.MediaType, text)
}

// What writers and readers of all replicas see is as if one after the other had come to one server: no write is lost, and
// nobody sees an older value after somebody has seen a newer one.
func TestAHundredWritersMoveOneTag(t *testing.T) {
	const writers, readers = 100, 4
	s := newSet(t, 3, nil)
	c := s.client()
	img := newImage(20, 1000)
	h := &history{started: time.Now()}
	write := func(c *client, m fakehub.Manifest) {
		began := time.Now()
		if a := c.pushManifest("app", "latest", m); a.err != nil || a.status != http.StatusCreated {
			t.Errorf("write: %v", a)
		}
		h.did(m.Digest.String(), true, began)
	}
	read := func(c *client) (value string) {
		began := time.Now()
		a := c.get("/v2/app/manifests/latest")
		value = digest.FromBytes(a.body).String()
		if a.err != nil || a.status != http.StatusOK || a.header.Get("Docker-Content-Digest") != value {
			t.Errorf("read: %v", a)
		}
		h.did(value, false, began)
		return value
	}
	for _, b := range img.Blobs() {
		c.pushBlob("app", b).want(t, "push a blob", http.StatusCreated)
	}
	write(c, img.Manifest)

	over := make(chan struct{})
	var reading, writing sync.WaitGroup
	for i := range readers { // one at each replica, and one at all in turn
		c := s.client()
		if i < len(s.replicas) {
			c = newClient(t, s.replicas[i].Addr)
		}
		reading.Go(func() { // until over
			for seen := map[string]bool{}; ; seen[read(c)] = true {
				select {
				case <-over:
					if len(seen) < 3 {
						t.Errorf("a reader has seen %d values", len(seen))
					}
					return
				default:
				}
			}
		})
	}
	manifests := []fakehub.Manifest{img.Manifest}
	for n := range writers {
		first, second := variant(t, img, n), variant(t, img, writers+n)
		manifests = append(manifests, first)
		writing.Go(func() {
			write(c, first)
			read(c) // of another replica
		})
		if n%4 == 0 {
			manifests = append(manifests, second)
			writing.Go(func() {
				read(c)
				write(c, second)
			})
		}
	}
	writing.Wait()
	close(over)
	reading.Wait()

	final := read(c)
	for _, r := range s.replicas {
		if now := read(newClient(t, r.Addr)); now != final {
			t.Errorf("at the end it is %s; another replica says %s", now, final)
		}
	}
	if err := h.order(); err != nil {
		t.Errorf("of %d reads and writes: %v", len(h.all), err)
	}
	t.Logf("%d reads and writes in %v", len(h.all), time.Since(h.started).Round(time.Millisecond))
	for _, m := range manifests { // none of them is lost
		c.get("/v2/app/manifests/"+m.Digest.String()).want(t, "pull what was pushed", http.StatusOK)
	}
}
