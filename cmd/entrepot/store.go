package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
)

// recordShare: records may take one such part of the disk tier. Beyond it, the longest unused of them go.
const recordShare = 10

// stored is the cache and the hosted repositories with everything below them, open. Nothing else has the data directory
// until close; a bucket has others at any time.
type stored struct {
	memory    *cache.Memory
	records   *cache.Records
	seen      *cache.Seen
	public    *cache.Public
	manifests *cache.Manifests
	blobs     *cache.Blobs

	bucket      *bucket // of hosted repositories, robots and keys; nil: they are in the data directory
	replicas    replicas
	shared      *cache.Bucket // what the servers of a bucket keep of the cache; nil: nothing
	hosted      *hosted.Registry
	hostedStore storage.Store // below it
	accessStore storage.Store // of robots and of the keys of tokens

	claim     *disk.DataDir
	ends      []func() error // in the order in which things were begun; close runs them backwards
	disturbed bool           // somebody may still write while close runs
}

// openStored takes the data directory and opens what is in it. The caller closes it.
func openStored(c Config, n *counts, log *slog.Logger) (*stored, error) {
	claim, err := disk.Claim(c.Data)
	if err != nil {
		return nil, err
	}
	s := &stored{claim: claim}
	if err := s.open(c, n, log); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close ends what runs, writes what waits and gives the directory back. If all of that succeeds undisturbed, the next start
// believes what it finds; if the cache was never opened, the next start believes what this one would have believed.
func (s *stored) close() error {
	var errs []error
	for _, end := range slices.Backward(s.ends) {
		errs = append(errs, end())
	}
	err := errors.Join(errs...)
	clean := err == nil && !s.disturbed
	if s.blobs == nil {
		clean = s.claim.Clean
	}
	return errors.Join(err, s.claim.Release(clean))
}

func (s *stored) later(end func() error) { s.ends = append(s.ends, end) }

// quiet is for what ends without an error.
func quiet(end func()) func() error { return func() error { end(); return nil } }

func (s *stored) open(c Config, n *counts, log *slog.Logger) error {
	objects, err := disk.Open(c.Data)
	if err != nil {
		return err
	}
	s.later(objects.Close)
	kept := storage.Store(objects)
	if c.S3Bucket != "" {
		if s.bucket, err = openBucket(c, log); err != nil {
			return err
		}
		s.later(s.bucket.s3.Close)
		warnOfPushed(objects, log)
		kept = s.bucket
	}
	s.accessStore = storage.Under(kept, "access")
	if err := s.openCache(c, objects, n.cache, log); err != nil {
		return err
	}
	return s.openHosted(c, kept, n.hosted, log)
}

// probe refuses a store that does not decide conditional writes.
func (s *stored) probe(ctx context.Context, log *slog.Logger) error {
	if s.bucket != nil {
		return s.bucket.probe(ctx)
	}
	return probe(ctx, s.hostedStore, log)
}

func (s *stored) openCache(c Config, objects storage.Store, events cache.Events, log *slog.Logger) error {
	limit, err := diskLimit(c.DiskSize, c.Data)
	if err != nil {
		return err
	}
	if s.memory, err = cache.NewMemory(int64(c.MemorySize)); err != nil {
		return err
	}
	s.later(quiet(s.memory.Close))
	if s.shared, err = s.openShared(c, events, log); err != nil {
		return err
	}
	s.records = cache.NewRecords(recordStore(objects, limit), cache.RecordOptions{Log: log, Failed: events.RecordFailed, Bucket: s.shared})
	s.later(quiet(s.records.Close))
	s.seen = cache.NewSeen(s.records, s.memory)
	if s.public, err = cache.NewPublic(s.records, time.Now); err != nil {
		return err
	}
	s.later(quiet(s.public.Close))
	hints := cache.NewHints()
	if err := s.openManifests(c, hints, events, log); err != nil {
		return err
	}
	if err := s.openBlobs(c, limit, hints, events, log); err != nil {
		return err
	}
	s.sweep(recordLimit(c, limit), log)
	return nil
}

// recordStore gives the cache its own part of the object store: through it, nothing else can be named. A cache without a
// disk tier keeps its records in memory too.
func recordStore(objects storage.Store, limit int64) storage.Store {
	if limit == 0 {
		return mem.New(time.Now)
	}
	return storage.Under(objects, "cache")
}

func (s *stored) openManifests(c Config, hints *cache.Hints, events cache.Events, log *slog.Logger) (err error) {
	patterns := map[string]time.Duration{}
	for _, t := range c.TagTTLs {
		patterns[t.Pattern] = time.Duration(t.TTL)
	}
	ttls, err := cache.NewTTLs(time.Duration(c.TagTTL), patterns)
	if err != nil {
		return err
	}
	s.manifests, err = cache.NewManifests(cache.ManifestOptions{
		Records: s.records, Seen: s.seen, Memory: s.memory, Events: events, Log: log, Note: hints.Note,
		TTLs:                 ttls,
		StaleWhileRevalidate: time.Duration(c.StaleWhileRevalidate),
		NegativeTTL:          time.Duration(c.NegativeTTL),
	})
	if err != nil {
		return err
	}
	s.later(quiet(s.manifests.Close))
	return nil
}

func (s *stored) openBlobs(c Config, limit int64, hints *cache.Hints, events cache.Events, log *slog.Logger) (err error) {
	s.blobs, err = cache.OpenBlobs(cache.BlobOptions{
		Dir: filepath.Join(c.Data, "cache"), Size: limit, MinFree: int64(c.MinFree), Clean: s.claim.Clean,
		Memory: s.memory, Seen: s.seen, Hints: hints, Bucket: s.shared, Events: events, Log: log,
		Prefetch:    c.Prefetch,
		NegativeTTL: time.Duration(c.NegativeTTL),
	})
	if err != nil {
		return err
	}
	s.later(s.blobs.Close)
	return nil
}

// recordLimit bounds the records: on disk by their share of the tier, in memory by the size of that.
func recordLimit(c Config, disk int64) int64 {
	if disk == 0 {
		return int64(c.MemorySize)
	}
	return disk / recordShare
}

// sweep lets old records go, now and then, until close.
func (s *stored) sweep(limit int64, log *slog.Logger) {
	sweeper := cache.NewSweeper(cache.SweepOptions{Records: s.records, Log: log, Limit: limit, Report: s.blobs.SetRecordBytes})
	s.runUntilClose(sweeper.Run)
}

// runUntilClose runs work in a goroutine of its own, which ends with close.
func (s *stored) runUntilClose(work func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { work(ctx) })
	s.later(quiet(func() { cancel(); running.Wait() }))
}

