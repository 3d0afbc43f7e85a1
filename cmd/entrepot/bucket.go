package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

// checkS3 finds what would change nothing, and what S3 would refuse.
func (c Config) checkS3(fail func(name, format string, args ...any)) {
	if c.S3Bucket == "" {
		for _, v := range variables(c) {
			if (strings.HasPrefix(v.Name, "S3_") || v.Name == "ADVERTISE_URL") && v.Value != v.Default {
				fail(v.Name, "it is about %sS3_BUCKET, which is not set", prefix)
			}
		}
		return
	}
	if c.AdvertiseURL != "" && c.TLSClientCA != "" {
		fail("ADVERTISE_URL", "the other servers have no certificate of %sTLS_CLIENT_CA to show", prefix)
	}
	if c.AdvertiseURL != "" && !c.S3Cache {
		fail("ADVERTISE_URL", "it is about the cache in S3, and %sS3_CACHE is false", prefix)
	}
	if c.AdvertiseURL != "" && c.AdvertiseURL == c.PublicURL {
		fail("ADVERTISE_URL", "%s is where clients reach all servers: name this one alone", c.AdvertiseURL)
	}
	if c.S3Prefix != "" {
		if err := storage.CheckKey(c.S3Prefix); err != nil {
			fail("S3_PREFIX", "%w", err)
		}
	}
	if c.S3SSEKMSKey != "" && c.S3SSE != "aws:kms" {
		fail("S3_SSE_KMS_KEY", "a key is for %sS3_SSE=aws:kms", prefix)
	}
}

// bucket is what several servers share: hosted repositories, robots, and the keys of tokens.
type bucket struct {
	*proven
	forCache storage.Store // the same, which takes no writes of hosted repositories with it when it fails
	s3       *s3.Store     // below both
}

// openBucket asks the S3 server nothing yet.
func openBucket(c Config, log *slog.Logger) (*bucket, error) {
	spool := filepath.Join(c.Data, "spool")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return nil, err
	}
	store, err := s3.New(context.Background(), s3.Options{
		Bucket: c.S3Bucket, Prefix: c.S3Prefix,
		Endpoint: string(c.S3Endpoint), Region: c.S3Region, PathStyle: c.S3PathStyle,
		SSE: string(c.S3SSE), KMSKey: c.S3SSEKMSKey,
		Spool: spool, Log: log, Now: time.Now,
	})
	if err != nil {
		return nil, usageError{fmt.Errorf("%sS3_BUCKET and what belongs to it: %w", prefix, err)}
	}
	return &bucket{newProven(newBreaker(store), log.With("bucket", c.S3Bucket, "endpoint", string(c.S3Endpoint))), newBreaker(store), store}, nil
}

// warnOfPushed tells of hosted repositories that are not served, since they lie where they were pushed before there was a
// bucket.
func warnOfPushed(objects storage.Store, log *slog.Logger) {
	for range storage.Under(objects, "hosted").List(context.Background(), "repos/", "") {
		log.Warn("what was pushed into the data directory is not served while there is a bucket", "remedy",
			"push it again, or serve the directory without "+prefix+"S3_BUCKET and copy it with a client")
		return
	}
}

// probe refuses a server where two writers of one record may both win. One that does not answer keeps nobody from what is
// cached: until it does, pushes are refused.
func (b *bucket) probe(ctx context.Context) error {
	err := b.prove(ctx)
	if errors.Is(err, storage.ErrUnconditional) {
		return usageError{fmt.Errorf("%sS3_BUCKET: hosted repositories cannot be kept there, since pushes could be lost: %w; "+
			"take a server that honours If-Match and If-None-Match of PUT, as AWS does, or do without %sS3_BUCKET", prefix, err, prefix)}
	}
	return nil // proven has told
}

// lease is for work that one of those who share the bucket does for all.
func (b *bucket) lease(name string) *storage.Lease {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	holder := fmt.Sprintf("%s, process %d", host, os.Getpid())
	return storage.NewLease(storage.Under(b, "leases"), name, holder, leaseLife)
}

// leaseLife: whoever dies over a piece of work is followed by another after this time.
const leaseLife = time.Minute
