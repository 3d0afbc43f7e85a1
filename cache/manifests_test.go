package cache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/go-digest"
)

func TestTagLife(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory)
			up := newFakeManifests(nginx)
			first := up.push("latest", "1")

			o.wantGet(up, "latest", first)
			up.wantAsked(t, 1, 1)

			o.wantGet(up, "latest", first)
			o.wantHead(up, "latest", first)
			o.wantGet(up, string(first.Digest), first)
			up.wantAsked(t, 0, 0) // fresh

			o.clock.advance(time.Minute)
			o.wantGet(up, "latest", first)
			up.wantAsked(t, 1, 0) // same digest: a new timestamp
			o.clock.advance(59 * time.Second)
			o.wantGet(up, "latest", first)
			up.wantAsked(t, 0, 0)

			second := up.push("latest", "2")
			o.clock.advance(time.Minute)
			o.wantGet(up, "latest", second)
			up.wantAsked(t, 1, 1) // moved
			o.wantGet(up, string(first.Digest), first)
			up.wantAsked(t, 0, 0) // by digest for ever
		})
	}
}

func TestHeadWithoutDigestBecomesGet(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory)
			up := newFakeManifests(nginx)
			up.noDigest = true
			man := up.push("latest", "1")
			o.wantHead(up, "latest", man)
			up.wantAsked(t, 1, 1)
			o.wantGet(up, "latest", man)
			o.wantGet(up, string(man.Digest), man)
			up.wantAsked(t, 0, 0)
			if got := o.tagOnDisk(nginx, "latest"); got != man.Digest {
				t.Errorf("tag record names %q", got)
			}
		})
	}
}

func TestManifestStoredByAnotherRepository(t *testing.T) {
	for _, c := range []struct {
		name      string
		has       bool
		headErr   error
		want      error
		heads     int
		gets      int
		seenAfter bool
	}{
		{"is served after one HEAD and no GET", true, nil, nil, 1, 0, true},
		{"is not served if this repository has it not", false, nil, ErrNotFound, 1, 0, false},
		{"is not served if this repository is refused", true, ErrDenied, ErrDenied, 1, 0, false},
		{"is not served during an outage", true, context.DeadlineExceeded, context.DeadlineExceeded, 1, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t, 1<<20)
			first, second := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "other/nginx"})
			man := first.push("latest", "1")
			o.wantGet(first, "latest", man)
			if c.has {
				second.push("", "1")
			}
			second.fail(c.headErr, nil)
			if c.want != nil {
				o.wantGetError(second, string(man.Digest), c.want)
			} else {
				o.wantGet(second, string(man.Digest), man)
			}
			second.wantAsked(t, c.heads, c.gets)
			if has, err := o.seen.Has(t.Context(), second.repo, man.Digest); err != nil || has != c.seenAfter {
				t.Errorf("seen: %v, %v", has, err)
			}
		})
	}
}

func TestTagOfBytesStoredByAnotherRepositoryNeedsNoGet(t *testing.T) {
	o := newOffice(t, 0)
	first, second := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "other/nginx"})
	man := first.push("latest", "1")
	second.push("mine", "1")
	o.wantGet(first, "latest", man)
	o.wantGet(second, "mine", man)
	o.wantGet(second, string(man.Digest), man)
	second.wantAsked(t, 1, 0)
}

func TestHeadByDigest(t *testing.T) {
	o := newOffice(t, 0)
	first, second := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "other/nginx"})
	man := first.push("latest", "1")
	second.push("", "1")
	o.wantHead(first, string(man.Digest), man)
	o.wantHead(first, string(man.Digest), man)
	first.wantAsked(t, 2, 0) // a GET could not be served yet
	o.wantGet(first, "latest", man)
	first.asked()
	o.wantHead(first, string(man.Digest), man)
	first.wantAsked(t, 0, 0)
	o.wantHead(second, string(man.Digest), man)
	o.wantGet(second, string(man.Digest), man)
	second.wantAsked(t, 1, 0) // the HEAD has said that this repository has it too
	if err := o.store.Delete(t.Context(), manifestKey(man.Digest)); err != nil {
		t.Fatal(err)
	}
	first.fail(outage(CauseFailed), outage(CauseFailed))
	if _, _, _, err := o.manifests.Resolve(t.Context(), first, string(man.Digest)); !IsOutage(err) {
		t.Errorf("promised what is not stored: %v", err)
	}
}

func TestHeadWithoutMediaType(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	up.noMediaType = true
	man := up.push("latest", "1")
	o.wantGet(up, "latest", man)
	o.clock.advance(time.Minute)
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 2, 1)
	o.restart(0)
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 0, 0) // the HEAD was recorded
}

func TestManyAskOnce(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory)
			up := newFakeManifests(nginx)
			man := up.push("latest", "1")
			up.wait, up.waiting = make(chan struct{}), make(chan struct{}, 64)

			gone, leave := context.WithCancel(t.Context())
			left := make(chan error)
			go func() {
				_, err := o.manifests.Get(gone, up, "latest")
				left <- err
			}()
			<-up.waiting // the request is this client's, who leaves, which fails nobody else
			var clients sync.WaitGroup
			for i := range 32 {
				clients.Go(func() {
					if i%2 == 0 {
						desc, _, _, err := o.manifests.Resolve(t.Context(), up, "latest")
						if err != nil || desc.Digest != man.Digest {
							t.Errorf("head: %v, %v", desc.Digest, err)
						}
						return
					}
					a, err := o.manifests.Get(t.Context(), up, "latest")
					if err != nil {
						t.Errorf("get: %v", err)
					} else if a.Manifest.Digest != man.Digest {
						t.Errorf("get: %s", a.Manifest.Digest)
					}
				})
			}
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("the client that left got %v", err)
			}
			close(up.wait)
			clients.Wait()
			up.wantAsked(t, 1, 1)
		})
	}
}

