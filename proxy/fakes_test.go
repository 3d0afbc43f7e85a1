package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fakeCache stands for the cache: what is in memory, what is not, and what fails.
type fakeCache struct {
	hotManifests map[string]*cache.Manifest // by registry/name:ref
	manifests    map[string]cache.Answer
	hotBlobs     map[string][]byte // by registry/name@digest
	blobs        map[string]func(cache.Range) (Content, error)
	sizes        map[string]int64
	tags         []string
	index        ocispec.Index
	names        []string
	warning      string
	err          error

	mu    sync.Mutex
	asked []string // what did not come from memory
}

func (f *fakeCache) ask(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
}

func (f *fakeCache) questions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

type fakeManifests struct{ *fakeCache }

func (f fakeManifests) Hot(repo cache.Repo, ref string) (*cache.Manifest, bool) {
	var buf [256]byte
	key := append(append(append(append(append(buf[:0], repo.Registry...), '/'), repo.Name...), ':'), ref...)
	m, ok := f.hotManifests[string(key)]
	return m, ok
}

func (f fakeManifests) Get(_ context.Context, up cache.Upstream, ref string) (cache.Answer, error) {
	key := up.Repo().String() + ":" + ref
	f.ask("get " + key)
	if f.err != nil {
		return cache.Answer{}, f.err
	}
	if a, ok := f.manifests[key]; ok {
		return a, nil
	}
	return cache.Answer{}, cache.ErrNotFound
}

func (f fakeManifests) Resolve(_ context.Context, up cache.Upstream, ref string) (cache.Descriptor, cache.Tier, string, error) {
	key := up.Repo().String() + ":" + ref
	f.ask("resolve " + key)
	a, ok := f.manifests[key]
	if !ok {
		return cache.Descriptor{}, "", "", cache.ErrNotFound
	}
	d := cache.Descriptor{MediaType: a.Manifest.MediaType, Digest: a.Manifest.Digest, Size: int64(len(a.Manifest.Bytes))}
	return d, a.Tier, a.Warning, nil
}

func (f fakeManifests) Tags(_ context.Context, l cache.Lister, n int, last string) ([]string, bool, string, error) {
	f.ask("tags " + l.Repo().String())
	page, more := after(f.tags, n, last)
	return page, more, f.warning, f.err
}

func (f fakeManifests) Referrers(_ context.Context, l cache.Lister, d digest.Digest) (ocispec.Index, string, error) {
	f.ask("referrers " + l.Repo().String() + "@" + d.String())
	return f.index, f.warning, f.err
}

func (f fakeManifests) Names(_ context.Context, registry string, n int, last string, may func(string) bool) ([]string, bool, error) {
	f.ask("names " + registry)
	allowed := slices.DeleteFunc(slices.Clone(f.names), func(name string) bool { return may != nil && !may(name) })
	page, more := after(allowed, n, last)
	return page, more, f.err
}

func after(all []string, n int, last string) (page []string, more bool) {
	for _, s := range all {
		if s <= last {
			continue
		}
		if n >= 0 && len(page) == n {
			return page, true
		}
		page = append(page, s)
	}
	return page, false
}

type fakeBlobs struct{ *fakeCache }

func (f fakeBlobs) Hot(repo cache.Repo, d digest.Digest) ([]byte, bool) {
	b, ok := f.hotBlobs[repo.String()+"@"+d.String()]
	return b, ok
}

func (f fakeBlobs) Stat(_ context.Context, from cache.Origin, d digest.Digest) (int64, cache.Tier, error) {
	key := from.Repo().String() + "@" + d.String()
	f.ask("stat " + key)
	size, ok := f.sizes[key]
	if !ok {
		return 0, "", cache.ErrNotFound
	}
	return size, cache.TierDisk, nil
}

func (f fakeBlobs) Open(_ context.Context, from cache.Origin, d digest.Digest, r cache.Range) (Content, error) {
	key := from.Repo().String() + "@" + d.String()
	f.ask("open " + key)
	if f.err != nil {
		return nil, f.err
	}
	if open, ok := f.blobs[key]; ok {
		return open(r)
	}
	return nil, cache.ErrNotFound
}

