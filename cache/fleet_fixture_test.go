package cache

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
)

// fleet is several servers that share a bucket, and reach each other by name.
type fleet struct {
	t      *testing.T
	common *commons
	peers  map[string]Peer // by address; a server that is not among them is gone
}

// inFleet runs a test by the clock of a bubble, in which nothing may be left when it ends.
func inFleet(t *testing.T, name string, test func(t *testing.T, f *fleet)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			t.Cleanup(func() { time.Sleep(bucketPatience) }) // questions to the bucket outlive whoever asked
			test(t, &fleet{t: t, common: newCommons(), peers: map[string]Peer{}})
		})
	})
}

// server is one of a fleet.
type server struct {
	t         *testing.T
	dir       string
	from      *fakeOrigin
	bucket    *Bucket
	records   *Records
	seen      *Seen
	manifests *Manifests
	blobs     *Blobs
	events    *tally
}

// alone starts a server that neither takes leases nor asks others.
func (f *fleet) alone(from *fakeOrigin, change ...func(*BlobOptions)) *server {
	f.t.Helper()
	return f.start(BucketOptions{}, f.t.TempDir(), from, change...)
}

// named starts a server that takes leases by its name, under which others find it.
func (f *fleet) named(name string, from *fakeOrigin, change ...func(*BlobOptions)) *server {
	f.t.Helper()
	peer := func(address string, _ Repo) Peer {
		if p := f.peers[address]; p != nil {
			return p
		}
		return gone{}
	}
	s := f.start(BucketOptions{Leases: storage.Under(f.common, "leases"), Address: name, Peer: peer}, f.t.TempDir(), from, change...)
	f.peers[name] = &neighbour{at: s}
	return s
}

func (f *fleet) start(o BucketOptions, dir string, from *fakeOrigin, change ...func(*BlobOptions)) *server {
	f.t.Helper()
	s := &server{t: f.t, dir: dir, from: from, events: &tally{counts: map[string]int{}}}
	o.Store, o.Events = storage.Under(f.common, "cache"), s.events
	var err error
	if s.bucket, err = NewBucket(o); err != nil {
		f.t.Fatal(err)
	}
	memory, err := NewMemory(0)
	if err != nil {
		f.t.Fatal(err)
	}
	s.records = NewRecords(mem.New(time.Now), RecordOptions{Bucket: s.bucket})
	s.seen = NewSeen(s.records, memory)
	ttls, err := NewTTLs(time.Minute, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	s.manifests, err = NewManifests(ManifestOptions{Records: s.records, Seen: s.seen, Memory: memory, Events: s.events, TTLs: ttls, NegativeTTL: 10 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	b := BlobOptions{Dir: dir, Size: 1 << 30, Clean: true, Memory: memory, Seen: s.seen, Bucket: s.bucket, Events: s.events,
		NegativeTTL: 10 * time.Second, Jitter: func(time.Duration) time.Duration { return time.Millisecond }}
	for _, c := range change {
		c(&b)
	}
	if s.blobs, err = OpenBlobs(b); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(s.close)
	return s
}

func (s *server) close() {
	s.blobs.Close()
	s.manifests.Close()
	s.records.Close()
}

// want pulls a part of a blob, and says which tier it came from.
func (s *server) want(b []byte, r Range) Tier {
	s.t.Helper()
	rd, err := s.blobs.Open(s.t.Context(), s.from, digest.FromBytes(b), r)
	if err != nil {
		s.t.Fatalf("open %v of %d bytes: %v", r, len(b), err)
	}
	defer rd.Close()
	start, end, _ := r.Of("", int64(len(b)))
	m := &matching{want: b[start:end]}
	if n, err := rd.WriteTo(m); err != nil || m.wrong || len(m.want) > 0 {
		s.t.Fatalf("%d bytes of %v of %d, wrong: %v, %v", n, r, len(b), m.wrong, err)
	}
	return rd.Tier()
}

// wantGets pulls a blob and says how many of its bytes upstream gave for that, none of them twice.
func (s *server) wantFrom(upstream int64, b []byte, r Range) {
	s.t.Helper()
	before := s.from.gave()
	s.want(b, r)
	synctest.Wait()
	if n := s.from.gave() - before; n != upstream || s.from.twice > 0 {
		s.t.Errorf("upstream gave %d of %d bytes, want %d; %d twice", n, len(b), upstream, s.from.twice)
	}
}

// gave is how many different bytes an origin has sent.
func (o *fakeOrigin) gave() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.served.bytes()
}

// tally counts events by name.
type tally struct {
	NoEvents
	mu     sync.Mutex
	counts map[string]int
}

func (e *tally) add(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[name]++
}

func (e *tally) count(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[name]
}

func (e *tally) BucketFailed()                { e.add("failed") }
func (e *tally) BucketStored(stored bool)     { e.add(fmt.Sprint("stored ", stored)) }
func (e *tally) Borrowed(begun bool)          { e.add(fmt.Sprint("borrowed ", begun)) }
func (e *tally) FillEnded(o Outcome, _ Cause) { e.add("fill " + string(o)) }
func (e *tally) Stale(_, _ string)            { e.add("stale") }

// image is a tag with one layer, as a registry has it.
type image struct {
	up    *fakeManifests
	man   Manifest
	layer []byte
}

func newImage(repo Repo, tag string) image {
	layer := []byte("layer of " + tag)
	up := newFakeManifests(repo)
	return image{up, up.pushBytes(tag, fmt.Appendf(nil, `{"layers":[{"digest":%q,"size":%d}]}`, digest.FromBytes(layer), len(layer))), layer}
}

// origin is where the layer comes from.
func (i image) origin() *fakeOrigin {
	o := newOrigin("", i.layer)
	o.repo = i.up.repo
	return o
}

// wantManifest gets a manifest by tag or digest, and says with which warning.
func (s *server) wantManifest(i image, ref string) (warning string) {
	s.t.Helper()
	a, err := s.manifests.Get(s.t.Context(), i.up, ref)
	if err != nil {
		s.t.Fatalf("get %s: %v", ref, err)
	}
	if string(a.Manifest.Bytes) != string(i.man.Bytes) || a.Manifest.MediaType != i.man.MediaType {
		s.t.Fatalf("get %s: %s %s", ref, a.Manifest.MediaType, a.Manifest.Bytes)
	}
	synctest.Wait()
	return a.Warning
}

// pull pulls an image as a client does, and waits until the bucket has it.
func (s *server) pull(i image, tag string) {
	s.t.Helper()
	s.wantManifest(i, tag)
	s.wantManifest(i, string(i.man.Digest))
	s.want(i.layer, Whole)
	synctest.Wait()
}
