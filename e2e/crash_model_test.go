package e2e

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// fact is one thing that a registry knows.
type fact struct {
	kind string // "tag", whose value is a digest; "manifest" or "blob", whose value is present. absent is one of each
	repo string
	name string // the tag, or the digest
}

const (
	absent  = ""
	present = "present"
)

func tagFact(repo, tag string) fact                  { return fact{"tag", repo, tag} }
func manifestFact(repo string, d digest.Digest) fact { return fact{"manifest", repo, d.String()} }
func blobFact(repo string, d digest.Digest) fact     { return fact{"blob", repo, d.String()} }

// outcome is what the answer said of a write.
type outcome int

const (
	unknown  outcome = iota // nothing: it has happened or not, and does not happen any more
	acked                   // it has happened, between its begin and its end
	rejected                // it has not happened
)

// write is a change of a fact that was sent.
type write struct {
	fact
	value      string
	maybe      bool // it may have no effect even where its request is acked
	acked      bool
	begin, end int // by the model's clock
}

const underWay = math.MaxInt

// model is what the clients know of the registry. Its methods are safe for concurrent use.
type model struct {
	mu    sync.Mutex
	clock int
	facts map[fact][]*write
	items map[fact]*item // everything that was ever sent as a manifest, by its fact
	seen  map[fact]fakehub.Blob
}

// item is a manifest and what its maker knows of it.
type item struct {
	repo     string
	manifest fakehub.Manifest
	blobs    []fakehub.Blob
	subject  digest.Digest
	absences int // how often in a row it was not found when nothing was under way
}

func (i *item) fact() fact { return manifestFact(i.repo, i.manifest.Digest) }

func newModel() *model {
	return &model{facts: map[fact][]*write{}, items: map[fact]*item{}, seen: map[fact]fakehub.Blob{}}
}

// beginPut notes that a manifest is about to be sent, under these tags.
func (m *model) beginPut(it *item, tags []string) []*write {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items[it.fact()] = it
	deleting := slices.ContainsFunc(m.facts[it.fact()], func(w *write) bool { return w.value == absent && w.end == underWay })
	changes := []*write{{fact: it.fact(), value: present}}
	for _, tag := range tags {
		changes = append(changes, &write{fact: tagFact(it.repo, tag), value: it.manifest.Digest.String()})
		if deleting { // whoever deletes the manifest takes the tag along, or comes too early
			changes = append(changes, &write{fact: tagFact(it.repo, tag), maybe: true})
		}
	}
	return m.begin(changes)
}

// beginDelete notes that a manifest is about to be deleted, and the tags that point to it.
func (m *model) beginDelete(it *item) []*write {
	m.mu.Lock()
	defer m.mu.Unlock()
	changes := []*write{{fact: it.fact()}}
	for f, writes := range m.facts {
		points := func(w *write) bool { return w.value == it.manifest.Digest.String() }
		if f.kind == "tag" && f.repo == it.repo && slices.ContainsFunc(writes, points) {
			changes = append(changes, &write{fact: f, maybe: true})
		}
	}
	return m.begin(changes)
}

// beginTagDelete is for a tag alone.
func (m *model) beginTagDelete(repo, tag string) []*write {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begin([]*write{{fact: tagFact(repo, tag)}})
}

// beginBlob notes that a blob is about to be sent, mounted or deleted.
func (m *model) beginBlob(repo string, b fakehub.Blob, value string) []*write {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := blobFact(repo, b.Digest)
	m.seen[f] = b
	return m.begin([]*write{{fact: f, value: value}})
}

// begin is called with mu held.
func (m *model) begin(changes []*write) []*write {
	for _, w := range changes {
		m.clock++
		w.begin, w.end = m.clock, underWay
		if m.facts[w.fact] == nil {
			m.facts[w.fact] = []*write{{fact: w.fact, acked: true}} // absent since ever
		}
		m.facts[w.fact] = append(m.facts[w.fact], w)
	}
	return changes
}

// end notes what came of writes that were begun together.
func (m *model) end(changes []*write, o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock++
	for _, w := range changes {
		w.end, w.acked = m.clock, o == acked && !w.maybe
		m.facts[w.fact] = slices.DeleteFunc(m.facts[w.fact], func(other *write) bool { return other == w && o == rejected })
		m.facts[w.fact] = possible(m.facts[w.fact])
	}
}

// possible leaves out the writes that were over when one began that is known to have happened.
func possible(writes []*write) []*write {
	latest := 0
	for _, w := range writes {
		if w.acked {
			latest = max(latest, w.begin)
		}
	}
	return slices.DeleteFunc(writes, func(w *write) bool { return w.end < latest })
}

// may tells whether a reader may find this value when nothing is under way.
func (m *model) may(f fact, value string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	writes := m.facts[f]
	return slices.ContainsFunc(writes, func(w *write) bool { return w.value == value }) || writes == nil && value == absent
}

// found notes what a reader found when nothing was under way: it stays so until the next write.
func (m *model) found(f fact, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock++
	m.facts[f] = []*write{{fact: f, value: value, acked: true, begin: m.clock, end: m.clock}}
}

// tell is for messages.
func (m *model) tell(f fact) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var told []string
	for _, w := range m.facts[f] {
		told = append(told, fmt.Sprintf("%q (acknowledged: %t, maybe: %t, %d to %d)", w.value, w.acked, w.maybe, w.begin, w.end))
	}
	return strings.Join(told, ", ")
}

// forget drops a fact of which nobody will write again.
func (m *model) forget(f fact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.facts, f)
	delete(m.items, f)
	delete(m.seen, f)
}

// all lists the facts of a kind, in an order that the seed decides and no map.
func (m *model) all(kind string) []fact {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []fact
	for f := range m.facts {
		if f.kind == kind {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(x, y fact) int { return cmp.Or(cmp.Compare(x.repo, y.repo), cmp.Compare(x.name, y.name)) })
	return list
}

func (m *model) item(f fact) *item {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items[f]
}

func (m *model) blob(f fact) fakehub.Blob {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[f]
}
