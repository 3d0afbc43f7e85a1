package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
)

// verified is what was read again, and what of it is not what it was.
type verified struct {
	Hosted hosted.VerifyReport `json:"hosted"`
	Cached cache.VerifyReport  `json:"cached"`
}

// scrub reads everything again in the background: what is cached here, and what is hosted unless another server that shares
// it does.
func (u *upkeep) scrub(ctx context.Context, rate Size) {
	p := u.newPass(rate, func(verified) {})
	err := u.alone(ctx, u.scrubLease, p.hosted)
	left := errors.Is(err, storage.ErrHeld) || errors.Is(err, storage.ErrDone)
	if left {
		err = nil
	}
	if ctx.Err() == nil {
		err = errors.Join(err, p.cached(ctx))
	}
	r := p.all
	if err != nil && ctx.Err() == nil {
		u.log.Error("not everything could be read again", "err", err)
	}
	if n := len(r.Hosted.Damaged); n > 0 {
		u.log.Error("hosted contents are damaged and not served until they are pushed again", "contents", n, "first", r.Hosted.Damaged[0])
	}
	if n := len(r.Cached.Damaged); n > 0 {
		u.log.Warn("damaged blobs were dropped from the cache", "blobs", n, "first", r.Cached.Damaged[0])
	}
	if err == nil && ctx.Err() == nil {
		u.log.Info("read everything again", "hosted_bytes", r.Hosted.Bytes, "cached_bytes", r.Cached.Bytes, "hosted_by_another", left)
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

// verify reads what is hosted and then what is cached. That one of them fails does not spare the other.
func (u *upkeep) verify(ctx context.Context, rate Size, tell func(verified)) (verified, error) {
	p := u.newPass(rate, tell)
	err := p.hosted(ctx)
	if ctx.Err() == nil {
		err = errors.Join(err, p.cached(ctx))
	}
	return p.all, err
}

// pass is one reading of what there is. What is told counts the bytes of what is being read, too: a large blob takes long.
type pass struct {
	u          *upkeep
	limit      *rate.Limiter
	tell       func(verified)
	all, soFar verified
}

func (u *upkeep) newPass(bytes Size, tell func(verified)) *pass {
	p := &pass{u: u, limit: newLimit(bytes), tell: tell}
	p.all.Hosted.Damaged, p.all.Cached.Damaged = []string{}, []string{} // lists in JSON too
	return p
}

func (p *pass) hosted(ctx context.Context) error {
	report, err := p.u.hosted.Verify(ctx, hosted.VerifyOptions{
		Wait: paced(p.limit, func(bytes int) {
			p.u.counts.scrub.ReadHosted(bytes)
			p.soFar.Hosted.Bytes += int64(bytes)
			p.tell(p.soFar)
		}),
		Progress: func(r hosted.VerifyReport) {
			r.Bytes = p.soFar.Hosted.Bytes
			p.soFar.Hosted = r
			p.tell(p.soFar)
		},
	})
	if err == nil {
		p.u.counts.hosted.DamagedLeft(len(report.Damaged))
		p.u.counts.scrub.AllHostedRead(time.Now())
	}
	if report.Damaged == nil {
		report.Damaged = []string{}
	}
	p.all.Hosted, p.soFar.Hosted = report, report
	return err
}

func (p *pass) cached(ctx context.Context) error {
	report, err := p.u.cached.Verify(ctx, paced(p.limit, func(bytes int) {
		p.u.counts.scrub.ReadCached(bytes)
		p.soFar.Cached.Bytes += int64(bytes)
		p.tell(p.soFar)
	}), func(r cache.VerifyReport) {
		r.Bytes = p.soFar.Cached.Bytes
		p.soFar.Cached = r
		p.tell(p.soFar)
	})
	p.u.counts.scrub.CachedDamaged(len(report.Damaged))
	if err == nil {
		p.u.counts.scrub.AllCachedRead(time.Now())
	}
	if report.Damaged == nil {
		report.Damaged = []string{}
	}
	p.all.Cached = report
	return err
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
