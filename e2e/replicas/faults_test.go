package replicas

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// patience is how long a pull of six requests may take while S3 does not answer, by a wide margin.
const patience = 10 * time.Second

func TestPullsGoOnWithoutS3(t *testing.T) {
	t.Parallel()
	for _, o := range outages() {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			s := newSet(t, 2, leases)
			warm, stored := s.newRelease("library/warm", 200, 4_000, 3_000_000), s.newRelease("library/stored", 201, 4_000, 3_000_000)
			a, b := newClient(t, s.replicas[0].Addr), newClient(t, s.replicas[1].Addr)
			a.wantPull(t, warm)
			b.wantPull(t, warm)
			b.wantPull(t, stored)
			s.gateway.wantStored(t, warm)
			s.gateway.wantStored(t, stored)

			o.begin(s.gateway)
			ended := false
			defer func() {
				if !ended {
					o.end(s.gateway)
				}
			}()
			fresh := []release{s.newRelease("library/fresh", 202, 4_000, 3_000_000), s.newRelease("library/later", 203, 4_000, 3_000_000)}
			for _, pull := range []struct {
				what string
				c    *client
				r    release
			}{
				{"what the bucket has and this server has not", a, stored},
				{"what nobody has", a, fresh[0]}, {"the same at the other server", b, fresh[0]},
				{"something else", b, fresh[1]}, {"what this server has", a, warm},
			} {
				took := pull.c.wantPull(t, pull.r)
				t.Logf("%s: %v", pull.what, took.Round(time.Millisecond))
				if took > patience {
					t.Errorf("%s took %v to pull", pull.what, took)
				}
			}
			late := s.newReplica(nil)
			took := newClient(t, late.Addr).wantPull(t, stored)
			t.Logf("at a server that was started meanwhile: %v", took.Round(time.Millisecond))
			if took > patience {
				t.Errorf("a server that was started meanwhile took %v", took)
			}

			o.end(s.gateway)
			ended = true
			for _, r := range fresh {
				s.gateway.wantStored(t, r)
			}
			s.wantNoLeases(t)
		})
	}
}

// damage is what becomes of one object of an image. The layers are one that is verified before its first byte, one of one
// request, and one of several.
type damage struct {
	name   string
	file   func(*gateway, release) string
	change func([]byte) []byte
}

func damages() (all []damage) {
	cut := func(b []byte) []byte { return b[:len(b)*2/3] }
	empty := func([]byte) []byte { return nil }
	longer := func(b []byte) []byte { return append(b, "more"...) }
	other := func([]byte) []byte { return []byte(`{"schemaVersion":2}`) }
	layer := func(i int) func(*gateway, release) string {
		return func(g *gateway, r release) string { return g.blobFile(r.image.Layers[i].Digest) }
	}
	index := func(g *gateway, r release) string { return g.manifestFile(r.index.Digest) }
	manifest := func(g *gateway, r release) string { return g.manifestFile(r.image.Manifest.Digest) }
	config := func(g *gateway, r release) string { return g.blobFile(r.image.Config.Digest) }
	for i, size := range []string{"small", "middle", "large"} {
		all = append(all,
			damage{"a flipped byte of a " + size + " layer", layer(i), flip(3_999)},
			damage{"a " + size + " layer cut", layer(i), cut},
			damage{"a " + size + " layer emptied", layer(i), empty},
			damage{"a " + size + " layer that is longer", layer(i), longer})
	}
	return append(all,
		damage{"the last byte of a large layer", layer(2), func(b []byte) []byte { return flip(len(b) - 1)(b) }},
		damage{"a flipped byte of the config", config, flip(20)},
		damage{"a flipped byte of the index", index, flip(20)}, damage{"another index", index, other},
		damage{"a flipped byte of the manifest", manifest, flip(20)}, damage{"another manifest", manifest, other},
		damage{"a manifest emptied", manifest, empty},
		damage{"a tag that makes no sense", func(g *gateway, r release) string { return g.tagFile(r.repo, r.tag) }, other},
		damage{"a note of what a repository has that makes no sense", func(g *gateway, r release) string { return g.seenFile(r.repo, r.image.Layers[2].Digest) }, other})
}

func TestDamagedObjectsReachNobody(t *testing.T) {
	t.Parallel()
	s := newSet(t, 1, nil)
	filler := newClient(t, s.replicas[0].Addr)
	var releases []release
	for i := range damages() {
		r := s.newRelease(fmt.Sprintf("library/damaged-%d", i), 300+uint64(i), 4_000, 300_000, 5_000_000)
		releases = append(releases, r)
		filler.wantPull(t, r)
	}
	for _, r := range releases {
		s.gateway.wantStored(t, r)
	}
	c := newClient(t, s.newReplica(nil).Addr)
	for i, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			r := releases[i]
			file := d.file(s.gateway, r)
			overwrite(t, file, d.change)
			damaged, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range r.image.Layers[1:] { // what is not verified before its first byte may be cut
				first := c.fetch(context.Background(), r.blobPath(l.Digest), nil)
				if first.err == nil && (first.status != http.StatusOK || first.digest != l.Digest) {
					t.Errorf("%d bytes at first: %s", l.Size, first)
				}
				if first.err != nil {
					t.Logf("%d bytes at first: %s", l.Size, first)
				}
			}
			c.wantPull(t, r)
			wantSoon(t, arrival, "the damaged object is replaced", func() bool {
				content, err := os.ReadFile(file)
				return err == nil && !bytes.Equal(content, damaged)
			}, func() string { return file })
			s.gateway.wantStored(t, r)
		})
	}
	s.hub.Down()
	again := newClient(t, s.newReplica(nil).Addr)
	for i, d := range damages() {
		if err := again.pull(releases[i]); err != nil {
			t.Errorf("from the bucket after %s: %v", d.name, err)
		}
	}
}

// What was damaged while upstream is away is not served, and not kept.
func TestADamagedObjectWithoutUpstream(t *testing.T) {
	t.Parallel()
	s := newSet(t, 1, nil)
	r := s.newRelease("library/app", 400, 4_000, 300_000, 5_000_000)
	newClient(t, s.replicas[0].Addr).wantPull(t, r)
	s.gateway.wantStored(t, r)
	for _, l := range r.image.Layers {
		overwrite(t, s.gateway.blobFile(l.Digest), flip(2_000))
	}
	overwrite(t, s.gateway.manifestFile(r.image.Manifest.Digest), flip(20))
	s.hub.Down()
	c := newClient(t, s.newReplica(nil).Addr)
	wrong := map[string]digest.Digest{r.manifestPath(r.image.Manifest.Digest.String()): r.image.Manifest.Digest}
	for _, l := range r.image.Layers {
		wrong[r.blobPath(l.Digest)] = l.Digest
	}
	for path, d := range wrong {
		if f := c.fetch(context.Background(), path, nil); f.err == nil && f.status < 400 {
			t.Errorf("%s: %s", d, f)
		} else {
			t.Logf("%s: %s", d, f)
		}
	}
	if err := s.hub.Up(); err != nil {
		t.Fatal(err)
	}
	wantSoon(t, arrival, "a pull when upstream is back", func() bool { return c.pull(r) == nil }, func() string { return fmt.Sprint(c.pull(r)) })
}
