package cache

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	leastPatience    = 2 * time.Second // how long at least a tag is served stale before upstream is asked again
	mostPatience     = time.Minute     // and at most, whatever upstream wishes
	mostRevalidating = 16              // background checks at a time

	// How long an answer waits for upstream when there is a stale one to give: while upstream is well, and after it has
	// failed to answer. The question itself goes on, and what it finds out is there for the next.
	staleAfter   = time.Second
	staleAtOnce  = 50 * time.Millisecond
	downRemember = 10 * time.Minute
)

// tagRecord says what a tag meant when upstream was last asked.
type tagRecord struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Checked   time.Time     `json:"checked"`
}

func (r tagRecord) valid() bool { return r.Digest.Validate() == nil && r.MediaType != "" }

// resolution is what a tag means now, as far as that can be known.
type resolution struct {
	record  tagRecord
	tier    Tier
	outage  error     // why the record is stale; nil when it is not
	fetched *Manifest // where finding out took a GET
}

type freshness int

const (
	unknown freshness = iota // there is nothing to serve
	expired
	revalidate // expired, but it may be served while it is checked
	fresh      // nothing is asked upstream: it is fresh, or the outage is
)

// byTag resolves a tag and gives the manifest that it means.
func (m *Manifests) byTag(ctx context.Context, up Upstream, tag string) (Answer, error) {
	name := refName{up.Repo(), tag}
	res, err := m.resolve(ctx, up, tag)
	if err != nil {
		return Answer{}, err
	}
	man, tier, err := m.meant(ctx, up, res)
	switch {
	case IsOutage(err):
		if old, ok := m.tagRecord(ctx, name); ok && old.Digest != res.record.Digest {
			res = resolution{record: old, outage: err}
			man, tier, err = m.meant(ctx, up, res)
		}
	case errors.Is(err, ErrNotFound) && ctx.Err() == nil:
		// A HEAD of the tag named a manifest that a GET by digest does not find: replicas of a registry disagree.
		res, err = share(ctx, m.flights, flightKey("plain", name.Repo, tag), func(ctx context.Context) (resolution, error) {
			res, err := m.askPlainly(ctx, up, name)
			if err != nil {
				return m.unanswered(ctx, name, resolution{}, unknown, err)
			}
			return res, nil
		})
		man, tier = res.fetched, TierUpstream
	}
	if err != nil {
		return Answer{}, err
	}
	return Answer{Manifest: man, Tier: tier, Warning: m.warn(name.Registry, res), Outage: res.outage}, nil
}

// meant gives the manifest of a resolution. That the tag means it says that the repository has it.
func (m *Manifests) meant(ctx context.Context, up Upstream, res resolution) (*Manifest, Tier, error) {
	if res.fetched != nil {
		return res.fetched, TierUpstream, nil
	}
	if man, tier, ok := m.local(ctx, up.Repo(), res.record.Digest, res.record.MediaType); ok {
		return man, tier, nil
	}
	return m.byDigest(ctx, up, res.record.Digest)
}

// resolve finds out what a tag means without fetching the manifest: from what is known, or by one HEAD however many ask.
func (m *Manifests) resolve(ctx context.Context, up Upstream, tag string) (resolution, error) {
	name := refName{up.Repo(), tag}
	res, state, err := m.current(ctx, name)
	switch {
	case err != nil || state == fresh:
		return res, err
	case state == revalidate && up.Spare():
		m.revalidate(up, name)
		return res, nil
	case state == unknown:
		return m.asked(ctx, up, name)
	}
	return m.askedInTime(ctx, up, name, res)
}

// askedInTime is asked when there is a stale answer to give. It does not wait for the time-outs of an upstream that is down.
func (m *Manifests) askedInTime(ctx context.Context, up Upstream, name refName, old resolution) (resolution, error) {
	wait := staleAfter
	if _, down := m.down.get(name.Registry); down {
		wait = staleAtOnce
	}
	brief, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	res, err := m.asked(brief, up, name)
	if brief.Err() == nil || ctx.Err() != nil {
		return res, err
	}
	slow := &UnavailableError{Upstream: name.Registry, Cause: CauseTimeout, Err: errors.New("no answer yet")}
	m.outage(name, slow)
	old.outage = slow
	return old, nil
}

