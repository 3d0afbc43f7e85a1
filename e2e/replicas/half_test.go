package replicas

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// pushes are images that clients tried to push as tags of one repository.
type pushes struct {
	mu    sync.Mutex
	all   map[string]fakehub.Image // by tag
	acked map[string]bool
}

// pushUntilRefused pushes one image after the other.
func (p *pushes) pushUntilRefused(t *testing.T, c *client, name string, seed uint64) {
	for n := uint64(0); ; n++ {
		tag, img := name+"-"+fmt.Sprint(n), newImage(seed+n, 1000, 70_000)
		p.mu.Lock()
		p.all[tag] = img
		p.mu.Unlock()
		var a answer
		for _, b := range img.Blobs() {
			if a = c.pushBlob("app", b); a.status != http.StatusCreated {
				break
			}
		}
		if a.status == http.StatusCreated {
			a = c.pushManifest("app", tag, img.Manifest)
		}
		if a.err != nil || a.status != http.StatusCreated {
			refused(t, "push of "+tag, a)
			return
		}
		p.mu.Lock()
		p.acked[tag] = true
		p.mu.Unlock()
	}
}

func (p *pushes) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// check wants each image whole that was acknowledged, and each other one whole or not at all. It gives those that are there.
func (p *pushes) check(t *testing.T, c *client) (there map[string]fakehub.Image) {
	t.Helper()
	there = map[string]fakehub.Image{}
	for tag, img := range p.all {
		byTag, byDigest := c.get("/v2/app/manifests/"+tag), c.get("/v2/app/manifests/"+img.Manifest.Digest.String())
		for _, a := range []answer{byTag, byDigest} {
			if a.status != http.StatusOK && (a.status != http.StatusNotFound || p.acked[tag]) {
				t.Errorf("%s, acknowledged: %t: %v", tag, p.acked[tag], a)
			}
		}
		if byDigest.status == http.StatusOK {
			c.wantImage(t, "app", img.Manifest.Digest.String(), img)
			there[tag] = img
		} else if byTag.status == http.StatusOK {
			t.Errorf("%s leads to nothing", tag)
		}
		for _, b := range img.Blobs() {
			if a := c.get("/v2/app/blobs/" + b.Digest.String()); a.status != http.StatusNotFound && string(a.body) != string(whole(t, b)) {
				t.Errorf("%s has %v of a blob", tag, a)
			}
		}
	}
	return there
}

// wantNothingElse wants the bucket to have the bytes of these images and no more.
func (g *gateway) wantNothingElse(t *testing.T, images map[string]fakehub.Image) {
	t.Helper()
	var want, got int64
	blobs := map[string]int64{}
	for _, img := range images {
		for _, b := range img.Blobs() {
			blobs[b.Digest.String()] = b.Size
		}
	}
	for _, size := range blobs {
		want += size
	}
	for key, path := range g.Objects() {
		if strings.HasPrefix(key, "hosted/parts/") {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			got += info.Size()
		}
		if content, err := os.ReadFile(path); len(images) == 0 && strings.HasPrefix(key, "hosted/") && key != "hosted/run" && !strings.HasPrefix(string(content), `{"gone":`) {
			t.Errorf("%s is left, %v: %.200q", key, err, content)
		}
	}
	if got != want {
		t.Errorf("the bucket has %d bytes of blobs; %d images of %d are there", got, len(images), want)
	}
}

// S3 goes away while pushes are at every point of theirs.
func TestAnOutageLeavesNoPushHalf(t *testing.T) {
	t.Parallel()
	for i, outage := range outages() {
		t.Run(outage.name, func(t *testing.T) {
			t.Parallel()
			s := newSet(t, 2, nil)
			c, p := s.client(), &pushes{all: map[string]fakehub.Image{}, acked: map[string]bool{}}
			blob := fakehub.RandomBlob(uint64(70+i), 20_000_000)
			const first, sent = 1_000_000, 19_000_000 // more than S3 gets at once
			at := c.send(context.Background(), http.MethodPost, "/v2/app/blobs/uploads/", nil).want(t, "begin", http.StatusAccepted).location(t)
			at = c.send(context.Background(), http.MethodPatch, at, part(blob, 0, first)).want(t, "send a chunk", http.StatusAccepted).location(t)
			body, sender := io.Pipe()
			halfway := make(chan answer, 1)
			go func() { halfway <- c.send(context.Background(), http.MethodPatch, at, body) }() // ends with its body, or its answer
			if _, err := io.Copy(sender, part(blob, first, sent)); err != nil {
				t.Fatal(err)
			}
			var pushing sync.WaitGroup
			for n := range uint64(4) {
				pushing.Go(func() { p.pushUntilRefused(t, c, "pusher"+fmt.Sprint(n), uint64(100_000*(i+1))+1000*n) })
			}
			eventually(t, "some pushes", func() answer { return answer{status: min(p.acknowledged(), 5)} }, 5)

			outage.begin(s.gateway)
			end := sync.OnceFunc(func() { outage.end(s.gateway) })
			defer end()
			_, _ = io.Copy(sender, part(blob, sent, blob.Size)) // fails where the answer came early
			sender.Close()
			pushing.Wait()
			var rest answer
			if outage.name != "silent" { // which takes longer to be sure of
				rest = <-halfway
				refused(t, "the rest of a chunk", rest)
			}
			end()
			has := int64(first)
			if outage.name == "silent" {
				if rest = <-halfway; rest.status == http.StatusAccepted {
					has = blob.Size
				} else {
					refused(t, "the rest of a chunk", rest)
				}
			}

			after := fakehub.NewManifest("application/vnd.oci.image.index.v1+json", []byte(`{"schemaVersion":2,"manifests":[]}`))
			for _, r := range s.replicas { // each finds out for itself
				c := newClient(t, r.Addr)
				eventually(t, "push after the outage", func() answer { return c.pushManifest("app", "after", after) }, http.StatusCreated)
			}
			status := c.get(at).want(t, "ask for the upload", http.StatusNoContent)
			if got := status.header.Get("Range"); got != fmt.Sprintf("0-%d", has-1) {
				t.Errorf("the upload has %s after %v", got, rest)
			}
			c.send(context.Background(), http.MethodPut, withDigest(at, blob.Digest), part(blob, has, blob.Size)).want(t, "send what is missing", http.StatusCreated)
			wantBlob(t, c, blob)
			there := p.check(t, newClient(t, s.replicas[0].Addr))
			t.Logf("of %d images %d are there, %d were acknowledged", len(p.all), len(there), len(p.acked))

			s.collect(t)
			if again := p.check(t, newClient(t, s.replicas[1].Addr)); len(again) != len(there) {
				t.Errorf("%d images are there, and %d after collection", len(there), len(again))
			}
			s.gateway.wantNothingElse(t, there)
			for _, img := range slices.Collect(maps.Values(there)) {
				c.send(context.Background(), http.MethodDelete, "/v2/app/manifests/"+img.Manifest.Digest.String(), nil).want(t, "delete", http.StatusAccepted)
			}
			c.send(context.Background(), http.MethodDelete, "/v2/app/manifests/"+after.Digest.String(), nil).want(t, "delete", http.StatusAccepted)
			s.collect(t)
			s.gateway.wantNothingElse(t, nil)
		})
	}
}

// collect collects twice all that nothing names, by way of each replica.
func (s *set) collect(t *testing.T) {
	t.Helper()
	for _, r := range s.replicas {
		if out, code := r.Run("gc", "--grace", "0s"); code != 0 {
			t.Errorf("gc: %d\n%s", code, out)
		}
	}
}
