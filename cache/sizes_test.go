package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	diskstore "github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

// see notes that a repository was seen to have something.
func (o *office) see(repo Repo, all ...digest.Digest) {
	for _, d := range all {
		o.put(seenKey(repo, d), encodeRecord(seenRecord{Size: -1}))
	}
}

// sizes adds up the repositories by a table of what is here.
func (o *office) sizes(here map[digest.Digest]int64) map[string]int64 {
	o.t.Helper()
	sizes := map[string]int64{}
	for s, err := range o.manifests.Sizes(o.t.Context(), func(d digest.Digest) int64 { return here[d] }) {
		if err != nil {
			o.t.Fatal(err)
		}
		if _, twice := sizes[s.Repo.String()]; twice {
			o.t.Errorf("%s comes twice", s.Repo)
		}
		sizes[s.Repo.String()] = s.Bytes
	}
	return sizes
}

// keepManifest writes a manifest as if it had been pulled by tag.
func (o *office) keepManifest(repo Repo, tag string, manifest []byte) digest.Digest {
	d := digest.FromBytes(manifest)
	o.put(manifestKey(d), manifest)
	o.see(repo, d)
	if tag != "" {
		o.put(tagKey(repo, tag), encodeRecord(tagRecord{Digest: d, MediaType: "x/y", Checked: o.clock.now()}))
	}
	return d
}

func TestSizesOfManifestsOfEveryKind(t *testing.T) {
	here := map[digest.Digest]int64{}
	blob := func(name string, size int64) string {
		here[digest.FromString(name)] = size
		return fmt.Sprintf(`{"digest":%q,"size":%d}`, digest.FromString(name), 1<<40) // whatever a manifest says of sizes
	}
	config, a, b, gone := blob("config", 1), blob("a", 10), blob("b", 100), blob("gone", 0)
	image := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s,%s,%s]}`, config, a, b, gone)
	child := digest.FromString(image)
	for _, c := range []struct {
		name, manifest string
		stored         string // another manifest that is here
		blobs          int64
	}{
		{"OCI", image, "", 111},
		{"Docker", fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":%s,"layers":[%s]}`, config, a), "", 11},
		{"a layer twice", fmt.Sprintf(`{"config":%s,"layers":[%s,%s,%s]}`, a, a, a, b), "", 110},
		{"schema 1", fmt.Sprintf(`{"schemaVersion":1,"fsLayers":[{"blobSum":%q},{"blobSum":%[1]q},{"blobSum":%q}]}`, digest.FromString("a"), digest.FromString("b")), "", 110},
		{"an artifact", fmt.Sprintf(`{"artifactType":"x/y","blobs":[%s]}`, b), "", 100},
		{"an index whose manifest is here", fmt.Sprintf(`{"manifests":[{"digest":%q},{"digest":%[1]q},{"digest":%q}]}`, child, digest.FromString("another platform's")), image, 111},
		{"an index whose manifests are not", fmt.Sprintf(`{"manifests":[{"digest":%q}]}`, digest.FromString("another platform's")), "", 0},
		{"a blob that is half here", fmt.Sprintf(`{"layers":[%s]}`, blob("half", 7)), "", 7},
		{"a negative answer", fmt.Sprintf(`{"layers":[%s,%s]}`, blob("negative", -5), a), "", 10},
		{"garbage", "\x00garbage", "", 0},
		{"nothing", "", "", 0},
		{"a list", "[1,2]", "", 0},
		{"null", "null", "", 0},
		{"odd types", `{"layers":"x","manifests":{}}`, "", 0},
		{"malformed digests", `{"config":{"digest":"sha256:../.."},"layers":[{"digest":"x"},{}],"manifests":[{"digest":"md5:1"}]}`, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t, 0)
			want := c.blobs + int64(len(c.manifest))
			o.see(nginx, slices.Collect(maps.Keys(here))...)
			o.keepManifest(nginx, "1", []byte(c.manifest))
			o.keepManifest(nginx, "2", []byte(c.manifest))
			if c.stored != "" {
				o.keepManifest(nginx, "", []byte(c.stored))
				want += int64(len(c.stored))
			}
			if got := o.sizes(here); !maps.Equal(got, map[string]int64{nginx.String(): want}) {
				t.Errorf("%v, want %d", got, want)
			}
		})
	}
}

func TestSizesCountEverythingOnceInEachRepository(t *testing.T) {
	o := newOffice(t, 0)
	here := map[digest.Digest]int64{}
	want := map[string]int64{}
	layers := func(names ...string) []byte {
		var list []string
		for _, n := range names {
			here[digest.FromString(n)] = 1000
			list = append(list, fmt.Sprintf(`{"digest":%q}`, digest.FromString(n)))
		}
		return []byte(`{"layers":[` + strings.Join(list, ",") + `]}`)
	}
	ab, bc := layers("a", "b"), layers("b", "c")
	for _, name := range []string{"a", "a-b", "a/b", "a.b"} { // whose keys interleave with nothing
		repo := Repo{"docker.io", name}
		o.see(repo, slices.Collect(maps.Keys(here))...)
		o.keepManifest(repo, "1", ab)
		o.keepManifest(repo, "2", bc)
		o.keepManifest(repo, "3", ab)
		want[repo.String()] = 3000 + int64(len(ab)+len(bc))
	}
	o.keepManifest(Repo{"ghcr.io", "a"}, "1", ab)
	o.see(Repo{"ghcr.io", "a"}, digest.FromString("a"))
	want["ghcr.io/a"] = 1000 + int64(len(ab)) // b is another repository's
	o.put(nameKey(Repo{"ghcr.io", "no-tags"}), []byte("{}"))
	if got := o.sizes(here); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	n := 0
	for range o.manifests.Sizes(t.Context(), func(digest.Digest) int64 { return 0 }) {
		if n++; n == 2 {
			break
		}
	}
}

