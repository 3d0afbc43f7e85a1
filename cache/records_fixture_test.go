package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var nginx = Repo{"docker.io", "library/nginx"}

type manualClock struct {
	mu sync.Mutex
	t  time.Time
}

func newManualClock() *manualClock {
	return &manualClock{t: time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC)}
}

func (c *manualClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *manualClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// fakeManifests is a repository upstream that counts what it is asked.
type fakeManifests struct {
	Origin // no blobs
	repo   Repo

	mu          sync.Mutex
	tags        map[string]digest.Digest
	manifests   map[digest.Digest]Manifest
	headErr     error
	getErr      error
	noDigest    bool
	noMediaType bool
	notSpare    bool
	heads, gets int
	wait        chan struct{} // nil, or every request waits until it is closed
	waiting     chan struct{} // nil, or told of each request that begins to wait
}

func newFakeManifests(repo Repo) *fakeManifests {
	return &fakeManifests{repo: repo, tags: map[string]digest.Digest{}, manifests: map[digest.Digest]Manifest{}}
}

// push makes tag mean a manifest with the layers named.
func (f *fakeManifests) push(tag, content string) Manifest {
	b := fmt.Appendf(nil, `{"schemaVersion":2,"annotations":{"content":%q}}`, content)
	return f.pushBytes(tag, b)
}

func (f *fakeManifests) pushBytes(tag string, b []byte) Manifest {
	man := Manifest{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Bytes: b}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manifests[man.Digest] = man
	if tag != "" {
		f.tags[tag] = man.Digest
	}
	return man
}

func (f *fakeManifests) fail(head, get error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.headErr, f.getErr = head, get
}

// asked gives the requests since it was last called.
func (f *fakeManifests) asked() (heads, gets int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	heads, gets = f.heads, f.gets
	f.heads, f.gets = 0, 0
	return heads, gets
}

func (f *fakeManifests) wantAsked(t *testing.T, heads, gets int) {
	t.Helper()
	if h, g := f.asked(); h != heads || g != gets {
		t.Errorf("upstream saw %d HEAD and %d GET, want %d and %d", h, g, heads, gets)
	}
}

func (f *fakeManifests) find(ref string) (Manifest, error) {
	d, ok := f.tags[ref]
	if !ok {
		d = digest.Digest(ref)
	}
	man, ok := f.manifests[d]
	if !ok {
		return Manifest{}, fmt.Errorf("%s: %w", ref, ErrNotFound)
	}
	return man, nil
}

func (f *fakeManifests) pause(ctx context.Context) error {
	f.mu.Lock()
	wait, waiting := f.wait, f.waiting
	f.mu.Unlock()
	if wait == nil {
		return nil
	}
	if waiting != nil {
		waiting <- struct{}{}
	}
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeManifests) Repo() Repo { return f.repo }

func (f *fakeManifests) Spare() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.notSpare
}

