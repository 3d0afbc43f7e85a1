package cache

import (
	"context"
	"errors"
	"fmt"
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
		prefetch: o.Prefetch, negative: o.NegativeTTL, extra: semaphore.NewWeighted(extraHands), queue: make(chan warming, 256), storing: make(chan storing, mostStoring),
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

// Stat gives the size of a blob that the repository has; -1 where its registry does not say. It fetches nothing.
func (c *Blobs) Stat(ctx context.Context, from Origin, d digest.Digest) (int64, Tier, error) {
	if size, tier, ok := c.local(d); ok {
		_, err := c.prove(ctx, from, d)
		return size, tier, err
	}
	size, err := c.ask(ctx, from, d)
	if IsOutage(err) {
		if size, ok := c.statInBucket(ctx, from, d); ok {
			return size, TierS3, nil
		}
	}
	return size, TierUpstream, err
}

// statInBucket gives the size of a blob that the bucket has, if the repository was seen to have it.
func (c *Blobs) statInBucket(ctx context.Context, from Origin, d digest.Digest) (int64, bool) {
	if _, err := c.seen.get(ctx, from.Repo(), d); err != nil {
		return 0, false
	}
	size, err := c.bucket.size(ctx, d)
	return size, err == nil
}

// local gives the size of a blob that is kept here, whoever may have it.
func (c *Blobs) local(d digest.Digest) (int64, Tier, bool) {
	if b, ok := c.memory.Blob(d); ok {
		return int64(len(b)), TierMemory, true
	}
	if c.disk == nil {
		return 0, "", false
	}
	size, ok := c.disk.has(d)
	return size, TierDisk, ok
}

// prove makes sure that the repository has a blob which is here already: it was seen there, or its registry says so now. It
// gives the size that the registry named; -1 for none.
func (c *Blobs) prove(ctx context.Context, from Origin, d digest.Digest) (int64, error) {
	if from.Repo().none() {
		return from.StatBlob(ctx, d)
	}
	if seen, err := c.seen.get(ctx, from.Repo(), d); err == nil {
		return seen.Size, nil
	}
	return c.ask(ctx, from, d)
}

// ask asks the registry for a blob's size, and notes that the repository has it.
func (c *Blobs) ask(ctx context.Context, from Origin, d digest.Digest) (int64, error) {
	name := blobName{from.Repo(), d}
	if err, known := c.refused.get(name); known {
		return 0, err
	}
	size, err := from.StatBlob(ctx, d)
	if err != nil {
		c.refuse(name, err)
		return 0, err
	}
	c.seen.Add(ctx, name.Repo, d, "", size)
	return size, nil
}

// refuse remembers an answer that will not change at once. Outages are not answers.
func (c *Blobs) refuse(name blobName, err error) {
	switch {
	case errors.Is(err, ErrCorrupt):
		c.refused.set(name, err, corruptFor)
	case isAnswer(err):
		c.refused.set(name, err, c.negative)
	}
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

// openLocal serves a complete and verified file; nil when there is none.
func (c *Blobs) openLocal(ctx context.Context, from Origin, d digest.Digest, r Range) (*Reader, error) {
	f, err := c.disk.open(d)
	if f == nil || err != nil {
		return nil, err
	}
	rd, err := c.serveFile(ctx, from, d, r, f)
	if rd == nil || rd.memory != nil {
		f.Close()
	}
	return rd, err
}

func (c *Blobs) serveFile(ctx context.Context, from Origin, d digest.Digest, r Range, f *blobFile) (*Reader, error) {
	size, err := c.prove(ctx, from, d)
	if err != nil {
		return nil, err
	}
	if size >= 0 && size != f.size { // the file was cut, or the registry or its manifest has the size wrong
		if !f.matches(d) {
			c.log.Error("a cached blob has the wrong size; it is fetched again", "digest", d, "size", f.size, "want", size)
			c.disk.drop(d)
			return nil, nil
		}
		c.seen.Add(ctx, from.Repo(), d, "", f.size)
	}
	if !f.verified {
		return nil, nil
	}
	if f.size <= c.memory.Ceiling() {
		if b := c.promote(d, f); b != nil {
			rd, err := memoryReader(d, b, r)
			if rd != nil {
				rd.tier = TierDisk
			}
			return rd, err
		}
		return nil, nil
	}
	start, end, err := r.Of(d, f.size)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(start, 0); err != nil {
		return nil, fmt.Errorf("%w: seek in blob %s: %w", errDisk, d, err)
	}
	return newReader(f.size, start, end, TierDisk, &inFile{blobFile: f, left: end - start, sender: c.sender}), nil
}

// promote brings a small blob into the memory tier. Bytes that went bad on the disk are dropped; nil then.
func (c *Blobs) promote(d digest.Digest, f *blobFile) []byte {
	b := make([]byte, f.size)
	if _, err := f.ReadAt(b, 0); err != nil || d.Algorithm().FromBytes(b) != d {
		c.log.Error("a cached blob is damaged; it is fetched again", "digest", d, "err", err)
		c.disk.drop(d)
		return nil
	}
	c.memory.SetBlob(d, b)
	return b
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
