package main

import (
	"context"
	"errors"

	"golang.org/x/time/rate"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage/hosted"
)

// verified is what was read again, and what of it is not what it was.
type verified struct {
	Hosted hosted.VerifyReport `json:"hosted"`
	Cached cache.VerifyReport  `json:"cached"`
}

// scrub reads everything again in the background.
func (u *upkeep) scrub(ctx context.Context, rate Size) {
	r, err := u.verify(ctx, rate, func(verified) {})
	if err != nil && ctx.Err() == nil {
		u.log.Error("not everything could be read again", "err", err)
	}
	if n := len(r.Hosted.Damaged); n > 0 {
		u.log.Error("hosted contents are damaged and not served until they are pushed again", "contents", n, "first", r.Hosted.Damaged[0])
	}
	if n := len(r.Cached.Damaged); n > 0 {
		u.log.Warn("damaged blobs were dropped from the cache", "blobs", n, "first", r.Cached.Damaged[0])
	}
	if err == nil {
		u.log.Info("read everything again", "hosted_bytes", r.Hosted.Bytes, "cached_bytes", r.Cached.Bytes)
	}
}

// verifyForCommand is one at a time.
func (u *upkeep) verifyForCommand(ctx context.Context, rate Size, tell func(verified)) (verified, error) {
	if !u.verifying.TryLock() {
		return verified{}, errBusy{"a verification"}
	}
	defer u.verifying.Unlock()
	tell(verified{}) // that it begins
	return u.verify(ctx, rate, tell)
}

// verify reads what is hosted and then what is cached. That one of them fails does not spare the other. What is told counts
// the bytes of what is being read, too: a large blob takes long.
func (u *upkeep) verify(ctx context.Context, rate Size, tell func(verified)) (verified, error) {
	var all, soFar verified
	limit := newLimit(rate)
	var failed error
	all.Hosted, failed = u.hosted.Verify(ctx, hosted.VerifyOptions{
		Wait: paced(limit, func(bytes int) {
			u.counts.scrub.ReadHosted(bytes)
			soFar.Hosted.Bytes += int64(bytes)
			tell(soFar)
		}),
		Progress: func(r hosted.VerifyReport) {
			r.Bytes = soFar.Hosted.Bytes
			soFar.Hosted = r
			tell(soFar)
		},
	})
	if ctx.Err() != nil {
		return all, failed
	}
	if failed == nil {
		u.counts.hosted.DamagedLeft(len(all.Hosted.Damaged))
	}
	soFar.Hosted = all.Hosted
	var err error
	all.Cached, err = u.cached.Verify(ctx, paced(limit, func(bytes int) {
		u.counts.scrub.ReadCached(bytes)
		soFar.Cached.Bytes += int64(bytes)
		tell(soFar)
	}), func(r cache.VerifyReport) {
		r.Bytes = soFar.Cached.Bytes
		soFar.Cached = r
		tell(soFar)
	})
	u.counts.scrub.CachedDamaged(len(all.Cached.Damaged))
	for _, damaged := range []*[]string{&all.Hosted.Damaged, &all.Cached.Damaged} {
		if *damaged == nil {
			*damaged = []string{} // a list in JSON too
		}
	}
	return all, errors.Join(failed, err)
}

// mostAtOnce bounds what may be read at once after a pause.
const mostAtOnce = 1 << 20

// newLimit lets so many bytes through each second; 0 is no limit.
func newLimit(bytes Size) *rate.Limiter {
	if bytes == 0 {
		return rate.NewLimiter(rate.Inf, mostAtOnce)
	}
	return rate.NewLimiter(rate.Limit(bytes), int(min(bytes, mostAtOnce)))
}

// paced waits until so many bytes may be read, and counts them as it waits.
func paced(limit *rate.Limiter, read func(bytes int)) func(context.Context, int) error {
	return func(ctx context.Context, bytes int) error {
		for left := bytes; left > 0; {
			some := min(left, limit.Burst())
			if err := limit.WaitN(ctx, some); err != nil {
				return err
			}
			read(some)
			left -= some
		}
		return nil
	}
}
