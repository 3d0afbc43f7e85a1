package cache

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
)

// WarmReport is what became of one image.
type WarmReport struct {
	Image    string          `json:"image"`
	Digest   digest.Digest   `json:"digest,omitempty"`
	Status   WarmStatus      `json:"status"`
	Bytes    int64           `json:"bytes"`    // of what is here
	Complete []digest.Digest `json:"complete"` // manifests and blobs that are here, verified
	Missing  []WarmPart      `json:"missing"`
	Skipped  []WarmPart      `json:"skipped,omitempty"` // what is not to be had, by anybody
	Note     string          `json:"note,omitempty"`
}

// WarmStatus: an image is complete when it can be pulled without its upstream.
type WarmStatus string

const (
	WarmComplete   WarmStatus = "complete"
	WarmIncomplete WarmStatus = "incomplete"
)

// WarmPart is a part of an image that is not here, and why.
type WarmPart struct {
	What   string        `json:"what"` // manifest, config, layer, platform, referrers, parts for those beyond what is looked at, or image for all of it
	Name   string        `json:"name,omitempty"`
	Digest digest.Digest `json:"digest,omitempty"`
	Size   int64         `json:"size,omitempty"`
	Why    string        `json:"why"`
}

// lookAgain says what is here of an image in the end, whatever became of it meanwhile.
func (r *warmRun) lookAgain(ctx context.Context, p *warmPlan) WarmReport {
	repo := p.image.From.Repo()
	report := WarmReport{Image: p.image.Name, Digest: p.root, Status: WarmComplete, Complete: []digest.Digest{}, Missing: append([]WarmPart{}, p.missing...),
		Skipped: p.skipped, Note: p.note}
	for _, d := range p.manifests {
		if _, err := r.manifests.records.stat(context.WithoutCancel(ctx), manifestKey(d.Digest)); err != nil {
			report.Missing = append(report.Missing, WarmPart{What: "manifest", Digest: d.Digest, Size: d.Size, Why: "it could not be kept: " + err.Error()})
			continue
		}
		report.Complete, report.Bytes = append(report.Complete, d.Digest), report.Bytes+d.Size
	}
	for _, b := range p.blobs {
		size, ok := r.blobs.use(b.Digest)
		if ok && r.wanted[blobName{repo, b.Digest}].err == nil {
			report.Complete, report.Bytes = append(report.Complete, b.Digest), report.Bytes+size
			continue
		}
		report.Missing = append(report.Missing, WarmPart{What: b.what, Digest: b.Digest, Size: b.Size, Why: r.why(ctx, blobName{repo, b.Digest})})
	}
	if len(report.Missing) > 0 {
		report.Status = WarmIncomplete
	}
	return report
}

// why says why a blob is not here.
func (r *warmRun) why(ctx context.Context, name blobName) string {
	w := r.wanted[name]
	switch {
	case w.err != nil:
		return w.err.Error()
	case !w.done && errors.Is(context.Cause(ctx), context.Canceled):
		return "it was not fetched any more"
	case !w.done && ctx.Err() != nil:
		return "it was not fetched any more: " + context.Cause(ctx).Error()
	}
	return "it was fetched, and given up again for something else: the disk tier is too small for all of this"
}