func (f fakeBlobs) Link(context.Context, cache.Repo, digest.Digest, func(string, int64) error) (bool, error) {
	return false, nil
}

// fakeRepository is asked for its name only; a method that the cache would call ends the test by a nil pointer.
type fakeRepository struct {
	cache.Upstream
	cache.Lister
	repo cache.Repo
}

func (r fakeRepository) Repo() cache.Repo                                        { return r.repo }
func (fakeRepository) ReadableAnonymously(context.Context, string) (bool, error) { return false, nil }

// content is blob content whose sending a test controls.
type content struct {
	size, start int64
	tier        cache.Tier
	body        []byte
	memory      bool
	writeTo     func(w io.Writer, body []byte) (int64, error) // nil: writes body
	onWait      func() error

	mu     sync.Mutex
	closed int
	reader *bytes.Reader
}

func (c *content) Size() int64           { return c.size }
func (c *content) Start() int64          { return c.start }
func (c *content) Tier() cache.Tier      { return c.tier }
func (c *content) OnWait(f func() error) { c.onWait = f }

func (c *content) Len() int64 {
	if c.size < 0 {
		return -1
	}
	return int64(len(c.body))
}

func (c *content) Bytes() []byte {
	if c.memory {
		return c.body
	}
	return nil
}

func (c *content) Read(p []byte) (int, error) {
	if c.reader == nil {
		c.reader = bytes.NewReader(c.body)
	}
	return c.reader.Read(p)
}

func (c *content) WriteTo(w io.Writer) (int64, error) {
	if c.writeTo != nil {
		return c.writeTo(w, c.body)
	}
	n, err := w.Write(c.body)
	return int64(n), err
}

func (c *content) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return nil
}

func (c *content) closings() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// ofBytes opens ranges of b as the cache does.
func ofBytes(b []byte, tier cache.Tier) func(cache.Range) (Content, error) {
	return func(r cache.Range) (Content, error) {
		size := int64(len(b))
		start, end := r.Start, r.End
		if start < 0 {
			start, end = max(0, size+start), size
		}
		if end < 0 || end > size {
			end = size
		}
		if start >= end && (r != cache.Whole || size != 0) {
			return nil, &cache.RangeError{Digest: sha256, Size: size}
		}
		return &content{size: size, start: start, tier: tier, body: b[start:end], memory: tier == cache.TierMemory}, nil
	}
}

// running is a server on a free port of the loopback interface.
type running struct {
	*Server
	cache    *fakeCache
	addr     string
	answered chan Answer
	served   chan error
}

func options(f *fakeCache) Options {
	upstreams := []string{"docker.io", "gcr.io"}
	pushed, err := hosted.New(hosted.Options{Store: mem.New(time.Now)})
	if err != nil {
		panic(err) // a store is all it needs
	}
	o := Options{
		Names: Names{Default: "docker.io", Upstreams: upstreams, Hosted: []string{"team"}}, Registries: map[string]Registry{},
		Manifests: fakeManifests{f}, Blobs: fakeBlobs{f}, Hosted: pushed,
	}
	for _, host := range upstreams {
		o.Registries[host] = Registry{Repository: func(name string) Repository {
			return fakeRepository{repo: cache.Repo{Registry: host, Name: name}}
		}}
	}
	return o
}

func start(t *testing.T, f *fakeCache, change func(*Options)) *running {
	t.Helper()
	r := &running{cache: f, answered: make(chan Answer, 1000), served: make(chan error, 1)}
	o := options(f)
	o.Answered = func(a Answer) { r.answered <- a }
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	go func() { r.served <- s.Serve(l) }() // ends with the Shutdown below
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
	})
	return r
}

// do sends a request whose path goes out as it is, and reads the answer.
func (r *running) do(t *testing.T, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	return r.send(t, method, path, nil, header...)
}

func (r *running) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}
