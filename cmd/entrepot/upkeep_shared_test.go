package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// crew is several servers on one store, and what they do by themselves.
type crew struct {
	atWork, most            atomic.Int64 // at once, of either kind
	collections, readHosted atomic.Int64
	readCached              atomic.Int64
}

// join gives one more server; each collection and each reading takes ten minutes.
func (c *crew) join(t *testing.T, s storage.Store) *upkeep {
	work := func(ctx context.Context) error {
		if n := c.atWork.Add(1); n > c.most.Load() {
			c.most.Store(n)
		}
		defer c.atWork.Add(-1)
		select {
		case <-time.After(10 * time.Minute):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h := &fakeHosted{
		collect: func(ctx context.Context, _ hosted.CollectOptions) (hosted.CollectReport, error) {
			c.collections.Add(1)
			return hosted.CollectReport{}, work(ctx)
		},
		verify: func(ctx context.Context, _ hosted.VerifyOptions) (hosted.VerifyReport, error) {
			c.readHosted.Add(1)
			return hosted.VerifyReport{}, work(ctx)
		},
	}
	u, _ := testUpkeep(h, func(context.Context, func(context.Context, int) error) (cache.VerifyReport, error) {
		c.readCached.Add(1)
		return cache.VerifyReport{}, nil
	})
	u.collectLease = storage.NewLease(s, "collect", t.Name(), leaseLife)
	u.scrubLease = storage.NewLease(s, "scrub", t.Name(), leaseLife)
	return u
}

func TestOneServerCollectsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		s := mem.New(time.Now)
		var all []*upkeep
		for range 3 {
			u := c.join(t, s)
			u.start(schedule{time.Minute, time.Hour}, schedule{}, 0)
			all = append(all, u)
			time.Sleep(17 * time.Second)
		}
		time.Sleep(71 * time.Hour)
		// One after the other in about 70 minutes each; three servers that start may begin with one each.
		if n := c.collections.Load(); n < 55 || n > 65 {
			t.Errorf("%d collections in 71 hours", n)
		}
		if c.most.Load() != 1 {
			t.Errorf("%d at once", c.most.Load())
		}
		before := c.collections.Load()
		all[0].stop()
		all[1].stop()
		time.Sleep(71 * time.Hour)
		if n := c.collections.Load() - before; n < 55 || n > 65 {
			t.Errorf("the last one made %d collections in 71 hours", n)
		}
		all[2].stop()
	})
}

func TestHostedContentsAreReadByOneServerAndCachedOnesByEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		s := mem.New(time.Now)
		for range 3 {
			u := c.join(t, s)
			u.start(schedule{}, schedule{time.Hour, 24 * time.Hour}, 1)
			defer u.stop()
			time.Sleep(time.Minute)
		}
		time.Sleep(10 * 24 * time.Hour)
		if n := c.readHosted.Load(); n < 9 || n > 12 {
			t.Errorf("what is hosted was read %d times in ten days", n)
		}
		if n := c.readCached.Load(); n < 27 || n > 33 {
			t.Errorf("what three servers cache was read %d times in ten days", n)
		}
		if c.most.Load() != 1 {
			t.Errorf("%d at once", c.most.Load())
		}
	})
}

func TestWhoCannotAskDoesNotCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		u := c.join(t, storagetest.NewFailing(mem.New(time.Now), storagetest.Failure{N: 1, Onward: true}))
		u.start(schedule{time.Minute, time.Hour}, schedule{}, 0)
		time.Sleep(10 * time.Hour)
		u.stop()
		if n := c.collections.Load(); n > 0 {
			t.Errorf("%d collections", n)
		}
	})
}

func TestWhoLosesTheLeaseEndsAtTheNextStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		u := c.join(t, storagetest.NewFailing(mem.New(time.Now), storagetest.Failure{N: 3, Onward: true})) // after it was taken
		err := u.alone(t.Context(), u.collectLease, func(ctx context.Context) error { return u.collectBehind(ctx, false) })
		if !errors.Is(err, storage.ErrLost) || c.atWork.Load() != 0 {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnotherServerCollectsSoonAfterOneHasDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		s := mem.New(time.Now)
		died := storagetest.NewFailing(s, storagetest.Failure{N: 3, Onward: true}) // after it was taken
		dead := c.join(t, died)
		dead.start(schedule{time.Minute, time.Hour}, schedule{}, 0)
		time.Sleep(90 * time.Second)
		u := c.join(t, s)
		u.start(schedule{time.Second, time.Hour}, schedule{}, 0)
		time.Sleep(3 * leaseLife)
		if n := c.collections.Load(); n != 2 {
			t.Errorf("%d collections, want that of the dead one and another", n)
		}
		dead.stop()
		u.stop()
	})
}

func TestCommandsAskNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		s := mem.New(time.Now)
		u := c.join(t, s)
		u.start(schedule{time.Minute, time.Hour}, schedule{}, 0)
		defer u.stop()
		time.Sleep(2 * time.Minute)
		if _, err := c.join(t, s).collectForCommand(t.Context(), hosted.CollectOptions{}); err != nil {
			t.Errorf("beside a collection of another server: %v", err)
		}
	})
}
