package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
	"github.com/valyala/fasthttp"
)

// origin is one repository of an upstream that has one blob and one manifest.
type origin struct {
	fakeRepository
	blob     []byte
	manifest cache.Manifest
	fetched  *atomic.Int64 // bytes of the blob
}

func (o origin) Repo() cache.Repo { return o.repo }

func (o origin) StatBlob(_ context.Context, d digest.Digest) (int64, error) {
	if d != digest.FromBytes(o.blob) {
		return 0, cache.ErrNotFound
	}
	return int64(len(o.blob)), nil
}

func (o origin) FetchBlob(_ context.Context, d digest.Digest, off, n int64) (cache.Part, error) {
	if d != digest.FromBytes(o.blob) {
		return cache.Part{}, cache.ErrNotFound
	}
	size := int64(len(o.blob))
	end := size
	if n >= 0 {
		end = min(off+n, size)
	}
	o.fetched.Add(end - off)
	return cache.Part{Body: io.NopCloser(bytes.NewReader(o.blob[off:end])), Off: off, Len: end - off, Size: size, Ranged: n >= 0}, nil
}

func (o origin) ResolveManifest(context.Context, string) (cache.Descriptor, error) {
	return cache.Descriptor{MediaType: o.manifest.MediaType, Digest: o.manifest.Digest, Size: int64(len(o.manifest.Bytes))}, nil
}

func (o origin) FetchManifest(context.Context, string) (cache.Manifest, error) {
	return o.manifest, nil
}
func (o origin) Spare() bool { return true }

// withCache gives options over a real cache, and the origin behind it.
func withCache(t *testing.T) (Options, origin) {
	t.Helper()
	blob := make([]byte, 8<<20)
	if _, err := rand.Read(blob); err != nil {
		t.Fatal(err)
	}
	manifest := []byte(`{"schemaVersion":2,"layers":[]}`)
	o := origin{blob: blob, fetched: new(atomic.Int64), manifest: cache.Manifest{MediaType: dockerManifest, Digest: digest.FromBytes(manifest), Bytes: manifest}}

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	memory, err := cache.NewMemory(8 << 20)
	must(err)
	records := cache.NewRecords(mem.New(time.Now), cache.RecordOptions{})
	seen := cache.NewSeen(records, memory)
	ttls, err := cache.NewTTLs(time.Hour, nil)
	must(err)
	manifests, err := cache.NewManifests(cache.ManifestOptions{Records: records, Seen: seen, Memory: memory, TTLs: ttls})
	must(err)
	blobs, err := cache.OpenBlobs(cache.BlobOptions{Dir: t.TempDir(), Size: 1 << 30, Memory: memory, Seen: seen, Clean: true})
	must(err)
	t.Cleanup(func() {
		manifests.Close()
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
		records.Close()
	})
	opts := options(&fakeCache{})
	opts.Manifests, opts.Blobs = manifests, CachedBlobs{blobs}
	opts.Registries["docker.io"] = Registry{Repository: func(name string) Repository {
		mine := o
		mine.repo = cache.Repo{Registry: "docker.io", Name: name}
		return mine
	}}
	return opts, o
}

func TestOverTheCache(t *testing.T) {
	opts, o := withCache(t)
	s := start(t, &fakeCache{}, func(so *Options) {
		so.Manifests, so.Blobs, so.Registries = opts.Manifests, opts.Blobs, opts.Registries
	})
	path := "/v2/a/b/blobs/" + digest.FromBytes(o.blob).String()
	for _, c := range []struct {
		fact, method string
		ask          []string
		status       int
		want         []byte
	}{
		{"head of a cold blob", "HEAD", nil, 200, nil},
		{"cold blob", "GET", nil, 200, o.blob},
		{"warm blob", "GET", nil, 200, o.blob},
		{"resumed", "GET", []string{"Range", "bytes=5000000-"}, 206, o.blob[5000000:]},
		{"footer", "GET", []string{"Range", "bytes=-100"}, 206, o.blob[len(o.blob)-100:]},
		{"past the end", "GET", []string{"Range", "bytes=9000000-"}, 416, nil},
	} {
		res, body := s.do(t, c.method, path, c.ask...)
		if res.StatusCode != c.status || c.want != nil && body != string(c.want) {
			t.Errorf("%s: got %d with %d bytes", c.fact, res.StatusCode, len(body))
		}
	}
	if n := o.fetched.Load(); n != int64(len(o.blob)) {
		t.Errorf("%d bytes were fetched of %d", n, len(o.blob))
	}
	if res, body := s.do(t, "GET", "/v2/a/b/manifests/v1"); res.StatusCode != 200 || body != string(o.manifest.Bytes) {
		t.Errorf("manifest: %d %q", res.StatusCode, body)
	}
	if res, _ := s.do(t, "GET", "/v2/a/b/blobs/"+sha256); res.StatusCode != 404 {
		t.Errorf("another blob: %d", res.StatusCode)
	}
}

func TestWarmManifestOfTheCacheAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	opts, _ := withCache(t)
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&fasthttp.Request{}, nil, nil)
	run := func() {
		ctx.Request.SetRequestURI("/v2/library/nginx/manifests/latest?ns=docker.io")
		s.handle(ctx)
		if ctx.Response.StatusCode() != 200 {
			t.Fatalf("%d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
		ctx.Response.Reset()
	}
	for hot := false; !hot; { // the memory tier shows an entry some time after it was set
		run()
		_, hot = opts.Manifests.Hot(cache.Repo{Registry: "docker.io", Name: "library/nginx"}, "latest")
	}
	if n := testing.AllocsPerRun(1000, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
