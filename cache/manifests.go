package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Manifests serves manifests: by digest for ever, by tag for as long as the tag's meaning is believed. It owns neither the
// records nor the memory tier.
type Manifests struct {
	o       ManifestOptions
	records *Records
	seen    *Seen
	memory  *Memory
	flights *flights

	refused *remembered[refName, error]     // 404s and refusals
	pending *remembered[refName, tagRecord] // tags that moved to a manifest that is not stored yet: nobody has asked for it
	outages *remembered[refName, error]     // tags that are served stale without asking again, and why
	down    *remembered[string, error]      // registries that failed to answer when last asked

	mu           sync.Mutex
	revalidating map[refName]struct{} // guarded by mu
}

// ManifestOptions: Records, Seen and Memory are needed, the rest is optional.
type ManifestOptions struct {
	Records *Records
	Seen    *Seen
	Memory  *Memory
	Events  Events
	Log     *slog.Logger
	Now     func() time.Time

	TTLs                 TTLs
	StaleWhileRevalidate time.Duration // how long after its lifetime a tag is still served at once while it is checked
	NegativeTTL          time.Duration // how long a 404 or a refusal is remembered

	// Note is told of each manifest that was stored or came into the memory tier. It must not block.
	Note func(Repo, *Manifest)
}

// Answer is a manifest and what to say of it.
type Answer struct {
	Manifest *Manifest
	Tier     Tier
	Warning  string // the text of a Warning header; empty unless the answer is stale
	Outage   error  // why it is; nil when it is not
}

// refName is a tag or a digest within a repository.
type refName struct {
	Repo
	ref string
}

