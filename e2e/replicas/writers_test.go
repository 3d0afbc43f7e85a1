package replicas

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

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

func TestAHundredWritersMoveOneTag(t *testing.T) {
	const writers, readers = 100, 4
	s := newSet(t, 3, nil)
	c := s.client()
	img := newImage(20, 1000)
	c.pushImage(t, "app", "latest", img)
	written := map[digest.Digest]bool{}
	var manifests []fakehub.Manifest
	for n := range writers {
		m := variant(t, img, n)
		manifests, written[m.Digest] = append(manifests, m), true
	}

	over := make(chan struct{})
	var reading, writing sync.WaitGroup
	for range readers {
		reading.Go(func() { // until over
			left, last := map[string]bool{}, img.Manifest.Digest.String()
			for reads := 0; ; reads++ {
				select {
				case <-over:
					if len(left) == 0 {
						t.Errorf("in %d reads the tag never moved", reads)
					}
					return
				default:
				}
				a := c.get("/v2/app/manifests/latest")
				if a.err != nil || a.status != http.StatusOK {
					t.Errorf("read: %v", a)
					return
				}
				now := digest.FromBytes(a.body).String()
				if left[now] {
					t.Errorf("the tag went back to %s", now)
					return
				}
				if now != last {
					left[last], last = true, now
				}
			}
		})
	}
	for _, m := range manifests {
		writing.Go(func() {
			if a := c.pushManifest("app", "latest", m); a.err != nil || a.status != http.StatusCreated {
				t.Errorf("write: %v", a)
			}
		})
	}
	writing.Wait()
	close(over)
	reading.Wait()

	final := ""
	for _, r := range s.replicas {
		a := newClient(t, r.Addr).get("/v2/app/manifests/latest").want(t, "read at the end", http.StatusOK)
		if d := digest.FromBytes(a.body); !written[d] || final != "" && final != d.String() {
			t.Errorf("at the end it is %s; another replica says %s", d, final)
		} else {
			final = d.String()
		}
	}
	for _, m := range manifests { // none of them is lost
		c.get("/v2/app/manifests/"+m.Digest.String()).want(t, "pull what was pushed", http.StatusOK)
	}
}
