package cache

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// warmRole is what a manifest is to the image.
type warmRole int

const (
	warmAsked     warmRole = iota // the image itself
	warmChild                     // a platform of it
	warmStatement                 // attests to a platform: dockerd 29 asks for its referrers with each pull, and fails without an answer
	warmAttached                  // refers to it; what refers to that in turn is not looked for
)

// signatureTags are how cosign names what belongs to an image, where it does not use referrers.
var signatureTags = []string{".sig", ".att", ".sbom"}

// plan finds out what belongs to an image, fetching its manifests.
func (r *warmRun) plan(ctx context.Context, p *warmPlan) {
	man, stale, err := r.manifest(ctx, p, p.image.Ref)
	if err != nil {
		p.miss(WarmPart{What: "image", Why: err.Error()})
		return
	}
	p.root, p.note = man.Digest, stale
	var all sync.WaitGroup
	r.look(ctx, p, man, warmAsked, &all)
	all.Wait()
	if p.left > 0 {
		p.miss(WarmPart{What: "parts", Why: fmt.Sprintf("the image has too many parts, more than %d manifests or %d manifests and blobs; the rest was not looked at", warmManifests, warmParts)})
	}
	slices.SortStableFunc(p.missing, func(a, b WarmPart) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
}

// manifest gets one by tag or digest. Where upstream limits our requests, only what is here is looked at.
func (r *warmRun) manifest(ctx context.Context, p *warmPlan, ref string) (*Manifest, string, error) {
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return nil, "", context.Cause(ctx)
	}
	defer r.slots.Release(1)
	repo := p.image.From.Repo()
	if limit := r.limited(repo.Registry, false); limit != nil {
		man, ok := r.manifests.here(ctx, repo, ref)
		if !ok {
			return nil, "", limit
		}
		return man, "not checked, for " + repo.Registry + " limits our requests", nil
	}
	a, err := r.manifests.Get(ctx, p.image.From, ref)
	r.notice(repo.Registry, false, cmp.Or(err, a.Outage))
	return a.Manifest, a.Warning, err
}

// here gives a manifest without asking anybody.
func (m *Manifests) here(ctx context.Context, repo Repo, ref string) (*Manifest, bool) {
	mediaType := ""
	if !isDigest(ref) {
		rec, ok := m.tagRecord(ctx, refName{repo, ref})
		if !ok {
			return nil, false
		}
		ref, mediaType = string(rec.Digest), rec.MediaType
	}
	man, _, ok := m.local(ctx, repo, digest.Digest(ref), mediaType)
	return man, ok
}

// look takes in a manifest and goes on with what it names, in goroutines that end by themselves and that all counts.
func (r *warmRun) look(ctx context.Context, p *warmPlan, man *Manifest, role warmRole, all *sync.WaitGroup) {
	if !p.take(man) {
		return
	}
	var content contents[Descriptor]
	if err := json.Unmarshal(man.Bytes, &content); err != nil {
		p.miss(WarmPart{What: "manifest", Digest: man.Digest, Why: "it cannot be read: " + err.Error()})
		return
	}
	for _, b := range blobsOf(&content) {
		p.takeBlob(b)
	}
	chosen, absent := choose(content.Manifests, r.o.Platforms)
	if role == warmAsked && len(content.Manifests) > 0 {
		for _, platform := range absent {
			p.miss(WarmPart{What: "platform", Name: platform, Why: "the image has only " + platformsOf(content.Manifests)})
		}
	}
	for _, child := range chosen {
		role := max(role, warmChild)
		if child.Annotations[attestationType] != "" {
			role = max(role, warmStatement)
		}
		r.follow(ctx, p, child, role, all)
	}
	if role == warmStatement || r.o.Referrers && role < warmStatement {
		all.Go(func() { r.referrers(ctx, p, man.Digest, all) })
	}
	if r.o.Referrers && role < warmStatement {
		for _, suffix := range signatureTags {
			all.Go(func() { r.signature(ctx, p, strings.Replace(string(man.Digest), ":", "-", 1)+suffix, all) })
		}
	}
}

