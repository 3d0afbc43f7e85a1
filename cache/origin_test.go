package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
)

// fakeOrigin is one repository of a registry that keeps blobs in memory, counts, and misbehaves on demand.
type fakeOrigin struct {
	repo    Repo
	content map[digest.Digest][]byte

	plain   bool // answers every range by the whole blob
	unsized bool // names no size
	gate    chan struct{}
	fail    func(off, n int64) error
	damage  func(b []byte) []byte // what is sent instead of b; ranges are cut before
	cut     func(off int64) int64 // bytes of an answer after which the connection breaks; < 0: never
	silent  bool                  // a connection that should break says nothing any more instead
	stat    func() (int64, error) // answers HEAD instead
	noSpare bool

	mu     sync.Mutex
	stats  int
	gets   int
	open   int // bodies that were not closed
	served extents
	twice  int64 // bytes that were served more than once
}

func newOrigin(repo string, blobs ...[]byte) *fakeOrigin {
	o := &fakeOrigin{repo: Repo{"docker.io", repo}, content: map[digest.Digest][]byte{}}
	for _, b := range blobs {
		o.content[digest.FromBytes(b)] = b
	}
	return o
}

func (o *fakeOrigin) Repo() Repo  { return o.repo }
func (o *fakeOrigin) Spare() bool { return !o.noSpare }

func (o *fakeOrigin) StatBlob(_ context.Context, d digest.Digest) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats++
	if o.stat != nil {
		return o.stat()
	}
	b, ok := o.content[d]
	if !ok {
		return 0, ErrNotFound
	}
	if o.unsized {
		return -1, nil
	}
	return int64(len(b)), nil
}

func (o *fakeOrigin) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (Part, error) {
	o.mu.Lock()
	o.gets++
	o.mu.Unlock()
	if o.gate != nil {
		select {
		case <-o.gate:
		case <-ctx.Done():
			return Part{}, context.Cause(ctx)
		}
	}
	if o.fail != nil {
		if err := o.fail(off, n); err != nil {
			return Part{}, err
		}
	}
	b, ok := o.content[d]
	if !ok {
		return Part{}, ErrNotFound
	}
	size := int64(len(b))
	p := Part{Off: off, Size: size, Ranged: true}
	if n < 0 || o.plain || size == 0 {
		p.Off, n, p.Ranged = 0, size, false
	}
	if p.Off > 0 && p.Off >= size {
		return Part{}, &RangeError{Digest: d, Size: size}
	}
	piece := b[p.Off:min(size, p.Off+n)]
	p.Len = int64(len(piece))
	if o.damage != nil {
		piece = o.damage(bytes.Clone(piece))
	}
	if o.unsized {
		p.Size, p.Len = -1, -1
	}
	body := &fakeBody{o: o, ctx: ctx, at: p.Off, r: bytes.NewReader(piece), left: -1}
	if o.cut != nil {
		body.left = o.cut(p.Off)
	}
	p.Body = body
	o.mu.Lock()
	o.open++
	o.mu.Unlock()
	return p, nil
}

func (o *fakeOrigin) count(from, to int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.served.bytes()
	o.served.add(from, to)
	o.twice += to - from - (o.served.bytes() - before)
}

func (o *fakeOrigin) requests() (gets, stats int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gets, o.stats
}

type fakeBody struct {
	o    *fakeOrigin
	ctx  context.Context
	r    *bytes.Reader
	at   int64
	left int64
}

var errCut = errors.New("connection reset")

func (b *fakeBody) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, b.ctx.Err()
	}
	if b.left == 0 && b.o.silent {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	if b.left == 0 {
		return 0, errCut
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.r.Read(p[:min(len(p), 50_000)])
	b.o.count(b.at, b.at+int64(n))
	b.at += int64(n)
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, err
}

func (b *fakeBody) Close() error {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	b.o.open--
	return nil
}

// randomBytes are the same for the same seed and size.
func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	rng.Read(b)
	return b
}

// blobsAt opens a cache over a folder, which several tests open again.
func blobsAt(t *testing.T, dir string, change ...func(*BlobOptions)) *Blobs {
	t.Helper()
	memory, err := NewMemory(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	o := BlobOptions{Dir: dir, Size: 1 << 30, Clean: true, Memory: memory, Seen: newTestSeen(t, memory),
		Jitter: func(time.Duration) time.Duration { return time.Millisecond }}
	for _, f := range change {
		f(&o)
	}
	c, err := OpenBlobs(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); memory.Close() })
	return c
}

func readBlob(t *testing.T, c *Blobs, o Origin, d digest.Digest, r Range) ([]byte, error) {
	t.Helper()
	rd, err := c.Open(context.Background(), o, d, r)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	var buf bytes.Buffer
	_, err = rd.WriteTo(struct{ io.Writer }{&buf}) // without ReadFrom: as over TLS
	return buf.Bytes(), err
}

func wantBlob(t *testing.T, c *Blobs, o Origin, b []byte, r Range) {
	t.Helper()
	n, whole, err := matchBlob(c, o, b, r)
	if err != nil || !whole {
		t.Fatalf("got %d bytes, right and complete: %v, err %v; want %v of %d bytes", n, whole, err, r, len(b))
	}
}

// matchBlob reads a blob and says whether the answer is all of what b says it should be.
func matchBlob(c *Blobs, o Origin, b []byte, r Range) (n int64, whole bool, err error) {
	start, end, err := r.Of("", int64(len(b)))
	if err != nil {
		return 0, false, err
	}
	rd, err := c.Open(context.Background(), o, digest.FromBytes(b), r)
	if err != nil {
		return 0, false, err
	}
	defer rd.Close()
	m := &matching{want: b[start:end]}
	n, err = rd.WriteTo(m) // without ReadFrom: as over TLS
	return n, !m.wrong && len(m.want) == 0, err
}

// matching compares what is written with what is wanted. It keeps nothing: under the race detector memory is dear.
type matching struct {
	want  []byte // still to come
	wrong bool
}

func (m *matching) Write(p []byte) (int, error) {
	n := min(len(p), len(m.want))
	m.wrong = m.wrong || n < len(p) || !bytes.Equal(p, m.want[:n])
	m.want = m.want[n:]
	return len(p), nil
}

// settled waits until no fill runs.
func settled(t *testing.T, c *Blobs) {
	t.Helper()
	for {
		c.mu.Lock()
		var ended chan struct{}
		for _, f := range c.fills {
			ended = f.ended
		}
		c.mu.Unlock()
		if ended == nil {
			return
		}
		<-ended
	}
}

func newTestSeen(t *testing.T, memory *Memory) *Seen {
	records := NewRecords(mem.New(time.Now), RecordOptions{})
	t.Cleanup(records.Close)
	return NewSeen(records, memory)
}
