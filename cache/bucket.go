package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/entrepot/entrepot/storage"
)

const (
	bucketPatience = 2 * time.Second // without an answer, or without a byte
	bucketSlow     = time.Second     // for something small
	bucketRest     = 5 * time.Second // that a bucket is not asked anything after it failed
	absentFor      = time.Second     // that a record which was not there is not asked for again
	shunFor        = 10 * time.Minute
)

var (
	errSilent  = errors.New("the bucket keeps silent")
	errResting = errors.New("the bucket failed a moment ago")
)

// Bucket is what several servers keep together, behind the disk of each: whole blobs, manifests, what tags meant, and which
// repository was seen to have what. It may be slow, wrong or gone at any time, and fails no pull: then upstream is asked.
//
// A nil *Bucket has nothing and takes nothing.
type Bucket struct {
	o       BucketOptions
	absent  *remembered[string, struct{}]        // records that were not there
	removed *remembered[string, struct{}]        // records and blobs that were removed here, and may still be there
	shunned *remembered[digest.Digest, struct{}] // blobs of which wrong bytes came from elsewhere than upstream
	flights singleflight.Group                   // of records

	mu     sync.Mutex // guards the rest
	until  time.Time  // it is not asked before
	leases time.Time  // none is taken before
	slow   time.Time  // when an answer was last long in coming
	told   time.Time  // when a failure was last logged
	passed time.Time  // when a server that did not give what it fetches was last named
}

// BucketOptions: Store is needed, the rest is optional.
type BucketOptions struct {
	Store storage.Store

	// With an address, one server at a time fetches a digest from upstream, and the others read it there.
	Leases  storage.Store
	Address string // where the others reach this server
	Peer    func(address string, repo Repo) Peer

	Events Events
	Log    *slog.Logger
	Now    func() time.Time
}

// NewBucket asks nothing yet. The caller owns the stores.
func NewBucket(o BucketOptions) (*Bucket, error) {
	if o.Events == nil {
		o.Events = NoEvents{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Address != "" && (o.Leases == nil || o.Peer == nil) {
		return nil, errors.New("a server with an address needs leases and peers")
	}
	b := &Bucket{o: o}
	var absent, removed, shunned error
	b.absent, absent = newRemembered[string, struct{}](o.Now)
	b.removed, removed = newRemembered[string, struct{}](o.Now)
	b.shunned, shunned = newRemembered[digest.Digest, struct{}](o.Now)
	return b, errors.Join(absent, removed, shunned)
}

func bucketBlob(d digest.Digest) string {
	hex := d.Encoded()
	return "blobs/" + d.Algorithm().String() + "/" + hex[:2] + "/" + hex
}

// ask runs a question about something small, unless the bucket rests.
func (b *Bucket) ask(ctx context.Context, question func(context.Context) error) error {
	if b.resting() {
		return errResting
	}
	brief, cancel := context.WithTimeoutCause(ctx, bucketPatience, errSilent)
	defer cancel()
	began := time.Now()
	err := question(brief)
	b.judge(ctx, began, err)
	return err
}

func (b *Bucket) resting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.o.Now().Before(b.until)
}

// judge lets the bucket rest after a failure that is neither the caller's nor one object's, and after two answers that were
// long in coming: a pull may need several.
func (b *Bucket) judge(ctx context.Context, began time.Time, err error) {
	gone := errors.Is(err, storage.ErrUnavailable) || errors.Is(err, errSilent) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	took := time.Since(began)
	switch {
	case ctx.Err() != nil:
	case gone:
		b.rest(err)
	case took > bucketSlow && b.slowAgain():
		b.rest(fmt.Errorf("it took %s to answer", took.Round(time.Millisecond)))
	case err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrRange):
		b.tell(err)
	}
}

// slowAgain reports whether an answer was long in coming a short time ago, too. One alone may be anybody's.
func (b *Bucket) slowAgain() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.o.Now()
	again := now.Sub(b.slow) < bucketRest
	b.slow = now
	return again
}

func (b *Bucket) rest(err error) {
	b.mu.Lock()
	b.until = b.o.Now().Add(bucketRest)
	b.mu.Unlock()
	b.tell(err)
}

// tell counts a failure, and logs one a minute.
func (b *Bucket) tell(err error) {
	b.o.Events.BucketFailed()
	if !b.quiet(&b.told) {
		b.o.Log.Warn("the bucket fails; pulls go on without it", "err", err)
	}
}

// quiet reports whether something was told in the last minute. If not, it is told now.
func (b *Bucket) quiet(told *time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.o.Now()
	if now.Sub(*told) < complainEvery {
		return true
	}
	*told = now
	return false
}

// blob opens a part of a blob, as Origin does.
func (b *Bucket) blob(ctx context.Context, d digest.Digest, off, n int64) (Part, error) {
	if b.resting() {
		return Part{}, errResting
	}
	during, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(bucketPatience, func() { cancel(errSilent) })
	began := time.Now()
	body, info, err := b.o.Store.Open(during, bucketBlob(d), off, n)
	timer.Stop()
	b.judge(ctx, began, err)
	if err != nil {
		cancel(nil)
		return Part{}, err
	}
	end := info.Size
	if n >= 0 {
		end = min(end, off+n)
	}
	body = &impatient{ReadCloser: body, bucket: b, ctx: ctx, cancel: cancel, timer: timer}
	return Part{Body: body, Off: off, Len: end - off, Size: info.Size, Ranged: n >= 0 && info.Size > 0}, nil
}

// size is that of a blob which the bucket has.
func (b *Bucket) size(ctx context.Context, d digest.Digest) (size int64, err error) {
	if b == nil {
		return 0, storage.ErrNotFound
	}
	err = b.ask(ctx, func(ctx context.Context) error {
		info, err := b.o.Store.Stat(ctx, bucketBlob(d))
		size = info.Size
		return err
	})
	return size, err
}

// shun has a blob fetched from upstream alone for a while, and removed from the bucket: wrong bytes of it came from there, or
// from another server.
func (b *Bucket) shun(ctx context.Context, d digest.Digest) {
	b.shunned.set(d, struct{}{}, shunFor)
	b.o.Log.Error("a blob came with wrong bytes from the bucket or another server; it is fetched from upstream", "digest", d)
	if err := b.drop(ctx, d); err != nil {
		b.o.Log.Warn("a blob with wrong bytes may still be in the bucket", "digest", d, "err", err)
	}
}

// drop removes a blob.
func (b *Bucket) drop(ctx context.Context, d digest.Digest) error {
	if b == nil {
		return nil
	}
	return b.ask(ctx, func(ctx context.Context) error { return b.o.Store.Delete(ctx, bucketBlob(d)) })
}

// impatient ends a body that keeps silent. The time that its reader takes between two reads does not count.
type impatient struct {
	io.ReadCloser
	bucket *Bucket
	ctx    context.Context // of whoever reads
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (i *impatient) Read(p []byte) (int, error) {
	i.timer.Reset(bucketPatience)
	began := time.Now()
	n, err := i.ReadCloser.Read(p)
	i.timer.Stop()
	if err != nil && err != io.EOF {
		i.bucket.judge(i.ctx, began, err)
	}
	return n, err
}

func (i *impatient) Close() error {
	i.timer.Stop()
	defer i.cancel(nil)
	return i.ReadCloser.Close()
}
