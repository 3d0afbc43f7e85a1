package cache

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	warmImages   = 4 // whose manifests are looked through at once
	warmRequests = 8 // for manifests and lists at once
	warmBlobs    = 4 // fetched at once

	warmManifests = 2000   // that those of one image name, with what refers to it
	warmParts     = 20_000 // manifests and blobs of one image

	warmSettle = 10 * time.Second
)

// WarmSource is one repository of an upstream, of which whole images can be fetched.
type WarmSource interface {
	Upstream
	Lister
}

// WarmImage is an image that is to be fetched whole.
type WarmImage struct {
	Name string // by which it is reported
	From WarmSource
	Ref  string // tag or digest
}

// WarmOptions say what belongs to an image. All are optional.
type WarmOptions struct {
	Platforms []ocispec.Platform                // of an index; none: all
	Referrers bool                              // signatures, SBOMs and the like too
	Admit     func(repo Repo, tag string) error // whether a tag of a signature may come in
	Tell      func(WarmProgress)                // from one goroutine, some times a second
}

// WarmImages fetches whole images, so that they can be pulled while their upstreams are out: manifests first, so that it is known how
// much there is to fetch, then blobs. Fills that run are joined. Of an upstream that limits our requests no more is asked;
// what is here counts all the same. Somebody waits for this, so it may use up what Spare keeps back. There is one report for each image, in their order; the error is that of ctx.
func WarmImages(ctx context.Context, m *Manifests, c *Blobs, images []WarmImage, o WarmOptions) ([]WarmReport, error) {
	r := &warmRun{manifests: m, blobs: c, o: o, slots: semaphore.NewWeighted(warmRequests), limits: map[warmLimit]error{},
		wanted: map[blobName]*warmBlob{}}
	for _, image := range images {
		r.plans = append(r.plans, &warmPlan{image: image, named: map[digest.Digest]bool{}, known: map[digest.Digest]bool{}})
	}
	defer r.tellUntilDone()()
	r.planAll(ctx)
	r.measure()
	r.fetchAll(ctx)
	r.settle(ctx)
	reports := make([]WarmReport, len(r.plans))
	for i, p := range r.plans {
		reports[i] = r.lookAgain(ctx, p)
	}
	return reports, context.Cause(ctx)
}

// warmRun is one call of WarmImages.
type warmRun struct {
	manifests *Manifests
	blobs     *Blobs
	o         WarmOptions
	plans     []*warmPlan
	slots     *semaphore.Weighted

	mu     sync.Mutex
	limits map[warmLimit]error
	notes  []string
	known  int
	wanted map[blobName]*warmBlob // all blobs of all images
	order  []*warmBlob
}

// warmPlan is what belongs to one image.
type warmPlan struct {
	image WarmImage

	mu        sync.Mutex
	root      digest.Digest
	named     map[digest.Digest]bool // manifests that others name
	known     map[digest.Digest]bool // manifests that are here, and blobs
	left      int                    // parts beyond what is looked at
	manifests []Descriptor
	blobs     []namedBlob
	missing   []WarmPart
	skipped   []WarmPart
	note      string
}

func (r *warmRun) planAll(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(warmImages)
	for _, p := range r.plans {
		g.Go(func() error {
			r.plan(ctx, p)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.known++
			for _, b := range p.blobs {
				name := blobName{p.image.From.Repo(), b.Digest}
				if r.wanted[name] == nil {
					r.wanted[name] = &warmBlob{name: name, from: p.image.From, size: max(0, b.Size)}
				}
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return none
	for _, p := range r.plans {
		for _, b := range p.blobs {
			if w := r.wanted[blobName{p.image.From.Repo(), b.Digest}]; !w.queued {
				w.queued = true
				r.order = append(r.order, w)
			}
		}
	}
}

// warmLimit is a registry that limits our requests: Docker Hub counts those for manifests, and none for blobs.
type warmLimit struct {
	registry string
	blobs    bool
}

// settle waits until tags and manifests are on disk, though not for ever, also where somebody has had enough.
func (r *warmRun) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), warmSettle)
	defer cancel()
	if err := r.manifests.records.Flush(ctx); err != nil {
		r.note(fmt.Sprintf("tags and manifests are not on disk yet: %v", err))
	}
}

// limited is why a registry is not asked any more; nil while it is.
func (r *warmRun) limited(registry string, blobs bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits[warmLimit{registry, blobs}]
}

// notice remembers that a registry limits our requests.
func (r *warmRun) notice(registry string, blobs bool, err error) {
	if !IsOutage(err) || cause(err) != CauseLimited {
		return
	}
	limit := warmLimit{registry, blobs}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limits[limit] != nil {
		return
	}
	r.limits[limit] = fmt.Errorf("it was not asked for, since %s limits our requests", registry)
	what := "manifests"
	if blobs {
		what = "blobs"
	}
	r.notes = append(r.notes, fmt.Sprintf("%s limits our requests: no more %s are asked of it. Run this again when the limit allows more, or give the server credentials of %[1]s with a higher limit; what is here stays.", registry, what))
}

func (r *warmRun) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, text)
}

func (p *warmPlan) miss(part WarmPart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.missing = append(p.missing, part)
}

// sizes adds up the blobs of all images, each once.
func (r *warmRun) sizes() (bytes int64) {
	once := map[digest.Digest]int64{}
	for name, w := range r.wanted {
		once[name.digest] = w.size
	}
	for size := range maps.Values(once) {
		bytes += onDisk(size)
	}
	return bytes
}
