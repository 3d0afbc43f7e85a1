package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
)

// fullEvery: one such run of the collector in the background, and the first, looks for parts that nothing names too. Only
// a crash leaves such parts, and finding them reads the record of every blob.
const fullEvery = 24

var errStopping = errors.New("the server is stopping")

// errBusy says that the same is being done already.
type errBusy struct{ what string }

func (e errBusy) Error() string { return e.what + " is under way already" }

// upkeep looks after what is stored: it collects what nothing names, and reads everything again to see whether it is still
// what it was. A server does so in the background and for commands; without a server, a command does.
type upkeep struct {
	hosted interface {
		Collect(context.Context, hosted.CollectOptions) (hosted.CollectReport, error)
		Verify(context.Context, hosted.VerifyOptions) (hosted.VerifyReport, error)
	}
	cached interface {
		Verify(ctx context.Context, wait func(context.Context, int) error, progress func(cache.VerifyReport)) (cache.VerifyReport, error)
	}
	counts *counts
	log    *slog.Logger

	// In the background, one of those who share a bucket collects, and one reads what is hosted; nil: nobody shares it.
	collectLease, scrubLease *storage.Lease
	leftovers                leftovers // ended by the server that collects

	collecting sync.Mutex // held while somebody collects
	verifying  sync.Mutex // held while a command verifies; the slow scrub does not keep it waiting

	work    context.Context // of everything that runs here; stop ends it
	end     context.CancelFunc
	mu      sync.Mutex // held while running grows; stop takes it once, so that running does not grow while it is waited for
	running sync.WaitGroup
}

func newUpkeep(s *stored, n *counts, log *slog.Logger) *upkeep {
	u := &upkeep{hosted: s.hosted, cached: s.blobs, counts: n, log: log}
	if s.bucket != nil {
		u.collectLease, u.scrubLease = s.bucket.lease("collect"), s.bucket.lease("scrub")
		u.leftovers.in = s.bucket
	}
	u.work, u.end = context.WithCancel(context.Background())
	return u
}

// stop cancels what runs and waits for it. Nothing begins afterwards.
func (u *upkeep) stop() {
	u.mu.Lock()
	u.end()
	u.mu.Unlock()
	u.running.Wait()
}

// joined is for what others begin: do's context ends with theirs and with stop, which waits for it.
func (u *upkeep) joined(ctx context.Context, do func(context.Context) error) error {
	u.mu.Lock()
	if u.work.Err() != nil {
		u.mu.Unlock()
		return errStopping
	}
	u.running.Add(1)
	u.mu.Unlock()
	defer u.running.Done()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(u.work, func() { cancel(errStopping) })()
	err := do(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause // which says more than that it was canceled
	}
	return err
}

// schedule is when something is done in the background; never, where every is 0.
type schedule struct {
	first time.Duration // after the start
	every time.Duration // after the end of the last time
}

// schedules are those of the collection and of the scrub, which reads at the rate given. The first collection is soon, so
// that what is hosted gets counted; nothing hurries the scrub.
func (c Config) schedules() (collect, scrub schedule, rate Size) {
	collect = schedule{first: time.Minute, every: time.Duration(c.GCInterval)}
	if c.ScrubRate > 0 {
		scrub = schedule{first: time.Hour, every: 24 * time.Hour}
	}
	return collect, scrub, c.ScrubRate
}

// start collects and scrubs in the background, until stop.
func (u *upkeep) start(collect, scrub schedule, rate Size) {
	runs := 0
	u.repeat(collect, func(ctx context.Context) error {
		return u.alone(ctx, u.collectLease, func(ctx context.Context) error {
			err := u.collectBehind(ctx, runs%fullEvery == 0)
			if err == nil {
				runs++
			}
			u.leftovers.end(ctx, u.log)
			return err
		})
	})
	u.repeat(scrub, func(ctx context.Context) error { u.scrub(ctx, rate); return nil })
}

