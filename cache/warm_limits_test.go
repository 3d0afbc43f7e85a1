package cache

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Of a registry that limits our requests no more is asked. What is here counts, and blobs may still be had.
func TestWarmStopsAtTheLimit(t *testing.T) {
	g := newGallery(t)
	here, known := g.image("here", 1, g.blob(2, 3000)), g.image("known", 3, g.blob(4, 3000))
	g.warm(WarmOptions{}, "here")
	g.wantGet(g, "known", g.fakeManifests.manifests[known.Digest])
	refs := []string{"0"}
	for i := range 20 {
		g.image(fmt.Sprint(i), uint64(100+i))
		refs = append(refs, fmt.Sprint(i))
	}
	g.clock.advance(1 << 40)
	g.fakeManifests.fail(outage(CauseLimited), outage(CauseLimited))
	g.asked()
	reports := g.warm(WarmOptions{}, append(refs, "here", string(here.Digest), "known")...)
	for _, r := range reports[len(refs):] {
		wantStatus(t, r, WarmComplete)
	}
	wantStatus(t, reports[7], WarmIncomplete, "limit")
	if heads, gets := g.asked(); heads+gets > warmImages {
		t.Errorf("asked %d times", heads+gets)
	}

	g.fakeManifests.fail(nil, nil)
	g.origin.fail = func(int64, int64) error { return outage(CauseLimited) }
	reports = g.warm(WarmOptions{}, append(refs, "here")...)
	wantStatus(t, reports[len(refs)], WarmComplete)
	wantStatus(t, reports[7], WarmIncomplete, `"config"`, "limits our requests")
}

// An answer that is stale because of the limit tells of it, too.
func TestWarmStopsAtTheLimitOfWhatIsStale(t *testing.T) {
	for _, what := range []string{"tags", "lists of referrers"} {
		t.Run(what, func(t *testing.T) {
			g := newGallery(t)
			var refs []string
			for i := range 30 {
				ref := fmt.Sprint(i)
				d := g.image(ref, uint64(100+i)).Digest
				if what != "tags" {
					ref = string(d)
				}
				refs = append(refs, ref)
			}
			o := WarmOptions{Referrers: what != "tags", Admit: func(Repo, string) error { return errors.New("no signatures") }}
			g.warm(o, refs...)
			g.clock.advance(1 << 40)
			g.fakeManifests.fail(outage(CauseLimited), outage(CauseLimited))
			g.listErr = outage(CauseLimited)
			g.asked()
			g.listed = 0
			for _, r := range g.warm(o, refs...) {
				wantStatus(t, r, WarmComplete)
			}
			heads, gets := g.asked()
			if asked := heads + gets + g.listed; asked == 0 || asked > warmRequests {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

func TestWarmLooksAtSoManyPartsAndNoMore(t *testing.T) {
	for name, fields := range map[string]func(g *gallery) map[string]any{
		"manifests": func(g *gallery) map[string]any {
			var all []Descriptor
			for i := range warmManifests + 600 {
				all = append(all, Descriptor{Digest: g.pushBytes("", fmt.Appendf(nil, `{"n":%d}`, i)).Digest})
			}
			return map[string]any{"manifests": all}
		},
		"blobs": func(g *gallery) map[string]any {
			var all []Descriptor
			for i := range warmParts + 600 {
				all = append(all, Descriptor{Digest: digest.FromString(fmt.Sprint(i)), URLs: []string{"https://example.com"}})
			}
			return map[string]any{"layers": all}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGallery(t)
			g.put("1", fields(g))
			r := g.warm(WarmOptions{}, "1")[0]
			if r.Status != WarmIncomplete || len(r.Missing) != 1 || !strings.Contains(r.Missing[0].Why, "too many parts") {
				t.Errorf("%s, %d are missing: %.300v", r.Status, len(r.Missing), r.Missing)
			}
			if heads, gets := g.asked(); heads+gets > warmManifests+2 { // the tag, and what it means
				t.Errorf("%d manifests were asked for", heads+gets)
			}
		})
	}
}

func TestWarmSaysBeforehandWhatDoesNotFit(t *testing.T) {
	g := newGallery(t, func(o *BlobOptions) { o.Size = 1 << 20 })
	g.image("1", 1, g.blob(2, 700_000), g.blob(3, 600_000), g.blob(4, 2<<20))
	g.origin.gate = make(chan struct{}) // nothing comes before what is told once it was asked for
	var notes []string
	open := sync.OnceFunc(func() { close(g.origin.gate) })
	tell := func(p WarmProgress) {
		if gets, _ := g.origin.requests(); gets > 0 {
			if notes == nil {
				notes = p.Notes
			}
			open()
		}
	}
	g.warm(WarmOptions{Tell: tell}, "1")
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "2.0 MiB") || !strings.Contains(all, "has room for 1.0 MiB") {
		t.Errorf("it says %q", notes)
	}
}