// outage has a tag served stale for a while without asking again.
func (m *Manifests) outage(name refName, err error) {
	m.outages.set(name, err, m.patience(err))
	m.down.set(name.Registry, err, downRemember)
	m.records.use(tagKey(name.Repo, name.ref))
}

// current gives what is known of a tag without asking upstream, or the answer that upstream gave shortly before.
func (m *Manifests) current(ctx context.Context, name refName) (resolution, freshness, error) {
	if man, ok := m.Hot(name.Repo, name.ref); ok {
		rec := tagRecord{Digest: man.Digest, MediaType: man.MediaType, Size: int64(len(man.Bytes))}
		return resolution{record: rec, tier: TierMemory}, fresh, nil
	}
	if err, ok := m.refused.get(name); ok {
		return resolution{}, unknown, err
	}
	if rec, ok := m.pending.get(name); ok {
		return resolution{record: rec, tier: TierUpstream}, fresh, nil
	}
	rec, ok := m.tagRecord(ctx, name)
	if !ok {
		return resolution{}, unknown, nil
	}
	res := resolution{record: rec, tier: TierDisk}
	age, ttl := m.o.Now().Sub(rec.Checked), m.o.TTLs.For(name.ref)
	if age >= 0 && age < ttl { // a record from the future is no promise
		m.holdTag(name, rec)
		m.records.use(tagKey(name.Repo, name.ref))
		return res, fresh, nil
	}
	if err, ok := m.outages.get(name); ok {
		res.outage = err
		return res, fresh, nil
	}
	if age >= 0 && age < ttl+m.o.StaleWhileRevalidate {
		return res, revalidate, nil
	}
	return res, expired, nil
}

// tagRecord gives the record of a tag, however old, if the manifest that it names is there.
func (m *Manifests) tagRecord(ctx context.Context, name refName) (tagRecord, bool) {
	rec, err := readRecord[tagRecord](ctx, m.records, tagKey(name.Repo, name.ref))
	if err != nil {
		h, ok := m.memory.tag(name.Repo, name.ref) // where the disk takes no records, memory is all there is
		if !ok {
			return tagRecord{}, false
		}
		rec = h.record
	}
	if _, err := m.records.stat(ctx, manifestKey(rec.Digest)); err != nil {
		_, ok := m.memory.manifest(name.Repo, string(rec.Digest))
		return rec, ok
	}
	return rec, true
}

// asked is ask, once for all who want it.
func (m *Manifests) asked(ctx context.Context, up Upstream, name refName) (resolution, error) {
	return share(ctx, m.flights, flightKey("tag", name.Repo, name.ref), func(ctx context.Context) (resolution, error) {
		return m.ask(ctx, up, name)
	})
}

// ask asks upstream what a tag means. A registry that answers HEAD without a digest is asked by GET.
func (m *Manifests) ask(ctx context.Context, up Upstream, name refName) (resolution, error) {
	res, state, err := m.current(ctx, name)
	if err != nil || state == fresh {
		return res, err
	}
	if state != unknown {
		ctx = TryOnce(ctx)
	}
	desc, err := up.ResolveManifest(ctx, name.ref)
	if err != nil {
		return m.unanswered(ctx, name, res, state, err)
	}
	if desc.Digest.Validate() != nil {
		fetched, err := m.askPlainly(ctx, up, name)
		if err != nil {
			return m.unanswered(ctx, name, res, state, err)
		}
		return fetched, nil
	}
	rec := tagRecord{Digest: desc.Digest, MediaType: desc.MediaType, Size: desc.Size, Checked: m.o.Now()}
	return m.learned(ctx, name, rec, res.record.Digest), nil
}

// learned takes upstream's word for what a tag means. The tag's record never names a manifest that is not stored: until
// somebody asks for a new one, the meaning is only remembered, and keep writes it. old is what the tag meant before.
func (m *Manifests) learned(ctx context.Context, name refName, rec tagRecord, old digest.Digest) resolution {
	m.answered(name)
	if rec.MediaType == "" { // not every registry's HEAD says
		if known, err := m.seen.get(ctx, name.Repo, rec.Digest); err == nil {
			rec.MediaType = known.MediaType
		}
	}
	size, err := m.records.stat(ctx, manifestKey(rec.Digest))
	if err != nil || rec.MediaType == "" {
		m.pending.set(name, rec, m.o.TTLs.For(name.ref))
		if h, ok := m.memory.manifest(name.Repo, string(rec.Digest)); ok {
			m.keep(ctx, name.Repo, h.Manifest)
		}
		return resolution{record: rec, tier: TierUpstream}
	}
	rec.Size = size
	m.seen.Add(ctx, name.Repo, rec.Digest, rec.MediaType, rec.Size)
	m.records.use(manifestKey(rec.Digest))
	m.holdTag(name, rec)
	m.records.write(ctx, recordWrite{verb: verbPut, key: tagKey(name.Repo, name.ref), record: encodeRecord(rec), share: rec.Digest != old})
	m.pending.drop(name)
	return resolution{record: rec, tier: TierUpstream}
}

