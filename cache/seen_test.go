package cache

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestSeen(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory)
			d := digest.FromString("layer")
			want := func(repo Repo, want bool) {
				t.Helper()
				if has, err := o.seen.Has(t.Context(), repo, d); err != nil || has != want {
					t.Errorf("%s: %v, %v, want %v", repo, has, err, want)
				}
			}
			want(nginx, false)
			o.seen.Add(t.Context(), nginx, d, "", 5)
			want(nginx, true) // at once
			want(Repo{"docker.io", "library"}, false)
			want(Repo{"docker.io", "library/nginx/x"}, false)
			want(Repo{"gcr.io", "library/nginx"}, false)
			o.restart(memory)
			want(nginx, true)
			if _, err := o.store.Stat(t.Context(), "names/docker.io/library!nginx"); err != nil {
				t.Errorf("no name: %v", err)
			}
		})
	}
}

func TestSeenIsWrittenOnce(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			var puts *storagetest.Counting
			o := newOffice(t, memory, func(o *office) {
				puts = storagetest.NewCounting(o.store)
				o.store = puts
			})
			for i := range 3 {
				o.seen.Add(t.Context(), nginx, digest.FromString("layer"), "", 5)
				o.settle()
				if got := puts.Count(storagetest.Put); got != 2 { // the record and the name
					t.Fatalf("%d writes after %d times", got, i+1)
				}
			}
			o.seen.Add(t.Context(), nginx, digest.FromString("other"), "", 5)
			o.settle()
			if got := puts.Count(storagetest.Put); got != 3 {
				t.Errorf("%d writes after another blob of the repository", got)
			}
		})
	}
}

func TestSeenManifestStaysOne(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	o.wantGet(up, "latest", man)
	o.seen.Add(t.Context(), nginx, man.Digest, "", int64(len(man.Bytes))) // somebody asked for it as a blob
	up.asked()
	o.wantGet(up, string(man.Digest), man)
	up.wantAsked(t, 0, 0)
}

func TestBlobIsNoManifest(t *testing.T) {
	o := newOffice(t, 0)
	first, second := newFakeManifests(nginx), newFakeManifests(Repo{"docker.io", "other"})
	man := first.push("latest", "1")
	o.wantGet(first, "latest", man)
	o.seen.Add(t.Context(), second.repo, man.Digest, "", int64(len(man.Bytes)))
	o.wantGetError(second, string(man.Digest), ErrNotFound)
	second.wantAsked(t, 1, 0)
}

func TestSeenTellsErrorsFromMisses(t *testing.T) {
	o := newOffice(t, 0, func(o *office) {
		o.store = storagetest.NewFailing(o.store, storagetest.Failure{N: 1})
	})
	d := digest.FromString("layer")
	if _, err := o.seen.Has(t.Context(), nginx, d); !errors.Is(err, storagetest.ErrInjected) {
		t.Errorf("a read error is %v", err)
	}
	if has, err := o.seen.Has(t.Context(), nginx, d); err != nil || has {
		t.Errorf("%v, %v", has, err)
	}
}

func TestSeenIsUsedThoughMemoryHasIt(t *testing.T) {
	o := newOffice(t, 1<<20)
	d := digest.FromString("layer")
	o.seen.Add(t.Context(), nginx, d, "", 5)
	for range 40 { // days
		o.settle()
		o.clock.advance(usedAgain)
		if has, err := o.seen.Has(t.Context(), nginx, d); err != nil || !has {
			t.Fatalf("%v, %v", has, err)
		}
	}
	o.settle()
	if info, err := o.store.Stat(t.Context(), seenKey(nginx, d)); err != nil || o.clock.now().Sub(info.Modified) > usedAgain {
		t.Errorf("last written %v, %v", info.Modified, err)
	}
}

func TestKeys(t *testing.T) {
	d := digest.Digest("sha256:" + strings.Repeat("a", 64))
	for _, c := range []struct{ name, got, want string }{
		{"manifest", manifestKey(d), "manifests/sha256-" + d.Encoded()},
		{"tag", tagKey(nginx, "1.2-alpine"), "tags/docker.io/library!nginx/1.2-alpine"},
		{"seen", seenKey(nginx, d), "seen/docker.io/library!nginx/sha256-" + d.Encoded()},
		{"name", nameKey(nginx), "names/docker.io/library!nginx"},
		{"a port", nameKey(Repo{"localhost:5000", "a"}), "names/localhost:5000/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("%s, want %s", c.got, c.want)
			}
			if err := storage.CheckKey(c.got); err != nil {
				t.Error(err)
			}
		})
	}
	longest := Repo{strings.Repeat("r", 255), strings.Repeat("n", 255)}
	for _, key := range []string{seenKey(longest, "sha512:"+digest.Digest(strings.Repeat("a", 128))), tagKey(longest, strings.Repeat("t", 128))} {
		if err := storage.CheckKey("cache/" + key); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("tags/docker.io/library!nginx/latest")
	f.Add("tags/r/n")
	f.Add("tags//")
	f.Fuzz(func(t *testing.T, key string) {
		repo, last, err := parseKey(tagFolder, key)
		if err != nil {
			return
		}
		if again := tagKey(repo, last); again != key && again != key+"/" {
			t.Errorf("%q became %q", key, again)
		}
	})
}

func FuzzTagRecord(f *testing.F) {
	f.Add([]byte(`{"digest":"sha256:` + strings.Repeat("a", 64) + `","mediaType":"x","checked":"2026-11-21T06:00:00Z"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := newOffice(t, 0)
		defer o.close()
		o.records.write(t.Context(), recordWrite{verb: verbPut, key: "k", record: b})
		rec, err := readRecord[tagRecord](t.Context(), o.records, "k")
		if err == nil && rec.Digest.Validate() != nil {
			t.Errorf("%q gave %q", b, rec.Digest)
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%q: %v", b, err)
		}
	})
}
