package cache

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"
)

const (
	bufferBytes = 128 << 10
	extraHands  = 32               // parallel requests of all fills, beyond one for each
	corruptFor  = 10 * time.Second // how long a blob that came with wrong bytes is not asked for again
)

// Blobs serves blobs from the memory tier, the disk tier, or a fill that all who ask for the blob follow.
type Blobs struct {
	disk     *disk // nil: no disk tier
	memory   *Memory
	seen     *Seen
	hints    *Hints
	bucket   *Bucket // nil: none
	events   Events
	log      *slog.Logger
	jitter   func(time.Duration) time.Duration
	maxFills int
	prefetch bool
	negative time.Duration

	buffers *sync.Pool // of *[]byte, bufferBytes long
	sender  *sender
	extra   *semaphore.Weighted
	refused *remembered[blobName, error] // 404s, refusals and wrong bytes

	ctx     context.Context // ends at Close, with errPaused as its cause
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup // fills, prefetchers and the trimmer
	queue   chan warming
	storing chan storing // what is left to be done in the bucket

	storers    sync.WaitGroup
	storingEnd context.CancelFunc
	farewell   context.Context // of the last requests, after storingEnd

	mu     sync.Mutex // guards all below; taken before the disk's, never with a fill's
	fills  map[digest.Digest]*fill
	alone  map[digest.Digest]bool // came with wrong bytes: the next fill uses one plain stream
	closed bool

	unstored []digest.Digest // what Close has kept from the bucket
}

type blobName struct {
	Repo
	digest digest.Digest
}

// BlobOptions: Memory and Seen are needed, the rest is optional.
type BlobOptions struct {
	Dir     string // of the disk tier, which nobody else uses
	Size    int64  // bytes of the disk tier; 0: none
	MinFree int64  // bytes of the file system to leave free
	Clean   bool   // the last run ended in order: blobs need not be verified again at their first use

	Memory *Memory
	Seen   *Seen
	Hints  *Hints
	Bucket *Bucket // nil: this server is alone

	MaxFills    int           // at once; what comes beyond is streamed past the cache
	Prefetch    bool          // fetch a manifest's other layers when its first one is asked for
	NegativeTTL time.Duration // how long a 404 or a refusal is remembered

	Events Events
	Log    *slog.Logger
	Now    func() time.Time
	Jitter func(time.Duration) time.Duration // spreads a wait, so that retries do not march in step
}

func (o BlobOptions) withDefaults() BlobOptions {
	if o.Events == nil {
		o.Events = NoEvents{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = func(d time.Duration) time.Duration { return d/2 + rand.N(d) }
	}
	if o.MaxFills == 0 {
		o.MaxFills = 512
	}
	return o
}

// OpenBlobs opens the disk tier and begins to serve. Close ends what runs.
func OpenBlobs(o BlobOptions) (*Blobs, error) {
	return openBlobs(o.withDefaults(), osFiles{})
}

func openBlobs(o BlobOptions, files fileSystem) (*Blobs, error) {
	if o.Seen == nil {
		return nil, errors.New("blobs need to know what was seen where")
	}
	c := &Blobs{memory: o.Memory, seen: o.Seen, hints: o.Hints, bucket: o.Bucket, events: o.Events, log: o.Log, jitter: o.Jitter, maxFills: o.MaxFills,
		prefetch: o.Prefetch, negative: o.NegativeTTL, extra: semaphore.NewWeighted(extraHands), queue: make(chan warming, 256),
		buffers: &sync.Pool{New: func() any { b := make([]byte, bufferBytes); return &b }},
		fills:   map[digest.Digest]*fill{}, alone: map[digest.Digest]bool{}}
	c.sender = &sender{buffers: c.buffers}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	var err error
	if c.refused, err = newRemembered[blobName, error](o.Now); err != nil {
		return nil, err
	}
	if c.hints == nil {
		c.hints = NewHints()
	}
	if o.Size > 0 {
		k := diskOptions{dir: o.Dir, size: o.Size, minFree: o.MinFree, clean: o.Clean, fs: files, log: o.Log, evicted: o.Events.Evicted}
		if c.disk, err = openDisk(k); err != nil {
			return nil, err
		}
		c.wg.Go(c.trim)
	}
	for range warmers {
		c.wg.Go(c.warm)
	}
	if c.bucket != nil {
		c.startStoring()
	}
	return c, nil
}

// Close pauses the fills, which a later run resumes, and waits for all that runs. Readers still open get errors.
func (c *Blobs) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.cancel(errPaused)
	c.wg.Wait()
	err := c.endStoring()
	if c.disk == nil {
		return err
	}
	return errors.Join(err, c.disk.close())
}

// trim gives up blobs while the file system is short of space, whoever took it. It ends at Close.
func (c *Blobs) trim() {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.disk.freeUp(0)
		case <-c.ctx.Done():
			return
		}
	}
}

// Hot gives a small blob from the memory tier if the repository is known there to have it. It does no I/O and does not keep
// its arguments, which may be views into a request.
func (c *Blobs) Hot(repo Repo, d digest.Digest) ([]byte, bool) {
	b, ok := c.memory.Blob(d)
	if !ok {
		return nil, false
	}
	if _, ok = c.memory.seen(repo, d); !ok {
		return nil, false
	}
	return b, true
}

// Open gives a blob, or the part of it that r names, as the repository has it. It returns once the size is known, without
// waiting for the bytes. The end of ctx ends the wait and whatever is streamed past the cache for this reader, so it must
// outlive the reader; fills go on.
func (c *Blobs) Open(ctx context.Context, from Origin, d digest.Digest, r Range) (*Reader, error) {
	if r == Whole {
		c.warmSiblings(from, d)
	}
	if b, ok := c.memory.Blob(d); ok {
		if _, err := c.prove(ctx, from, d); err != nil {
			return nil, err
		}
		return memoryReader(d, b, r)
	}
	if c.disk == nil {
		return c.stream(ctx, from, d, r, "none")
	}
	rd, err := c.openLocal(ctx, from, d, r)
	if rd == nil && err == nil {
		rd, err = c.follow(ctx, from, d, r)
	}
	switch {
	case errors.Is(err, errNoRoom):
		return c.stream(ctx, from, d, r, "full")
	case errors.Is(err, errBusy):
		return c.stream(ctx, from, d, r, "busy")
	case errors.Is(err, errForeign):
		return c.stream(ctx, from, d, r, "foreign")
	case errors.Is(err, errDisk):
		c.log.Error("the disk tier failed; a blob is streamed past it", "digest", d, "err", err)
		return c.stream(ctx, from, d, r, "disk")
	}
	return rd, err
}

// Drop forgets a blob, in the bucket too. A fill that runs goes on, and so do other servers.
func (c *Blobs) Drop(ctx context.Context, d digest.Digest) error {
	c.dropHere(d)
	if c.bucket != nil {
		c.bucket.removed.set(bucketBlob(d), struct{}{}, persistence) // also where it is on its way there
	}
	return c.bucket.drop(ctx, d)
}

func (c *Blobs) dropHere(d digest.Digest) {
	c.memory.DropBlob(d)
	if c.disk != nil {
		c.disk.drop(d)
	}
}

// SetRecordBytes tells how many bytes the records take, which count against the disk tier's size.
func (c *Blobs) SetRecordBytes(n int64) {
	if c.disk != nil {
		c.disk.setRecords(n)
	}
}

// Usage is how full the disk tier is.
func (c *Blobs) Usage() Usage {
	if c.disk == nil {
		return Usage{}
	}
	return c.disk.usage()
}
