package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const (
	smallBlob = 64 << 10 // up to here a blob is verified before its first byte is promised
	wakeBytes = 512 << 10
	wakeEvery = 20 * time.Millisecond
	saveEvery = 64 << 20
)

// errPaused ends a fill at shutdown. What it has is kept and resumed when the blob is asked for again.
var errPaused = errors.New("the cache is closing")

// fill brings one blob to the disk and shows it to all who follow while it grows. It belongs to the cache: it outlives every
// reader. Bytes land anywhere in the file; the hash follows the contiguous front and decides about the last byte.
type fill struct {
	digest digest.Digest
	from   Origin // supply, under the name of the repository that was asked for the blob first
	supply *supply
	blobs  *Blobs
	plain  bool // fetch by one plain stream: parallel ranges gave wrong bytes before

	hire    chan struct{} // tells the dispatcher that there may be work for somebody; holds one
	settled chan struct{} // closed when the size is known and readers may attach, or the fill has failed
	ended   chan struct{} // closed when the fill has ended

	mu       sync.Mutex // guards all below
	part     *partial   // nil while a complete file is verified
	blob     *blobFile  // the complete file that is verified; nil otherwise
	size     int64      // -1 while unknown
	have     extents
	resumed  bool   // some of have came with an earlier fill
	taken    []span // what workers are fetching
	ranged   bool   // upstream answers ranges
	workers  int
	verified bool
	hidden   bool  // the file has left its name, which a later fill may take
	err      error // why the fill ended; nil when the blob is whole and right
	readers  map[*follower]struct{}
	waiting  int           // followers and the hash, waiting for bytes
	wake     chan struct{} // closed to wake them
	fresh    int64         // bytes landed since they were woken
	lastWake time.Time
	timer    *time.Timer // wakes them when nothing else does
	unsaved  int64       // bytes landed since the side file was written
	saving   bool
}

func newFill(c *Blobs, from *supply, d digest.Digest) *fill {
	return &fill{digest: d, from: from, supply: from, blobs: c, size: -1, readers: map[*follower]struct{}{}, wake: make(chan struct{}),
		hire: make(chan struct{}, 1), settled: make(chan struct{}), ended: make(chan struct{})}
}

// run fills until the blob is whole, cannot be had, or ctx ends.
func (f *fill) run(ctx context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	err := contained(func() error { return f.start(ctx, g) })()
	if waited := g.Wait(); err == nil {
		err = waited
	}
	f.finish(err)
}

// start finds out what there is to do and sets the workers and the hash going.
func (f *fill) start(ctx context.Context, g *errgroup.Group) error {
	if f.blob != nil {
		f.settle(f.blob.size, true)
		g.Go(contained(func() error { return f.verify(ctx, g) }))
		return nil
	}
	first, err := f.open(ctx)
	if err != nil {
		return err
	}
	g.Go(contained(func() error { return f.verify(ctx, g) }))
	g.Go(contained(func() error { return f.dispatch(ctx, g, first) }))
	return nil
}

// settle lets readers attach.
func (f *fill) settle(size int64, ranged bool) {
	f.mu.Lock()
	f.size, f.ranged = size, ranged
	f.mu.Unlock()
	close(f.settled)
}

// land notes that the bytes [from, to) are in the file, and wakes those who wait for bytes, but not for every few of them:
// waking hundreds of followers per read costs more than the copying.
func (f *fill) land(from, to int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have.add(from, to)
	f.fresh += to - from
	f.unsaved += to - from
	if f.waiting == 0 {
		return
	}
	if f.fresh >= wakeBytes || time.Since(f.lastWake) >= wakeEvery || f.have.reach(0) == f.size {
		f.wakeAll()
	} else if f.timer == nil {
		f.timer = time.AfterFunc(wakeEvery, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.wakeAll()
		})
	}
}

// wakeAll lets all who wait look again. The caller holds mu.
func (f *fill) wakeAll() {
	f.fresh, f.lastWake = 0, time.Now()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	if f.waiting > 0 {
		close(f.wake)
		f.wake = make(chan struct{})
	}
}

// sleep waits until something changed, for at most a second, or until ctx ends. The caller holds mu, and holds it again
// afterwards.
func (f *fill) sleep(ctx context.Context) {
	f.waiting++
	wake := f.wake
	f.mu.Unlock()
	second := time.NewTimer(time.Second)
	select {
	case <-wake:
	case <-second.C:
	case <-ctx.Done():
	}
	second.Stop()
	f.mu.Lock()
	f.waiting--
}

// verify hashes the contiguous front as it grows, reading it back from the page cache, and has the side file saved as it
// goes. It returns nil when the blob is whole and right.
func (f *fill) verify(ctx context.Context, g *errgroup.Group) error {
	hash := f.digest.Algorithm().Hash()
	buf := f.blobs.buffers.Get().(*[]byte)
	defer f.blobs.buffers.Put(buf)
	for done := int64(0); ; {
		front, size, err := f.front(ctx, done)
		if err != nil {
			return err
		}
		for done < front {
			n, err := f.reader().ReadAt((*buf)[:min(int64(len(*buf)), front-done)], done)
			if n == 0 && err != nil {
				return diskError("read back blob", f.digest, err)
			}
			hash.Write((*buf)[:n])
			done += int64(n)
		}
		if done == size {
			break
		}
		f.saveSometimes(g)
	}
	if digest.NewDigest(f.digest.Algorithm(), hash) != f.digest {
		return ErrCorrupt
	}
	f.mu.Lock()
	f.verified = true
	f.wakeAll()
	f.mu.Unlock()
	return nil
}

// front waits until the contiguous front is past done, or the whole blob is there.
func (f *fill) front(ctx context.Context, done int64) (front, size int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if front = f.have.reach(0); front > done || front == f.size {
			return front, f.size, nil
		}
		if ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
		f.sleep(ctx)
	}
}

func (f *fill) reader() io.ReaderAt {
	if f.blob != nil {
		return f.blob
	}
	return f.part.file
}

// saveSometimes has the side file written when enough has landed since the last time. A failure costs no more than a
// restart would have saved.
func (f *fill) saveSometimes(g *errgroup.Group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.part == nil || f.size < 0 || f.saving || f.unsaved < saveEvery {
		return
	}
	f.saving, f.unsaved = true, 0
	have := slices.Clone(f.have)
	g.Go(contained(func() error { // ends with its two writes; the fill waits for it
		if err := f.part.save(have); err != nil {
			f.blobs.log.Warn("a partial blob cannot be saved; a restart will fetch it again", "digest", f.digest, "err", err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.saving = false
		return nil
	}))
}

// finish tells everybody how the fill ended, then has the file put where it belongs.
func (f *fill) finish(err error) {
	f.mu.Lock()
	f.err = err
	have, size := f.have, f.size
	f.wakeAll()
	f.mu.Unlock()
	select {
	case <-f.settled:
	default:
		close(f.settled)
	}
	outcome := f.blobs.conclude(f, have, size, err)
	f.blobs.events.FillEnded(outcome, f.cause(outcome, err))
}

// contained makes a panic the error of one fill instead of the end of the process.
func contained(work func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return work()
	}
}

// hide keeps readers from opening the file by its name.
func (f *fill) hide() {
	f.mu.Lock()
	f.hidden = true
	f.mu.Unlock()
}

func (f *fill) failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}
