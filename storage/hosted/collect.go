package hosted

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
)

const (
	runKey       = "run"
	mostSuspects = 100_000 // of one run; the next one takes the rest
)

// Collect deletes what nothing needs: blobs and holds that no manifest names, uploads that were abandoned, and with
// Options.Untagged manifests that nothing keeps. It may run while others push and delete, and at any number of places at
// once. A blob goes in two runs: the first condemns it, the next one deletes it if nobody has claimed it in between.
//
//  1. Everything that is needed is looked up, once.
//  2. What is old and was not needed is suspect. The version of its record is read.
//  3. Everything that is needed is looked up again.
//  4. Suspects that are not needed still move one step towards their end, at the very version that was read in 2.
func (g *Registry) Collect(ctx context.Context, o CollectOptions) (CollectReport, error) {
	began := g.now()
	now, err := g.beginRun(ctx)
	if err != nil {
		return CollectReport{}, fmt.Errorf("collect: %w", err)
	}
	r := &run{g: g, now: now, grace: o.Grace, dry: o.DryRun, full: o.Full, tell: o.Progress}
	if r.grace < 0 {
		r.grace = g.grace
	}
	r.report = CollectReport{DryRun: o.DryRun, Started: began}
	if err = r.collect(ctx); err == nil && o.Full {
		err = r.orphans(ctx)
	}
	r.report.Took = g.now().Sub(began)
	if err != nil {
		return r.report, fmt.Errorf("collect: %w", err)
	}
	g.events.Collected(r.report)
	return r.report, nil
}

// beginRun gives the time by the store's clock, against which the ages of records are measured.
func (g *Registry) beginRun(ctx context.Context) (time.Time, error) {
	record, err := encode(struct {
		Began time.Time `json:"began"`
	}{g.now()})
	if err != nil {
		return time.Time{}, err
	}
	if _, err := g.replace(ctx, runKey, record); err != nil {
		return time.Time{}, err
	}
	info, err := g.store.Stat(ctx, runKey)
	return info.Modified, err
}

// run is one collection.
type run struct {
	g        *Registry
	now      time.Time // by the store's clock
	grace    time.Duration
	dry      bool
	full     bool
	tell     func(CollectReport)
	report   CollectReport
	suspects []suspect
	open     int // uploads that go on
}

// suspect is a record that was not needed, at the version that it had then.
type suspect struct {
	key     string
	version storage.Version
	needs   string // it stays if this key is needed: its own, or that of a tag's manifest
}

func (r *run) progress(u Usage) {
	r.report.Repositories, r.report.Manifests, r.report.Blobs, r.report.Bytes = len(u.Repositories), u.Manifests, u.Blobs, u.Bytes
	if r.tell != nil {
		r.tell(r.report)
	}
}

func (r *run) collect(ctx context.Context) error {
	if err := r.uploads(ctx); err != nil {
		return err
	}
	last, err := r.g.look(ctx, r.now, r.grace, r.progress)
	if err != nil {
		return err
	}
	if err := r.findSuspects(ctx, last.marks); err != nil {
		return err
	}
	if len(r.suspects) > 0 {
		last = nil // of ten million blobs, the marks are a gigabyte
		if last, err = r.g.look(ctx, r.now, r.grace, r.progress); err != nil {
			return err
		}
	}
	last.usage.Uploads = r.open
	r.g.setUsage(last.usage)
	if err := r.listAgain(ctx, last.usage); err != nil {
		return err
	}
	for _, s := range r.suspects {
		if last.marks.needed(s.needs) {
			continue
		}
		if err := r.advance(ctx, s); err != nil && !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return nil
}

// findSuspects reads what is not needed, and removes old tombstones.
func (r *run) findSuspects(ctx context.Context, needed *marks) error {
	for _, folder := range []string{repoFolder, holdFolder, blobFolder, nameFolder} {
		for info, err := range r.g.store.List(ctx, folder, "") {
			if err == nil && hasEnded(info) {
				err = r.removeTombstone(ctx, info)
			} else if err == nil && !needed.needed(info.Key) {
				err = r.consider(ctx, info, needed)
			}
			if err != nil {
				return err
			}
			if len(r.suspects) == mostSuspects {
				return nil
			}
		}
	}
	return nil
}

// old: nobody has touched it for the grace.
func (r *run) old(info storage.Info) bool { return r.now.Sub(info.Modified) >= r.grace }

// removeTombstone removes what was listed as a tombstone, if it still is one.
func (r *run) removeTombstone(ctx context.Context, info storage.Info) error {
	if !r.old(info) || r.dry {
		return nil
	}
	_, v, err := r.g.read(ctx, info.Key)
	switch {
	case !errors.Is(err, storage.ErrNotFound):
		return err
	case v != storage.Absent:
		r.g.bury(ctx, info.Key, v)
	}
	return nil
}

// consider makes a record a suspect that is old, or that an earlier run has begun to end.
func (r *run) consider(ctx context.Context, info storage.Info, needed *marks) error {
	if isTag(info.Key) && !r.full {
		return nil // to read them all takes long, and it is rare that one points nowhere
	}
	record, v, err := r.g.read(ctx, info.Key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s := suspect{key: info.Key, version: v, needs: info.Key}
	if isTag(info.Key) {
		t, err := decode[tagRecord](info.Key, record)
		if err != nil {
			return nil // damaged: the next push of the tag replaces it
		}
		s.needs = manifestKey(repoOf(info.Key), t.Digest)
	}
	if !needed.needed(s.needs) && (r.old(info) || dying(info.Key, record)) {
		r.suspects = append(r.suspects, s)
	}
	return nil
}

// isTag: a tag stays as long as its manifest. Most end with it; a crash may leave one that points nowhere.
func isTag(key string) bool {
	_, rest, _ := strings.Cut(strings.TrimPrefix(key, repoFolder), "/")
	return strings.HasPrefix(key, repoFolder) && strings.HasPrefix(rest, "tags/")
}

func repoOf(key string) string {
	element, _, _ := strings.Cut(strings.TrimPrefix(key, repoFolder), "/")
	return parseRepoKey(element)
}

// dying: an earlier run has begun to end it. Its age is that of this beginning, and it has waited long enough before.
func dying(key string, record []byte) bool {
	rec, err := decode[holdRecord](key, record)
	return err == nil && (rec.State == condemned || rec.State == gone)
}

// listAgain makes the catalog list repositories that have manifests and are not in it: a run that met a push in its middle
// may have taken them out.
func (r *run) listAgain(ctx context.Context, u Usage) error {
	if r.dry {
		return nil
	}
	for _, repo := range slices.Sorted(maps.Keys(u.Repositories)) {
		if _, _, err := r.g.read(ctx, nameKey(repo)); !errors.Is(err, storage.ErrNotFound) {
			if err != nil {
				return err
			}
			continue
		}
		if err := r.g.Repo(repo).putName(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (g *Registry) setUsage(u Usage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.usage = u
}

// Usage is what the last collection of this process found; zero before the first.
func (g *Registry) Usage() Usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.usage
}