func (f *fakeManifests) ResolveManifest(ctx context.Context, ref string) (Descriptor, error) {
	if err := f.pause(ctx); err != nil {
		return Descriptor{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heads++
	if f.headErr != nil {
		return Descriptor{}, f.headErr
	}
	man, err := f.find(ref)
	if err != nil || f.noDigest {
		return Descriptor{}, err
	}
	if f.noMediaType {
		man.MediaType = ""
	}
	return Descriptor{MediaType: man.MediaType, Digest: man.Digest, Size: int64(len(man.Bytes))}, nil
}

func (f *fakeManifests) FetchManifest(ctx context.Context, ref string) (Manifest, error) {
	if err := f.pause(ctx); err != nil {
		return Manifest{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gets++
	if f.getErr != nil {
		return Manifest{}, f.getErr
	}
	return f.find(ref)
}

func outage(c Cause) error {
	return &UnavailableError{Upstream: "docker.io", Cause: c, Err: errors.New("boom")}
}

type staleCounter struct {
	NoEvents
	mu     sync.Mutex
	counts map[string]int
}

func (s *staleCounter) Stale(registry, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[registry+" "+cause]++
}

func (s *staleCounter) count(registry, cause string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[registry+" "+cause]
}

// office is the records half of a cache over a store that outlives it.
type office struct {
	t         testing.TB
	clock     *manualClock
	store     storage.Store
	memory    *Memory
	records   *Records
	seen      *Seen
	manifests *Manifests
	events    *staleCounter
	options   ManifestOptions
}

// memorySizes are the two ways in which everything must hold: a memory tier can never be counted on.
var memorySizes = map[string]int64{"without memory": 0, "with memory": 1 << 20}

func newOffice(t testing.TB, memory int64, change ...func(*office)) *office {
	t.Helper()
	clock := newManualClock()
	o := &office{t: t, clock: clock, store: mem.New(clock.now), events: &staleCounter{counts: map[string]int{}}}
	ttls, err := NewTTLs(time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.options = ManifestOptions{Events: o.events, Now: clock.now, TTLs: ttls, NegativeTTL: 10 * time.Second}
	for _, f := range change {
		f(o)
	}
	o.open(memory)
	t.Cleanup(o.close)
	return o
}

func (o *office) open(memory int64) {
	o.t.Helper()
	var err error
	if o.memory, err = NewMemory(memory); err != nil {
		o.t.Fatal(err)
	}
	o.records = NewRecords(o.store, RecordOptions{Now: o.clock.now})
	o.seen = NewSeen(o.records, o.memory)
	o.options.Records, o.options.Seen, o.options.Memory = o.records, o.seen, o.memory
	if o.manifests, err = NewManifests(o.options); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) close() {
	o.manifests.Close()
	o.records.Close()
	o.memory.Close()
}

// restart is a new process over the same store.
func (o *office) restart(memory int64) {
	o.t.Helper()
	o.close()
	o.open(memory)
}

// settle waits until everything handed over is where it belongs.
func (o *office) settle() {
	o.t.Helper()
	if err := o.records.Flush(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	if o.memory.cache != nil {
		o.memory.settle()
	}
}

func (o *office) get(up Upstream, ref string) (Answer, error) {
	defer o.settle()
	return o.manifests.Get(o.t.Context(), up, ref)
}

func (o *office) wantGet(up Upstream, ref string, want Manifest) Answer {
	o.t.Helper()
	a, err := o.get(up, ref)
	if err != nil {
		o.t.Fatalf("get %s: %v", ref, err)
	}
	if a.Manifest.Digest != want.Digest || string(a.Manifest.Bytes) != string(want.Bytes) || a.Manifest.MediaType != want.MediaType {
		o.t.Fatalf("get %s: got %s %s, want %s", ref, a.Manifest.Digest, a.Manifest.Bytes, want.Bytes)
	}
	return a
}

func (o *office) wantGetError(up Upstream, ref string, want error) {
	o.t.Helper()
	if a, err := o.get(up, ref); !errors.Is(err, want) {
		o.t.Fatalf("get %s: %+v, %v, want %v", ref, a, err, want)
	}
}

func (o *office) wantHead(up Upstream, ref string, want Manifest) (warning string) {
	o.t.Helper()
	defer o.settle()
	desc, _, warning, err := o.manifests.Resolve(o.t.Context(), up, ref)
	if err != nil {
		o.t.Fatalf("head %s: %v", ref, err)
	}
	if desc.Digest != want.Digest || desc.MediaType != want.MediaType || desc.Size != int64(len(want.Bytes)) {
		o.t.Fatalf("head %s: got %+v, want %s", ref, desc, want.Digest)
	}
	return warning
}

// tagOnDisk is the digest of a tag's durable record, empty if there is none.
func (o *office) tagOnDisk(repo Repo, tag string) digest.Digest {
	o.t.Helper()
	o.settle()
	rec, err := readRecord[tagRecord](o.t.Context(), o.records, tagKey(repo, tag))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		o.t.Fatal(err)
	}
	return rec.Digest
}

// lyingHead answers every HEAD with a manifest that nobody has.
type lyingHead struct {
	*fakeManifests
	digest Manifest
}

func (l *lyingHead) ResolveManifest(ctx context.Context, ref string) (Descriptor, error) {
	if _, err := l.fakeManifests.ResolveManifest(ctx, ref); err != nil {
		return Descriptor{}, err
	}
	return Descriptor{MediaType: l.digest.MediaType, Digest: l.digest.Digest, Size: int64(len(l.digest.Bytes))}, nil
}