// A chain of indexes takes no more memory or stack than its links.
func TestSizesOfIndexesInIndexes(t *testing.T) {
	o := newOffice(t, 0)
	manifest, want := []byte(`{}`), int64(2)
	for range 10_000 {
		d := o.keepManifest(nginx, "", manifest)
		manifest = fmt.Appendf(nil, `{"manifests":[{"digest":%q}]}`, d)
		want += int64(len(manifest))
	}
	o.keepManifest(nginx, "1", manifest)
	if got := o.sizes(nil); got[nginx.String()] != want {
		t.Errorf("%v, want %d", got, want)
	}
}

func TestSizesLeaveOutWhatCannotBeRead(t *testing.T) {
	broken := errors.New("input/output error")
	var bad, badList string
	o := newOffice(t, 0, func(o *office) {
		o.store = storagetest.Around(o.store, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
			if op == storagetest.Get && key == bad || op == storagetest.List && strings.HasPrefix(key, badList) && badList != "" {
				return broken
			}
			return do()
		})
	})
	one, two := []byte(`{"a":1}`), []byte(`{"b":22}`)
	d := o.keepManifest(nginx, "1", one)
	o.keepManifest(nginx, "2", two)
	for name, c := range map[string]struct {
		bad  string
		do   func()
		want int
	}{
		"nothing":            {"", func() {}, len(one) + len(two)},
		"a manifest":         {manifestKey(d), func() {}, len(two)},
		"a tag":              {tagKey(nginx, "1"), func() {}, len(two)},
		"a damaged manifest": {"", func() { o.put(manifestKey(d), []byte(`{"a":2}`)) }, len(two)},
	} {
		c.do()
		bad = c.bad
		if got := o.sizes(nil); got[nginx.String()] != int64(c.want) {
			t.Errorf("%s cannot be read: %v, want %d", name, got, c.want)
		}
		o.put(manifestKey(d), one)
	}
	bad, badList = "", tagFolder
	var last error
	for _, last = range o.manifests.Sizes(t.Context(), nil) {
	}
	if !errors.Is(last, broken) {
		t.Errorf("a list that cannot be read: %v", last)
	}
}

// benchedRecords are those of so many repositories of so many tags each, on a disk.
func benchedRecords(b *testing.B, repos, tags int) *Manifests {
	b.Helper()
	d, err := diskstore.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	store := storage.Under(d, "cache")
	records := NewRecords(store, RecordOptions{})
	m, err := NewManifests(ManifestOptions{Records: records, Seen: NewSeen(records, nil), Memory: &Memory{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close(); records.Close(); d.Close() })
	put := func(key string, record []byte) {
		if err := store.Put(b.Context(), key, bytes.NewReader(record), int64(len(record))); err != nil {
			b.Fatal(err)
		}
	}
	for r := range repos {
		repo := Repo{"docker.io", fmt.Sprintf("team-%d/app-%05d", r%50, r)}
		put(nameKey(repo), []byte("{}"))
		for n := range tags {
			manifest := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q},"layers":[{"digest":%q},{"digest":%q},{"digest":%q}]}`,
				digest.FromString(fmt.Sprint("config", r, n)), digest.FromString("base"), digest.FromString(fmt.Sprint(r)), digest.FromString(fmt.Sprint(r, n)))
			mf := digest.FromBytes(manifest)
			put(manifestKey(mf), manifest)
			put(tagKey(repo, fmt.Sprintf("v%05d", n)), encodeRecord(tagRecord{Digest: mf, MediaType: "x/y", Size: int64(len(manifest)), Checked: time.Now()}))
		}
	}
	b.ResetTimer()
	return m
}

// BenchmarkCachedTags is a page of 50 of 10,000 tags.
func BenchmarkCachedTags(b *testing.B) {
	m := benchedRecords(b, 1, 10_000)
	for b.Loop() {
		tags, more, err := m.CachedTags(b.Context(), Repo{"docker.io", "team-0/app-00000"}, 50, "v05000")
		if err != nil || len(tags) != 50 || !more {
			b.Fatal(len(tags), more, err)
		}
	}
}

// BenchmarkNames is a page of 50 of 10,000 repositories.
func BenchmarkNames(b *testing.B) {
	m := benchedRecords(b, 10_000, 0)
	for b.Loop() {
		names, more, err := m.Names(b.Context(), "docker.io", 50, "team-25/", nil)
		if err != nil || len(names) != 50 || !more {
			b.Fatal(len(names), more, err)
		}
	}
}

// BenchmarkSizes adds up 10,000 repositories of one tag.
func BenchmarkSizes(b *testing.B) {
	m := benchedRecords(b, 10_000, 1)
	for b.Loop() {
		n := 0
		for s, err := range m.Sizes(b.Context(), func(digest.Digest) int64 { return 1 }) {
			if err != nil || s.Bytes < 4 {
				b.Fatal(s, err)
			}
			n++
		}
		if n != 10_000 {
			b.Fatal(n)
		}
	}
}
