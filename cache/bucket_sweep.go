package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// staleLease is when a lease that nobody renews is of a server that is gone for good. Others are not kept by it for longer than
// turnLife; it is only in the way of tidiness.
const staleLease = 24 * time.Hour

// Swept is what a sweep of the bucket has found and removed.
type Swept struct {
	Kept, Removed int // objects
	KeptBytes     int64
	RemovedBytes  int64
	Leases        int // removed
}

// Sweep removes what was written longer than age ago, for all servers at once: what is still wanted is fetched and stored
// anew. It lists everything, a thousand objects at a request. Age 0 leaves all but forgotten leases to somebody else.
func (b *Bucket) Sweep(ctx context.Context, age time.Duration) (Swept, error) {
	var s Swept
	if b.o.Leases != nil {
		err := removeOlder(ctx, b.o.Leases, b.o.Now().Add(-staleLease), func(_ storage.Info, removed bool) {
			if removed {
				s.Leases++
			}
		})
		if err != nil {
			return s, fmt.Errorf("sweep the leases in the bucket: %w", err)
		}
	}
	if age == 0 {
		return s, nil
	}
	err := removeOlder(ctx, b.o.Store, b.o.Now().Add(-age), func(info storage.Info, removed bool) {
		if removed {
			s.Removed++
			s.RemovedBytes += info.Size
		} else {
			s.Kept++
			s.KeptBytes += info.Size
		}
	})
	if err != nil {
		return s, fmt.Errorf("sweep the cache in the bucket: %w", err)
	}
	return s, nil
}

func removeOlder(ctx context.Context, from storage.Store, than time.Time, found func(info storage.Info, removed bool)) error {
	var failed error
	for info, err := range from.List(ctx, "", "") {
		if err != nil {
			return err
		}
		old := info.Modified.Before(than)
		if old {
			if err := from.Delete(ctx, info.Key); err != nil {
				if ctx.Err() != nil || errors.Is(err, storage.ErrUnavailable) {
					return err
				}
				failed = cmp.Or(failed, err)
				continue
			}
		}
		found(info, old)
	}
	return failed
}
