package main

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// An upload to S3 is one object's, and takes as long as one request of a client that brings it. Those that are older than
// leftoverAge were left by processes that were killed: GC_GRACE, which is longer than any push takes, is a day by default.
const (
	leftoverAge   = 7 * 24 * time.Hour
	leftoverEvery = 24 * time.Hour
)

// leftovers are multipart uploads that nobody will complete. S3 shows them in no listing of objects, and charges for their parts.
type leftovers struct {
	in interface { // nil: there is no bucket
		abortUploads(ctx context.Context, age time.Duration) (int, error)
	}
	next time.Time // not looked for before
	told bool      // that they cannot be ended
}

// end looks for them once a day. A server that may not is none that fails: the owner's lifecycle rule can end them too.
func (l *leftovers) end(ctx context.Context, log *slog.Logger) {
	now := time.Now()
	if l.in == nil || now.Before(l.next) {
		return
	}
	ended, err := l.in.abortUploads(ctx, leftoverAge)
	if ctx.Err() != nil {
		return
	}
	l.next = now.Add(leftoverEvery)
	if ended > 0 {
		log.Info("ended uploads to the bucket that were never completed", "uploads", ended, "older_than", leftoverAge.String())
	}
	if err != nil && !l.told {
		log.Warn("uploads to the bucket that were never completed cannot be ended from here; this is told once", "err", err,
			"remedy", "the permissions s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, or a rule of the bucket's lifecycle")
	}
	l.told = err != nil
}

// abortUploads ends those of the folders that large objects are in. What else is in the bucket is not touched.
func (b *bucket) abortUploads(ctx context.Context, age time.Duration) (int, error) {
	all := 0
	var errs []error
	for _, folder := range []string{"hosted/", "cache/"} {
		ended, err := b.s3.AbortUploads(ctx, folder, age)
		all += ended
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}
