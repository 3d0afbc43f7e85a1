package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/mem"
)

// recordShare: records may take one such part of the disk tier. Beyond it, the longest unused of them go.
const recordShare = 10

// stored is the cache with everything below it, open. Nothing else has the data directory until close.
type stored struct {
	memory    *cache.Memory
	records   *cache.Records
	seen      *cache.Seen
	public    *cache.Public
	manifests *cache.Manifests
	blobs     *cache.Blobs

	claim *disk.DataDir
	ends  []func() error // in the order in which things were begun; close runs them backwards
}

// openCache takes the data directory and opens the cache in it. The caller closes it.
func openCache(c Config, events cache.Events, log *slog.Logger) (*stored, error) {
	claim, err := disk.Claim(c.Data)
	if err != nil {
		return nil, err
	}
	s := &stored{claim: claim}
	if err := s.open(c, events, log); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close ends what runs, writes what waits and gives the directory back. If all of that succeeds, the next start believes
// what it finds; if the cache was never opened, the next start believes what this one would have believed.
func (s *stored) close() error {
	var errs []error
	for _, end := range slices.Backward(s.ends) {
		errs = append(errs, end())
	}
	err := errors.Join(errs...)
	clean := err == nil
	if s.blobs == nil {
		clean = s.claim.Clean
	}
	return errors.Join(err, s.claim.Release(clean))
}

func (s *stored) later(end func() error) { s.ends = append(s.ends, end) }

// quiet is for what ends without an error.
func quiet(end func()) func() error { return func() error { end(); return nil } }

func (s *stored) open(c Config, events cache.Events, log *slog.Logger) error {
	limit, err := diskLimit(c.DiskSize, c.Data)
	if err != nil {
		return err
	}
	records, err := s.openRecordStore(c, limit)
	if err != nil {
		return err
	}
	if s.memory, err = cache.NewMemory(int64(c.MemorySize)); err != nil {
		return err
	}
	s.later(quiet(s.memory.Close))
	s.records = cache.NewRecords(records, cache.RecordOptions{Log: log, Failed: events.RecordFailed})
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

// openRecordStore gives the cache its own part of the object store: through it, nothing else can be named.
func (s *stored) openRecordStore(c Config, limit int64) (storage.Store, error) {
	if limit == 0 {
		return mem.New(time.Now), nil
	}
	objects, err := disk.Open(c.Data)
	if err != nil {
		return nil, err
	}
	s.later(objects.Close)
	return storage.Under(objects, "cache"), nil
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
		Memory: s.memory, Seen: s.seen, Hints: hints, Events: events, Log: log,
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
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { sweeper.Run(ctx) })
	s.later(quiet(func() { cancel(); running.Wait() }))
}

// offline opens the cache for a command, where no server runs. It takes the lock, so that none starts meanwhile, and has no
// limits: a command whose environment is not the server's must not evict what the server would keep.
func offline(c Config, errs io.Writer, do func(contents) error) error {
	c.DiskSize, c.MinFree, c.MemorySize, c.Prefetch = DiskSize{Size: math.MaxInt64 / 2}, 0, 0, false
	log := newLogger(c, errs)
	s, err := openCache(c, cache.NoEvents{}, log)
	if err != nil {
		return err
	}
	names := c.names()
	return errors.Join(do(contents{s.manifests, s.blobs.Drop, &names}), s.close())
}