// NewManifests fails only for lack of a needed option.
func NewManifests(o ManifestOptions) (*Manifests, error) {
	if o.Records == nil || o.Seen == nil || o.Memory == nil {
		return nil, errors.New("manifests need records, seen and a memory tier")
	}
	if o.Events == nil {
		o.Events = NoEvents{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Note == nil {
		o.Note = func(Repo, *Manifest) {}
	}
	m := &Manifests{
		o: o, records: o.Records, seen: o.Seen, memory: o.Memory, flights: newFlights(),
		revalidating: make(map[refName]struct{}),
	}
	var refused, pending, outages, down error
	m.refused, refused = newRemembered[refName, error](o.Now)
	m.pending, pending = newRemembered[refName, tagRecord](o.Now)
	m.outages, outages = newRemembered[refName, error](o.Now)
	m.down, down = newRemembered[string, error](o.Now)
	return m, errors.Join(refused, pending, outages, down)
}

// Close ends requests upstream and waits for them. It comes before the records' Close.
func (m *Manifests) Close() { m.flights.close() }

// Hot gives a manifest if it is in memory and, asked for by tag, the tag is fresh. It allocates nothing, waits for nothing
// and keeps none of its arguments.
func (m *Manifests) Hot(repo Repo, ref string) (*Manifest, bool) {
	now := m.o.Now()
	if !isDigest(ref) {
		t, ok := m.memory.tag(repo, ref)
		if !ok || !now.Before(t.expires) {
			return nil, false
		}
		ref = string(t.record.Digest)
	}
	h, ok := m.memory.manifest(repo, ref)
	if !ok || now.Sub(h.since) >= usedAgain {
		return nil, false
	}
	return &h.Manifest, true
}

// Get gives a manifest by tag or digest. Errors are those of errors.go, the context's, and a malformed digest's.
func (m *Manifests) Get(ctx context.Context, up Upstream, ref string) (Answer, error) {
	if man, ok := m.Hot(up.Repo(), ref); ok {
		return Answer{Manifest: man, Tier: TierMemory}, nil
	}
	ref = strings.Clone(ref)
	if !isDigest(ref) {
		return m.byTag(ctx, up, ref)
	}
	d, err := digest.Parse(ref)
	if err != nil {
		return Answer{}, fmt.Errorf("manifest of %s: %q: %w", up.Repo(), ref, err)
	}
	man, tier, err := m.byDigest(ctx, up, d)
	return Answer{Manifest: man, Tier: tier}, err
}

// byDigest serves from the cache only what this repository was seen to have.
func (m *Manifests) byDigest(ctx context.Context, up Upstream, d digest.Digest) (*Manifest, Tier, error) {
	repo := up.Repo()
	if man, tier, ok := m.local(ctx, repo, d, ""); ok {
		return man, tier, nil
	}
	if err, ok := m.refused.get(refName{repo, string(d)}); ok {
		return nil, "", err
	}
	alone := isAlone(ctx)
	man, err := share(ctx, m.flights, flightKey("fetch", repo, string(d)), func(ctx context.Context) (*Manifest, error) {
		if man, _, ok := m.local(ctx, repo, d, ""); ok {
			return man, nil
		}
		if alone {
			ctx = Alone(ctx)
		}
		man, t, err := m.obtain(ctx, up, d)
		t.rest()
		if err != nil {
			m.flights.detach(func(ctx context.Context) { _ = t.end(context.WithoutCancel(ctx), false) })
			m.unobtained(repo, d, err)
			return nil, err
		}
		kept := m.keep(ctx, repo, man)
		if t.lease != nil {
			m.records.whenShared(manifestKey(d), func(ctx context.Context) error { return t.end(ctx, true) })
		}
		return kept, nil
	})
	return man, TierUpstream, err
}

// local gives a manifest from memory or from the records. Who knows by a tag that the repository has it, and its media
// type, says so; an empty media type is looked up.
func (m *Manifests) local(ctx context.Context, repo Repo, d digest.Digest, mediaType string) (*Manifest, Tier, bool) {
	h, held := m.memory.manifest(repo, string(d))
	if held && m.o.Now().Sub(h.since) < usedAgain {
		return &h.Manifest, TierMemory, true
	}
	if mediaType == "" {
		if rec, err := m.seen.get(ctx, repo, d); err == nil {
			mediaType = rec.MediaType
		}
	}
	if mediaType != "" {
		if b, err := m.stored(ctx, d); err == nil {
			return m.hold(repo, Manifest{mediaType, d, b}), TierDisk, true
		}
	}
	if held { // its records are gone or unreadable, and memory is all there is
		return m.keep(ctx, repo, h.Manifest), TierMemory, true
	}
	return nil, "", false
}

// stored reads the bytes of a manifest. Bytes that do not match their digest are removed, and are not there.
func (m *Manifests) stored(ctx context.Context, d digest.Digest) ([]byte, error) {
	key := manifestKey(d)
	b, err := m.records.get(ctx, key)
	switch {
	case err == nil && d.Algorithm().FromBytes(b) == d:
		return b, nil
	case err == nil:
		m.records.failed("verify", key, ErrCorrupt)
		m.records.write(ctx, recordWrite{verb: verbRemove, key: key})
		return nil, storage.ErrNotFound
	case !errors.Is(err, storage.ErrNotFound) && ctx.Err() == nil:
		m.records.failed("read", key, err)
	}
	return nil, err
}

// hold brings a stored manifest into the memory tier.
func (m *Manifests) hold(repo Repo, man Manifest) *Manifest {
	h := &heldManifest{Manifest: man, since: m.o.Now()}
	m.memory.setManifest(repo, h)
	m.records.use(manifestKey(man.Digest))
	m.records.use(seenKey(repo, man.Digest))
	m.o.Note(repo, &h.Manifest)
	return &h.Manifest
}

// obtain fetches a manifest, from the server that is fetching it where there is one. The turn ends when the manifest is kept.
func (m *Manifests) obtain(ctx context.Context, up Upstream, d digest.Digest) (Manifest, *turn, error) {
	if man, ok, err := m.reuse(ctx, up, d); ok || err != nil && !IsOutage(err) {
		return man, &turn{}, err
	}
	bucket := m.records.o.Bucket
	t := bucket.turn(ctx, d)
	switch {
	case t.ours(): // another server may just have stored it
		bucket.absent.drop(manifestKey(d))
		bucket.absent.drop(seenKey(up.Repo(), d))
		if man, _, ok := m.local(ctx, up.Repo(), d, ""); ok {
			return *man, t, nil
		}
	case t.holder != "" && !isAlone(ctx):
		man, err := m.borrow(ctx, t.holder, up.Repo(), d)
		if err == nil {
			return man, t, nil
		}
		t.failed = true
		bucket.passedOver(t.holder, err)
	}
	man, err := up.FetchManifest(ctx, string(d))
	if err == nil {
		err = verify(&man, d)
	}
	return man, t, err
}

// reuse gives a manifest whose bytes another repository's pull has stored, where a HEAD says that this one has them too.
func (m *Manifests) reuse(ctx context.Context, up Upstream, d digest.Digest) (man Manifest, ok bool, err error) {
	b, err := m.stored(ctx, d)
	if err != nil {
		return Manifest{}, false, nil
	}
	desc, err := up.ResolveManifest(ctx, string(d))
	ok = err == nil && desc.MediaType != "" && (desc.Digest == d || desc.Digest == "")
	return Manifest{desc.MediaType, d, b}, ok, err
}

// borrow reads a manifest from the server that fetches it.
func (m *Manifests) borrow(ctx context.Context, holder string, repo Repo, d digest.Digest) (Manifest, error) {
	m.o.Events.Borrowed(true)
	man, err := m.records.o.Bucket.o.Peer(holder, repo).FetchManifest(ctx, d)
	if err == nil {
		err = verify(&man, d)
	}
	return man, err
}

// verify is the one door through which manifests come in. A manifest without a media type gets the usual one, since what
// has none cannot be told from a blob later.
func verify(man *Manifest, d digest.Digest) error {
	if d.Validate() != nil || man.Digest != d || d.Algorithm().FromBytes(man.Bytes) != d {
		return fmt.Errorf("manifest %s: %w", d, ErrCorrupt)
	}
	if man.MediaType == "" {
		man.MediaType = ocispec.MediaTypeImageManifest
	}
	return nil
}

// unobtained draws the conclusions of a failed fetch: tags that were about to move there do not.
func (m *Manifests) unobtained(repo Repo, d digest.Digest, err error) {
	answered := isAnswer(err)
	if answered {
		m.refused.set(refName{repo, string(d)}, err, m.o.NegativeTTL)
	}
	if !answered && !IsOutage(err) {
		return
	}
	for name := range m.pendingTags(repo, d) {
		if !answered {
			m.outages.set(name, err, m.patience(err))
		}
		m.pending.drop(name)
	}
}

// keep stores a verified manifest and moves the tags that waited for it. The records are written in the order in which
// they name each other: bytes, that the repository has them, tags.
func (m *Manifests) keep(ctx context.Context, repo Repo, man Manifest) *Manifest {
	h := &heldManifest{Manifest: man, since: m.o.Now()}
	m.memory.setManifest(repo, h)
	rec := seenRecord{MediaType: man.MediaType, Size: int64(len(man.Bytes))}
	m.seen.remember(repo, man.Digest, rec)

	batch := append([]recordWrite{{verb: verbPut, key: manifestKey(man.Digest), record: man.Bytes, share: true}},
		m.seen.writes(repo, man.Digest, rec)...)
	moved := m.pendingTags(repo, man.Digest)
	for name, tag := range moved {
		tag.MediaType, tag.Size = rec.MediaType, rec.Size
		m.holdTag(name, tag)
		batch = append(batch, recordWrite{verb: verbPut, key: tagKey(name.Repo, name.ref), record: encodeRecord(tag), share: true})
	}
	m.records.write(ctx, batch...)
	for name := range moved {
		m.pending.drop(name)
	}
	m.refused.drop(refName{repo, string(man.Digest)})
	m.o.Note(repo, &h.Manifest)
	return &h.Manifest
}

// isAnswer reports whether an error is what upstream says of the content rather than a failure to say anything.
func isAnswer(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, ErrDenied) }