// follow fetches a manifest that another one names, unless something has named it before.
func (r *warmRun) follow(ctx context.Context, p *warmPlan, d Descriptor, role warmRole, all *sync.WaitGroup) {
	if !p.mayFollow(d.Digest) {
		return
	}
	if err := d.Digest.Validate(); err != nil { // it would be taken for a tag
		p.miss(WarmPart{What: "manifest", Name: string(d.Digest), Size: d.Size, Why: err.Error()})
		return
	}
	all.Go(func() {
		man, _, err := r.manifest(ctx, p, string(d.Digest))
		if err != nil {
			p.miss(WarmPart{What: "manifest", Name: platformName(d.Platform), Digest: d.Digest, Size: d.Size, Why: err.Error()})
			return
		}
		r.look(ctx, p, man, role, all)
	})
}

// referrers has the list of what refers to a manifest kept, and goes on with that if it is wanted.
func (r *warmRun) referrers(ctx context.Context, p *warmPlan, d digest.Digest, all *sync.WaitGroup) {
	index, err := r.listReferrers(ctx, p.image.From, d)
	if err != nil {
		p.miss(WarmPart{What: "referrers", Digest: d, Why: err.Error()})
		return
	}
	if !r.o.Referrers {
		return
	}
	for _, found := range index.Manifests {
		r.follow(ctx, p, found, warmAttached, all)
	}
}

func (r *warmRun) listReferrers(ctx context.Context, from WarmSource, d digest.Digest) (ocispec.Index, error) {
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return ocispec.Index{}, context.Cause(ctx)
	}
	defer r.slots.Release(1)
	registry := from.Repo().Registry
	if limit := r.limited(registry, false); limit != nil {
		rec, err := r.manifests.knownReferrers(ctx, from.Repo(), d)
		if err != nil {
			return ocispec.Index{}, limit
		}
		return rec.Index, nil
	}
	rec, outage, err := r.manifests.referrers(ctx, from, d)
	r.notice(registry, false, cmp.Or(err, outage))
	return rec.Index, err
}

// signature goes on with a tag that may be there.
func (r *warmRun) signature(ctx context.Context, p *warmPlan, tag string, all *sync.WaitGroup) {
	if r.o.Admit != nil && r.o.Admit(p.image.From.Repo(), tag) != nil {
		return // nobody can pull it
	}
	man, _, err := r.manifest(ctx, p, tag)
	switch {
	case isAnswer(err):
	case err != nil:
		p.miss(WarmPart{What: "referrers", Name: tag, Why: "whether there is one is not known: " + err.Error()})
	default:
		r.look(ctx, p, man, warmAttached, all)
	}
}

// mayFollow notes that a manifest is named; false when it was named before, or is one too many.
func (p *warmPlan) mayFollow(d digest.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.named[d] {
		return false
	}
	if len(p.named) == warmManifests {
		p.left++
		return false
	}
	p.named[d] = true
	return true
}

// first notes a part; false when it was noted before, or is one too many. The caller holds mu.
func (p *warmPlan) first(d digest.Digest) bool {
	if p.known[d] {
		return false
	}
	if len(p.known) == warmParts {
		p.left++
		return false
	}
	p.known[d] = true
	return true
}

// take notes a manifest that is here.
func (p *warmPlan) take(man *Manifest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.first(man.Digest) {
		return false
	}
	p.manifests = append(p.manifests, Descriptor{MediaType: man.MediaType, Digest: man.Digest, Size: int64(len(man.Bytes))})
	return true
}

func (p *warmPlan) takeBlob(b namedBlob) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.first(b.Digest) {
		return
	}
	switch err := b.Digest.Validate(); {
	case err != nil:
		p.missing = append(p.missing, WarmPart{What: b.what, Name: string(b.Digest), Why: err.Error()})
	case b.foreign():
		p.skipped = append(p.skipped, WarmPart{What: b.what, Digest: b.Digest, Size: b.Size, Why: "registries do not distribute it; clients fetch it from where it is"})
	default:
		p.blobs = append(p.blobs, b)
	}
}

// foreign: image-spec, "Non-Distributable Layers", and Docker's foreign layers.
func (b namedBlob) foreign() bool {
	return len(b.URLs) > 0 || strings.Contains(b.MediaType, ".nondistributable.") || strings.Contains(b.MediaType, ".foreign.")
}