// repeat does something by its schedule. While somebody else is at it, it is tried again soon: they may die over it.
func (u *upkeep) repeat(s schedule, do func(context.Context) error) {
	if s.every == 0 {
		return
	}
	u.running.Go(func() { // until stop
		timer := time.NewTimer(s.first)
		defer timer.Stop()
		for {
			select {
			case <-u.work.Done():
				return
			case <-timer.C:
			}
			if err := do(u.work); errors.Is(err, storage.ErrHeld) {
				timer.Reset(min(s.every, leaseLife))
				continue
			}
			timer.Reset(s.every)
		}
	})
}

// alone does what only one of several servers shall do at a time, unless another is at it (storage.ErrHeld) or has just done
// it (storage.ErrDone).
func (u *upkeep) alone(ctx context.Context, lease *storage.Lease, do func(context.Context) error) error {
	if lease == nil {
		return do(ctx)
	}
	begun := false
	err := lease.Do(ctx, func(ctx context.Context) error {
		begun = true
		return do(ctx)
	})
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, storage.ErrHeld), errors.Is(err, storage.ErrDone):
		u.log.Debug("left to another server", "reason", err)
	case errors.Is(err, storage.ErrLost):
		u.log.Warn("ended before its end, for another server may have begun it", "reason", err)
	case !begun:
		u.log.Warn("not begun, for it is not known whether another server is at it", "err", err)
	}
	return err
}

// collectBehind makes a collection that nobody waits for. Where it fails, the next one tries again.
func (u *upkeep) collectBehind(ctx context.Context, full bool) error {
	r, err := u.collect(ctx, hosted.CollectOptions{Grace: -1, Full: full})
	switch {
	case errors.As(err, new(errBusy)) || err != nil && ctx.Err() != nil:
		u.log.Debug("no collection", "reason", err)
	case err != nil:
		u.log.Error("collection of hosted contents failed; the next one tries again", "err", err)
	default:
		u.log.Info("collected what no hosted manifest names", "freed", r.Freed, "freed_bytes", r.FreedBytes, "condemned", r.Condemned,
			"untagged", r.Untagged, "uploads", r.Uploads, "orphans", r.Orphans, "took", r.Took.String())
	}
	return err
}

// collect makes one collection, unless one is under way.
func (u *upkeep) collect(ctx context.Context, o hosted.CollectOptions) (hosted.CollectReport, error) {
	if !u.collecting.TryLock() {
		return hosted.CollectReport{}, errBusy{"a collection"}
	}
	defer u.collecting.Unlock()
	return u.round(ctx, o)
}

// collectForCommand makes two rounds where the first condemned something: what nobody has claimed since is deleted by the
// second.
func (u *upkeep) collectForCommand(ctx context.Context, o hosted.CollectOptions) (hosted.CollectReport, error) {
	if !u.collecting.TryLock() {
		return hosted.CollectReport{}, errBusy{"a collection"}
	}
	defer u.collecting.Unlock()
	o.Full = true
	if o.Progress != nil {
		o.Progress(hosted.CollectReport{DryRun: o.DryRun}) // that it begins
	}
	first, err := u.round(ctx, o)
	if err != nil || o.DryRun || first.Condemned == 0 {
		return first, err
	}
	tell := o.Progress
	if tell != nil {
		o.Progress = func(r hosted.CollectReport) { tell(bothRounds(first, r)) }
	}
	second, err := u.round(ctx, o)
	return bothRounds(first, second), err
}

// bothRounds: what is kept is what the second found, what went is what both deleted.
func bothRounds(first, second hosted.CollectReport) hosted.CollectReport {
	second.Condemned += max(0, first.Condemned-second.Freed)
	second.Untagged += first.Untagged
	second.Freed += first.Freed
	second.FreedBytes += first.FreedBytes
	second.Uploads += first.Uploads
	second.Orphans += first.Orphans
	second.Started = first.Started
	second.Took += first.Took
	return second
}

func (u *upkeep) round(ctx context.Context, o hosted.CollectOptions) (hosted.CollectReport, error) {
	r, err := u.hosted.Collect(ctx, o)
	if err != nil && ctx.Err() == nil {
		u.counts.hosted.CollectionFailed()
	}
	if err != nil {
		err = fmt.Errorf("collect hosted contents: %w", err)
	}
	return r, err
}
