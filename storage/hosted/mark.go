package hosted

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// marks is the set of records that something needs, as hashes of their keys: about a hundred bytes for each blob.
// Two keys of one hash only keep a record that could go, until a run whose seed is another.
type marks struct {
	seed maphash.Seed
	keys map[uint64]struct{}
}

func newMarks() *marks { return &marks{seed: maphash.MakeSeed(), keys: map[uint64]struct{}{}} }

// need marks a record, and reports whether it was not marked before.
func (m *marks) need(key string) (first bool) {
	h := maphash.String(m.seed, key)
	_, found := m.keys[h]
	m.keys[h] = struct{}{}
	return !found
}

func (m *marks) needed(key string) bool {
	_, found := m.keys[maphash.String(m.seed, key)]
	return found
}

// survey is one look at all manifests: what they need, and how much that is.
type survey struct {
	g     *Registry
	now   time.Time // by the store's clock, when the run began
	grace time.Duration
	marks *marks
	usage Usage
	tell  func() // called now and then
}

// look reads every manifest of every repository. It ends at the first that it cannot read: what is not known to be
// needless is needed.
func (g *Registry) look(ctx context.Context, now time.Time, grace time.Duration, tell func(Usage)) (*survey, error) {
	s := &survey{g: g, now: now, grace: grace, marks: newMarks(), usage: Usage{Counted: now, Repositories: map[string]RepoUsage{}}}
	s.tell = func() { tell(s.usage) }
	for repo, err := range g.repos(ctx) {
		if err == nil {
			err = s.repo(ctx, repo)
		}
		if err != nil {
			return nil, fmt.Errorf("look at what is needed: %w", err)
		}
		s.tell()
	}
	return s, nil
}

// repos yields every repository that has any record, by its key's order. The catalog may lag behind that.
func (g *Registry) repos(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last := ""
		for info, err := range g.store.List(ctx, repoFolder, "") {
			if err != nil {
				yield("", err)
				return
			}
			element, _, _ := strings.Cut(strings.TrimPrefix(info.Key, repoFolder), "/")
			if element != last && !yield(parseRepoKey(element), nil) {
				return
			}
			last = element
		}
	}
}

// repo looks at the manifests of one repository. Whatever becomes of a manifest, what it needs does not end before a look
// that does not find it: it may get another version, and stay, at any time.
func (s *survey) repo(ctx context.Context, repo string) error {
	var usage RepoUsage
	own := newMarks() // blobs counted for this repository
	family := newFamily()
	for m, err := range s.manifests(ctx, repo) {
		if err != nil {
			return err
		}
		s.need(repo, m)
		switch {
		case m.pending && m.age >= s.grace: // its push has most likely died
		case m.pending, s.g.untagged == 0:
			s.marks.need(manifestKey(repo, m.digest))
		}
		if s.g.untagged > 0 {
			family.add(m, m.age <= s.g.untagged)
		}
		if !m.pending {
			s.count(&usage, own, m)
		}
	}
	if usage.Manifests > 0 {
		s.usage.Repositories[repo] = usage
	}
	if s.g.untagged == 0 {
		return nil
	}
	return s.keep(ctx, repo, family)
}

// found is a manifest that a survey read.
type found struct {
	digest  digest.Digest
	doc     document
	size    int64
	age     time.Duration
	pending bool // by a push that goes on, or that has died
}

// need marks what a manifest needs, apart from itself.
func (s *survey) need(repo string, m found) {
	s.marks.need(nameKey(repo))
	if m.doc.subject != nil {
		s.marks.need(referrerKey(repo, m.doc.subject.Digest, m.digest))
	}
	for _, b := range m.doc.named {
		s.marks.need(holdKey(b, repo))
		s.marks.need(blobKey(b))
	}
}

// count adds what a manifest takes.
func (s *survey) count(usage *RepoUsage, own *marks, m found) {
	usage.Manifests++
	usage.Bytes += m.size
	s.usage.Manifests++
	s.usage.Bytes += m.size
	for _, b := range m.doc.blobs {
		if own.need(string(b.Digest)) {
			usage.Bytes += b.Size
		}
		if s.marks.need("counted/" + string(b.Digest)) {
			s.usage.Blobs++
			s.usage.Bytes += b.Size
		}
	}
}

func (s *survey) manifests(ctx context.Context, repo string) iter.Seq2[found, error] {
	prefix := manifestKeys(repo)
	return ahead(ctx, s.g.store, prefix, s.g.ahead, func(info storage.Info) (found, error) {
		return s.manifest(ctx, repo, strings.TrimPrefix(info.Key, prefix), info.Modified)
	})
}

func (s *survey) manifest(ctx context.Context, repo, element string, modified time.Time) (found, error) {
	d, err := parseDigestKey(element)
	if err != nil {
		return found{}, err
	}
	record, _, err := s.g.read(ctx, manifestKey(repo, d))
	if err != nil {
		return found{}, err
	}
	m, h, err := decodeManifest(d, record)
	if err != nil {
		return found{}, fmt.Errorf("manifest %s of hosted %s: %w; push it again, or delete it", d, repo, err)
	}
	return found{digest: d, doc: readDocument(m.MediaType, m.Bytes), size: int64(len(m.Bytes)), age: s.now.Sub(modified), pending: h.Pending}, nil
}
