package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// startSweep lets old contents of the cache's part of the bucket go, at one server for all, until stop.
func (u *upkeep) startSweep(s *stored, age time.Duration) {
	if s.shared == nil {
		return
	}
	lease := s.bucket.lease("sweep")
	daily := schedule{first: 10 * time.Minute, every: 24 * time.Hour}
	u.repeat(daily, func(ctx context.Context) error {
		return u.alone(ctx, lease, func(ctx context.Context) error { return sweepBucket(ctx, s.shared, age, u.log) })
	})
}

func sweepBucket(ctx context.Context, b *cache.Bucket, age time.Duration, log *slog.Logger) error {
	swept, err := b.Sweep(ctx, age)
	if err != nil && ctx.Err() == nil {
		log.Error("sweep failed; the next one tries again", "err", err)
	} else if err == nil {
		log.Info("swept the cache in the bucket", "kept", swept.Kept, "kept_bytes", swept.KeptBytes,
			"removed", swept.Removed, "removed_bytes", swept.RemovedBytes, "leases", swept.Leases)
	}
	return err
}
