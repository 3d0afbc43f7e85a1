package cache

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestWarmedImagesNeedNoUpstream(t *testing.T) {
	g := newGallery(t)
	index, manifests := g.multi("1")
	single := g.image("2", 1, g.blob(2, 2_000_000), g.blob(9, 5_000))
	var told []WarmProgress
	reports := g.warm(WarmOptions{Referrers: true, Tell: func(p WarmProgress) { told = append(told, p) }}, "1", "2", string(single.Digest))
	for _, r := range reports {
		wantStatus(t, r, WarmComplete)
	}
	if last := told[len(told)-1]; last.Known != 3 || last.Have != last.Bytes || last.Bytes < 2_600_000 || len(last.Notes) > 0 {
		t.Errorf("told at last: %+v", last)
	}
	if n := len(reports[0].Complete); n != 8+8+7 { // manifests, configs, and layers without the one that both platforms have
		t.Errorf("%d manifests and blobs", n)
	}
	g.wantOnce()

	g.cut()
	g.clock.advance(1 << 40) // no tag is fresh
	for ref, d := range map[string]Descriptor{"1": index, string(index.Digest): index, "2": single, string(manifests[1].Digest): manifests[1], string(manifests[2].Digest): manifests[2],
		strings.Replace(string(index.Digest), ":", "-", 1) + ".sig": {}} {
		a, err := g.get(g, ref)
		if err != nil || d.Digest != "" && a.Manifest.Digest != d.Digest {
			t.Errorf("%s without upstream: %v", ref, err)
		}
	}
	for d, b := range g.origin.content {
		if _, err := readBlob(t, g.blobs, g, d, Whole); err != nil {
			t.Errorf("blob of %d bytes without upstream: %v", len(b), err)
		}
	}
	for d, want := range map[digest.Digest]int{index.Digest: 1, manifests[0].Digest: 1, manifests[1].Digest: 0, manifests[2].Digest: 0, manifests[3].Digest: 0} {
		if refs, _, err := g.manifests().Referrers(t.Context(), g, d); err != nil || len(refs.Manifests) != want {
			t.Errorf("referrers without upstream: %+v, %v", refs, err)
		}
	}
	wantStatus(t, g.warm(WarmOptions{Referrers: true}, "1")[0], WarmIncomplete, ".att", "unavailable") // tags that are not there cannot be known of
	wantStatus(t, g.warm(WarmOptions{}, "1")[0], WarmComplete, "stale")
}

// dockerd 29 asks what refers to attestations, wanted or not.
func TestWarmAlwaysKnowsWhatRefersToAttestations(t *testing.T) {
	g := newGallery(t)
	_, manifests := g.multi("1")
	attached := g.image("", 70, g.blob(71, 400))
	g.referring[manifests[1].Digest] = []Descriptor{attached}
	r := g.warm(WarmOptions{}, "1")[0]
	wantStatus(t, r, WarmComplete)
	if slices.Contains(r.Complete, attached.Digest) {
		t.Error("what refers to it was fetched, which nobody wanted")
	}
	g.cut()
	g.clock.advance(1 << 40)
	if refs, _, err := g.manifests().Referrers(t.Context(), g, manifests[1].Digest); err != nil || len(refs.Manifests) != 1 {
		t.Errorf("%+v, %v", refs, err)
	}
	wantStatus(t, g.warm(WarmOptions{}, "1")[0], WarmComplete, "stale")
}

// A tag of a signature that may not come in is not asked for.
func TestWarmAsksForNoSignatureThatIsKeptOut(t *testing.T) {
	g := newGallery(t)
	index, _ := g.multi("1")
	r := g.warm(WarmOptions{Referrers: true, Admit: func(_ Repo, tag string) error { return errors.New(tag) }}, "1")[0]
	wantStatus(t, r, WarmComplete)
	if sig := g.tagOnDisk(nginx, strings.Replace(string(index.Digest), ":", "-", 1)+".sig"); sig != "" {
		t.Errorf("it came in: %s", sig)
	}
}

// What a command begins goes on without it, and whoever asks again fetches nothing twice.
func TestWarmIsTakenUpAgain(t *testing.T) {
	g := newGallery(t)
	g.image("1", 1, g.blob(2, 3<<20), g.blob(3, 2<<20))
	g.origin.gate = make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	began := make(chan struct{})
	go func() { // ends with began
		for n, _ := g.origin.requests(); n == 0; n, _ = g.origin.requests() {
			runtime.Gosched()
		}
		close(began)
	}()
	go func() { <-began; cancel(enough) }()
	reports, err := WarmImages(ctx, g.manifests(), g.blobs, []WarmImage{{Name: "1", From: g, Ref: "1"}}, WarmOptions{})
	if !errors.Is(err, enough) || reports[0].Status != WarmIncomplete {
		t.Fatalf("%+v, %v", reports, err)
	}
	close(g.origin.gate)
	wantStatus(t, g.warm(WarmOptions{}, "1")[0], WarmComplete)
	g.wantOnce()
}

// Images that share blobs, pulled by others meanwhile, cost each byte once.
func TestWarmJoinsFills(t *testing.T) {
	g := newGallery(t)
	shared := g.blob(2, 3<<20)
	g.image("1", 1, shared)
	g.image("2", 3, shared)
	var pulls sync.WaitGroup
	for range 4 {
		pulls.Go(func() { wantBlob(t, g.blobs, g, g.origin.content[shared.Digest], Whole) })
	}
	for _, r := range g.warm(WarmOptions{}, "1", "2") {
		wantStatus(t, r, WarmComplete)
	}
	pulls.Wait()
	g.wantOnce()
}
