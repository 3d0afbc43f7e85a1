package cache

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// DefaultRecordAge is how long a record is kept that nobody uses.
const DefaultRecordAge = 30 * 24 * time.Hour

// agingFolders hold the records that age. Names do not: they go with the last record of their repository.
var agingFolders = [...]string{manifestFolder, publicFolder, referrerFolder, seenFolder, tagFolder}

// Sweeper bounds the records: those that nobody uses go when they are old, and the longest unused earlier when all of them
// take too much space. A record's age is the time since it was last written, and using it writes it again (Records.use).
type Sweeper struct {
	o SweepOptions
}

// SweepOptions: Records is needed, the rest is optional.
type SweepOptions struct {
	Records *Records
	Log     *slog.Logger
	Now     func() time.Time
	MaxAge  time.Duration     // 0: DefaultRecordAge
	Every   time.Duration     // between passes of Run; 0: an hour
	Limit   int64             // bytes that all records may take; 0: no limit
	Report  func(bytes int64) // told after each pass what they take; must not block
}

// NewSweeper starts nothing; Run does.
func NewSweeper(o SweepOptions) *Sweeper {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Report == nil {
		o.Report = func(int64) {}
	}
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultRecordAge
	}
	if o.Every <= 0 {
		o.Every = time.Hour
	}
	return &Sweeper{o: o}
}

// Run sweeps at once and then again and again, until ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Error("sweep of cache records", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep makes one pass and gives the bytes that the records left take on disk. It deletes nothing when they cannot all be
// listed, and stops at the first that cannot be deleted.
func (s *Sweeper) Sweep(ctx context.Context) (int64, error) {
	if err := s.o.Records.Flush(ctx); err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	ages, err := s.weighAges(ctx)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	left, err := s.deleteOld(ctx, ages.cut(s.o.Limit))
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	names, err := s.sweepNames(ctx)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	s.o.Report(left + names)
	return left + names, nil
}

// ageBytes has the bytes of all records by age in hours; the last element is of those that are too old.
// So a pass needs the same memory for a thousand records and a million.
type ageBytes []int64

// cutoff says what goes: everything older than hour, and bytes of what is exactly that old.
type cutoff struct {
	hour  int
	bytes int64
}

// cut finds the cutoff that keeps the records within limit, which is none if 0.
func (a ageBytes) cut(limit int64) cutoff {
	oldest := len(a) - 1
	c := cutoff{hour: oldest, bytes: a[oldest]}
	if limit <= 0 {
		return c
	}
	var excess int64 = -limit
	for _, n := range a[:oldest] {
		excess += n
	}
	for hour := oldest - 1; hour >= 0 && excess > 0; hour-- {
		c = cutoff{hour: hour, bytes: min(excess, a[hour])}
		excess -= a[hour]
	}
	return c
}

func (s *Sweeper) weighAges(ctx context.Context) (ageBytes, error) {
	ages := make(ageBytes, int(s.o.MaxAge/time.Hour)+1)
	now := s.o.Now()
	for _, folder := range agingFolders {
		for info, err := range s.o.Records.list(ctx, folder, "") {
			if err != nil {
				return nil, err
			}
			ages[ages.hour(now, info)] += onDisk(info.Size)
		}
	}
	return ages, nil
}

func (a ageBytes) hour(now time.Time, info storage.Info) int {
	return max(0, min(int(now.Sub(info.Modified)/time.Hour), len(a)-1))
}

// deleteOld deletes what the cutoff says and gives the bytes of the rest.
func (s *Sweeper) deleteOld(ctx context.Context, c cutoff) (left int64, err error) {
	ages := make(ageBytes, int(s.o.MaxAge/time.Hour)+1)
	now := s.o.Now()
	for _, folder := range agingFolders {
		for info, err := range s.o.Records.list(ctx, folder, "") {
			if err != nil {
				return 0, err
			}
			hour := ages.hour(now, info)
			if hour < c.hour || hour == c.hour && c.bytes <= 0 {
				left += onDisk(info.Size)
				continue
			}
			if hour == c.hour {
				c.bytes -= onDisk(info.Size)
			}
			if err := s.o.Records.removeHere(ctx, info.Key); err != nil {
				return 0, err
			}
		}
	}
	return left, nil
}

// sweepNames deletes the names of repositories of which no record is left, and gives the bytes of the rest.
func (s *Sweeper) sweepNames(ctx context.Context) (left int64, err error) {
	for info, err := range s.o.Records.list(ctx, nameFolder, "") {
		if err != nil {
			return 0, err
		}
		repo, _, err := parseKey(nameFolder, info.Key)
		if err != nil {
			continue // not ours
		}
		used, err := s.anyRecord(ctx, seenFolder+repoKey(repo)+"/", tagFolder+repoKey(repo)+"/")
		if err != nil {
			return 0, err
		}
		if used {
			left += onDisk(info.Size)
		} else if err := s.o.Records.removeHere(ctx, info.Key); err != nil {
			return 0, err
		}
	}
	return left, nil
}

func (s *Sweeper) anyRecord(ctx context.Context, folders ...string) (bool, error) {
	for _, folder := range folders {
		for _, err := range s.o.Records.list(ctx, folder, "") {
			return err == nil, err
		}
	}
	return false, nil
}