// offline opens what is stored for a command, where no server runs. It takes the lock, so that none starts meanwhile, and
// has no limits: a command whose environment is not the server's must not evict what the server would keep. It makes no data
// directory either: what a command leaves in a wrong one, no server knows.
func offline(c Config, errs io.Writer, do func(*stored) error) error {
	if _, err := os.Stat(c.Data); errors.Is(err, fs.ErrNotExist) {
		return usageError{fmt.Errorf("no server runs, and there is no data directory %s: set %sDATA as the server has it", c.Data, prefix)}
	}
	c.DiskSize, c.MinFree, c.MemorySize, c.Prefetch = DiskSize{Size: math.MaxInt64 / 2}, 0, 0, false
	s, err := openStored(c, unseenCounts(), newLogger(c, errs))
	if err != nil {
		return whoseDirectory(c, err)
	}
	return errors.Join(do(s), s.close())
}

// whoseDirectory adds what to do where somebody has the data directory, whom no command has reached.
func whoseDirectory(c Config, err error) error {
	if errors.Is(err, disk.ErrInUse) {
		return errors.Join(err, fmt.Errorf("a command that works without a server, as warm does, keeps it until it is done; if it is a server: nothing answers on its socket %s, and starting it again makes that anew", socketPath(c.Data)))
	}
	return err
}

// contents is what commands look at.
func (s *stored) contents(c Config) contents {
	names := c.names()
	return contents{manifests: s.manifests, drop: s.blobs.Drop, hosted: s.hosted, names: &names}
}