// answered ends what an outage began.
func (m *Manifests) answered(name refName) {
	m.outages.drop(name)
	m.down.drop(name.Registry)
}

// askPlainly fetches a tag. The manifest is stored, and then the tag.
func (m *Manifests) askPlainly(ctx context.Context, up Upstream, name refName) (resolution, error) {
	man, err := up.FetchManifest(ctx, name.ref)
	if err == nil {
		err = verify(&man, man.Digest)
	}
	if err != nil {
		return resolution{}, err
	}
	rec := tagRecord{Digest: man.Digest, MediaType: man.MediaType, Size: int64(len(man.Bytes)), Checked: m.o.Now()}
	m.pending.set(name, rec, m.o.TTLs.For(name.ref))
	m.answered(name)
	return resolution{record: rec, tier: TierUpstream, fetched: m.keep(ctx, name.Repo, man)}, nil
}

// unanswered draws the conclusions of a failed question: an outage leaves the old answer standing, a 404 or a refusal
// removes it.
func (m *Manifests) unanswered(ctx context.Context, name refName, old resolution, state freshness, err error) (resolution, error) {
	switch {
	case isAnswer(err):
		m.refused.set(name, err, m.o.NegativeTTL)
		m.pending.drop(name)
		m.removeTag(ctx, name)
	case IsOutage(err) && state != unknown:
		m.outage(name, err)
		old.outage = err
		return old, nil
	}
	return resolution{}, err
}

func (m *Manifests) removeTag(ctx context.Context, name refName) {
	m.memory.dropTag(name.Repo, name.ref)
	key := tagKey(name.Repo, name.ref)
	if _, err := m.records.stat(ctx, key); err == nil {
		m.records.write(ctx, recordWrite{verb: verbRemove, key: key})
	}
}

// revalidate checks a tag while its old meaning is served, and fetches what it has moved to.
func (m *Manifests) revalidate(up Upstream, name refName) {
	m.mu.Lock()
	_, running := m.revalidating[name]
	if running || len(m.revalidating) >= mostRevalidating {
		m.mu.Unlock()
		return
	}
	m.revalidating[name] = struct{}{}
	m.mu.Unlock()

	done := func() {
		m.mu.Lock()
		delete(m.revalidating, name)
		m.mu.Unlock()
	}
	m.flights.detach(func(ctx context.Context) {
		defer done()
		res, err := m.asked(ctx, up, name)
		if err != nil || res.outage != nil {
			return // the next answer says so
		}
		if _, _, err := m.meant(ctx, up, res); err != nil {
			m.o.Log.Warn("tag moved to a manifest that cannot be fetched", "repository", name.String(), "tag", name.ref, "err", err)
		}
	})
}

// pendingTags gives the tags of a repository that wait for a manifest.
func (m *Manifests) pendingTags(repo Repo, d digest.Digest) map[refName]tagRecord {
	tags := make(map[refName]tagRecord)
	for name, rec := range m.pending.all {
		if name.Repo == repo && rec.Digest == d {
			tags[name] = rec
		}
	}
	return tags
}

// holdTag brings a tag into the memory tier.
func (m *Manifests) holdTag(name refName, rec tagRecord) {
	m.memory.setTag(name.Repo, name.ref, &heldTag{record: rec, expires: rec.Checked.Add(m.o.TTLs.For(name.ref))})
}

// patience is how long a tag is served stale before upstream is asked again.
func (m *Manifests) patience(outage error) time.Duration {
	var wish time.Duration
	if u := new(UnavailableError); errors.As(outage, &u) {
		wish = min(u.RetryAfter, mostPatience)
	}
	return max(wish, m.o.NegativeTTL, leastPatience)
}