func TestCorruptManifestIsNotStored(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	up.manifests[man.Digest] = Manifest{MediaType: man.MediaType, Digest: man.Digest, Bytes: []byte("{}")}
	o.wantGetError(up, "latest", ErrCorrupt)
	o.wantGetError(up, string(man.Digest), ErrCorrupt)
	up.noDigest = true
	o.clock.advance(time.Minute) // the HEAD's digest is remembered no longer
	o.wantGetError(up, "latest", ErrCorrupt)
	up.asked()
	up.noDigest = false
	up.push("latest", "1") // the registry is repaired
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 1, 1)
}

func TestDamagedRecordsAreFetchedAgain(t *testing.T) {
	for _, c := range []struct {
		name        string
		key         func(Manifest) string
		with        string
		heads, gets int
	}{
		{"bytes", func(m Manifest) string { return manifestKey(m.Digest) }, "{}", 0, 1},
		{"tag: no JSON", func(Manifest) string { return tagKey(nginx, "latest") }, "{", 1, 0},
		{"tag: no digest", func(Manifest) string { return tagKey(nginx, "latest") }, `{"digest":"sha256:1"}`, 1, 0},
		{"seen: no JSON", func(m Manifest) string { return seenKey(nginx, m.Digest) }, "", 0, 0}, // the tag says it too
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t, 0)
			up := newFakeManifests(nginx)
			man := up.push("latest", "1")
			o.wantGet(up, "latest", man)
			up.asked()
			err := o.store.Put(t.Context(), c.key(man), strings.NewReader(c.with), -1)
			if err != nil {
				t.Fatal(err)
			}
			o.wantGet(up, "latest", man)
			up.wantAsked(t, c.heads, c.gets)
			o.wantGet(up, "latest", man)
			up.wantAsked(t, 0, 0)
		})
	}
}

func TestNoteIsToldOfStoredAndLoadedManifests(t *testing.T) {
	var noted []digest.Digest
	o := newOffice(t, 1<<20, func(o *office) {
		o.options.Note = func(_ Repo, m *Manifest) { noted = append(noted, m.Digest) }
	})
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	o.wantGet(up, "latest", man)
	o.wantGet(up, "latest", man)
	if len(noted) != 1 {
		t.Fatalf("stored: noted %v", noted)
	}
	o.restart(1 << 20)
	o.wantGet(up, string(man.Digest), man)
	o.wantGet(up, string(man.Digest), man)
	if len(noted) != 2 {
		t.Fatalf("loaded: noted %v", noted)
	}
}

func TestHot(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	if _, ok := o.manifests.Hot(nginx, "latest"); ok {
		t.Fatal("hot before it was pulled")
	}
	o.wantGet(up, "latest", man)
	ref := string(man.Digest)
	if n := testing.AllocsPerRun(100, func() {
		a, ok := o.manifests.Hot(nginx, "latest")
		b, ok2 := o.manifests.Hot(nginx, ref)
		if !ok || !ok2 || a.Digest != b.Digest {
			t.Fatal("not hot")
		}
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	if _, ok := o.manifests.Hot(Repo{"docker.io", "other"}, ref); ok {
		t.Error("hot for another repository")
	}
	o.clock.advance(time.Minute)
	if _, ok := o.manifests.Hot(nginx, "latest"); ok {
		t.Error("a tag is hot after its lifetime")
	}
	if _, ok := o.manifests.Hot(nginx, ref); !ok {
		t.Error("a digest is not hot after a tag's lifetime")
	}
	up.asked()
	o.clock.advance(usedAgain) // now the use has to be recorded
	if _, ok := o.manifests.Hot(nginx, ref); ok {
		t.Error("a digest is hot for more than a day without a use that the sweep sees")
	}
	o.wantGet(up, ref, man)
	up.wantAsked(t, 0, 0)
	if info, err := o.store.Stat(t.Context(), manifestKey(man.Digest)); err != nil || !info.Modified.Equal(o.clock.now()) {
		t.Errorf("the use was not recorded: %v, %v", info.Modified, err)
	}
}

func TestReferencesMayBeViews(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	for _, ref := range []string{"latest", string(man.Digest)} {
		buffer := []byte(ref)
		view := viewOf(buffer)
		if _, err := o.manifests.Get(t.Context(), up, view); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := o.manifests.Resolve(t.Context(), up, view); err != nil {
			t.Fatal(err)
		}
		clear(buffer)
	}
	o.settle()
	up.asked()
	o.wantGet(up, "latest", man)
	o.wantGet(up, string(man.Digest), man)
	up.wantAsked(t, 0, 0)
}

func viewOf(b []byte) string { return unsafe.String(&b[0], len(b)) }

func BenchmarkHot(b *testing.B) {
	o := newOffice(b, 1<<20)
	up := newFakeManifests(nginx)
	o.wantGet(up, "latest", up.push("latest", "1"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := o.manifests.Hot(nginx, "latest"); !ok {
			b.Fatal("not hot")
		}
	}
}
