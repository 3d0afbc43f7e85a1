package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

// pullImage pulls an image with these layers and notes its blobs as seen, as a pull does.
func (o *office) pullImage(up *fakeManifests, tag string, layers ...string) Manifest {
	o.t.Helper()
	var list []string
	for _, l := range layers {
		list = append(list, fmt.Sprintf(`{"digest":%q}`, digest.FromString(l)))
	}
	man := up.pushBytes(tag, fmt.Appendf(nil, `{"config":{"digest":%q},"layers":[%s]}`, digest.FromString("config "+tag), strings.Join(list, ",")))
	o.wantGet(up, tag, man)
	for _, d := range namedDigests(man.Bytes) {
		o.seen.Add(o.t.Context(), up.repo, d, "", 1)
	}
	return man
}

func (o *office) purge(repo Repo, ref string) (Purged, []string, error) {
	var dropped []string
	names := map[digest.Digest]string{}
	for _, s := range []string{"base", "a", "b", "shared", "config a", "config b", "config c"} {
		names[digest.FromString(s)] = s
	}
	purged, err := o.manifests.Purge(o.t.Context(), repo, ref, func(_ context.Context, d digest.Digest) error {
		if name, ok := names[d]; ok { // not a manifest
			dropped = append(dropped, name)
		}
		return nil
	})
	slices.Sort(dropped)
	return purged, dropped, err
}

func TestPurge(t *testing.T) {
	for name, memory := range memorySizes {
		for _, c := range []struct {
			name    string
			ref     func(a, b Manifest) string
			tags    int
			digests int
			dropped string
			gone    string // tags that are asked upstream again
		}{
			{"a tag leaves what other tags need", func(a, b Manifest) string { return "a" }, 1, 4, "a,config a", "a"},
			{"a digest takes its tags along", func(a, b Manifest) string { return string(b.Digest) }, 1, 3, "b,config b", "b"},
			{"a repository leaves what others were seen to have", func(a, b Manifest) string { return "" }, 2, 8, "a,b,base,config a,config b", "a b"},
			{"what is not there is no error", func(a, b Manifest) string { return "x" }, 0, 0, "", ""},
		} {
			t.Run(name+": "+c.name, func(t *testing.T) {
				o := newOffice(t, memory)
				up, other := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "other"})
				a := o.pullImage(up, "a", "base", "a", "shared")
				b := o.pullImage(up, "b", "base", "b")
				o.pullImage(other, "c", "shared")
				o.settle()
				purged, dropped, err := o.purge(nginx, c.ref(a, b))
				if err != nil || purged.Tags != c.tags || purged.Digests != c.digests || strings.Join(dropped, ",") != c.dropped {
					t.Errorf("%+v, dropped %q, %v", purged, dropped, err)
				}
				up.asked()
				for _, tag := range []string{"a", "b"} {
					o.wantGet(up, tag, up.manifests[up.tags[tag]])
					n := 0
					if strings.Contains(c.gone, tag) {
						n = 1
					}
					up.wantAsked(t, n, n)
				}
				other.asked()
				o.wantGet(other, "c", other.manifests[other.tags["c"]])
				other.wantAsked(t, 0, 0)
			})
		}
	}
}

func TestPurgeOfARepositoryLeavesNothingOfIt(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	o.pullImage(up, "a", "base")
	if _, _, err := o.manifests.Referrers(t.Context(), &fakeLister{repo: nginx}, up.tags["a"]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.purge(nginx, ""); err != nil {
		t.Fatal(err)
	}
	for info, err := range o.store.List(t.Context(), "", "") {
		t.Errorf("left: %s %v", info.Key, err)
	}
}

func TestPurgeForgetsWhatIsOnlyRemembered(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	o.wantGetError(up, "a", ErrNotFound)
	man := up.push("a", "1")
	if _, _, err := o.purge(nginx, ""); err != nil {
		t.Fatal(err)
	}
	o.wantGet(up, "a", man)
}

func TestPurgeCanBeDoneAgain(t *testing.T) {
	for n := int64(1); ; n++ {
		o := newOffice(t, 0)
		up := newFakeManifests(nginx)
		o.pullImage(up, "a", "base", "a")
		o.pullImage(up, "b", "base", "b")
		o.settle()
		sound := o.store
		failing := storagetest.NewFailing(sound, storagetest.Failure{N: n})
		o.store = failing
		o.restart(0)
		_, first, err := o.purge(nginx, "a")
		if failing.Failed() != (err != nil) {
			t.Errorf("operation %d failed: %v", n, err)
		}
		if err != nil && !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("operation %d failed: %v", n, err)
		}
		o.store = sound
		o.restart(0)
		o.wantGet(up, "b", up.manifests[up.tags["b"]])
		_, second, err := o.purge(nginx, "")
		if err != nil {
			t.Error(err)
		}
		dropped := append(first, second...)
		for _, blob := range []string{"a", "b", "base", "config a", "config b"} {
			if !slices.Contains(dropped, blob) {
				t.Errorf("operation %d failed: %s was never dropped", n, blob)
			}
		}
		o.close()
		if !failing.Failed() {
			return
		}
	}
}

func TestList(t *testing.T) {
	o := newOffice(t, 0)
	up, other := newFakeManifests(nginx), newFakeManifests(Repo{"gcr.io", "a/b"})
	first, second := up.push("latest", "1"), other.push("v1", "2")
	o.wantGet(other, "v1", second)
	o.wantGet(up, "latest", first)
	o.records.write(t.Context(), recordWrite{verb: verbPut, key: tagKey(nginx, "broken"), record: []byte("{")})
	var got []Entry
	for e, err := range o.manifests.List(t.Context(), Repo{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []Entry{
		{nginx, "latest", first.Digest, first.MediaType, int64(len(first.Bytes)), o.clock.now()},
		{other.repo, "v1", second.Digest, second.MediaType, int64(len(second.Bytes)), o.clock.now()},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	got = nil
	for e, err := range o.manifests.List(t.Context(), other.repo) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if !slices.Equal(got, want[1:]) {
		t.Errorf("of one repository: %+v", got)
	}
}

func TestListStopsAtAnError(t *testing.T) {
	o := newOffice(t, 0, func(o *office) {
		o.store = storagetest.NewFailing(o.store, storagetest.Failure{N: 1, Onward: true})
	})
	n := 0
	for _, err := range o.manifests.List(t.Context(), Repo{}) {
		n++
		if !errors.Is(err, storagetest.ErrInjected) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d entries", n)
	}
}

func FuzzNamedDigests(f *testing.F) {
	f.Add([]byte(`{"layers":[{"digest":"sha256:` + strings.Repeat("a", 64) + `"}],"fsLayers":[{"blobSum":"x"}]}`))
	f.Add([]byte(`{"layers":null,"manifests":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range namedDigests(b) {
			if err := d.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
