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
	Cached verifiedCache       `json:"cached"`
}

// verifiedCache is a cache.VerifyReport. What is damaged was dropped.
type verifiedCache struct {
	Blobs   int      `json:"blobs"`
	Bytes   int64    `json:"bytes"`
	Damaged []string `json:"damaged"` // digests
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
	return u.verify(ctx, rate, tell)
}

// verify reads what is hosted and then what is cached. That one of them fails does not spare the other.
func (u *upkeep) verify(ctx context.Context, rate Size, tell func(verified)) (verified, error) {
	var all verified
	limit := newLimit(rate)
	var failed error
	all.Hosted, failed = u.hosted.Verify(ctx, hosted.VerifyOptions{
		Wait:     paced(limit, u.counts.scrub.ReadHosted),
		Progress: func(r hosted.VerifyReport) { tell(verified{Hosted: r}) },
	})
	if ctx.Err() != nil {
		return all, failed
	}
	found, err := u.cached.Verify(ctx, paced(limit, u.counts.scrub.ReadCached), func(r cache.VerifyReport) {
		tell(verified{Hosted: all.Hosted, Cached: verifiedCache(r)})
	})
	all.Cached = verifiedCache(found)
	u.counts.scrub.CachedDamaged(len(found.Damaged))
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

// paced waits until so many bytes may be read, and counts them.
func paced(limit *rate.Limiter, read func(bytes int)) func(context.Context, int) error {
	return func(ctx context.Context, bytes int) error {
		for left := bytes; left > 0; left -= limit.Burst() {
			if err := limit.WaitN(ctx, min(left, limit.Burst())); err != nil {
				return err
			}
		}
		read(bytes)
		return nil
	}
}
