package hosted

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// marks is the set of records that something needs, as hashes of their keys: ten million blobs are few hundred megabytes.
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
func (g *Registry) repos(ctx context.Context) func(yield func(string, error) bool) {
	return func(yield func(string, error) bool) {
		after := ""
		for {
			key, err := g.firstAfter(ctx, repoFolder, after)
			if err != nil {
				yield("", err)
				return
			}
			element, _, _ := strings.Cut(strings.TrimPrefix(key, repoFolder), "/")
			if key == "" || !yield(parseRepoKey(element), nil) {
				return
			}
			after = repoFolder + element + "0" // '0' follows '/'
		}
	}
}

// firstAfter gives the first key of a folder after another; empty where there is none.
func (g *Registry) firstAfter(ctx context.Context, folder, after string) (string, error) {
	for info, err := range g.store.List(ctx, folder, after) {
		return info.Key, err
	}
	return "", nil
}

// found is a manifest that a survey read.
type found struct {
	doc     document
	size    int64
	age     time.Duration
	pending bool // by a push that goes on, or that has died
}

func (s *survey) repo(ctx context.Context, repo string) error {
	manifests, err := s.manifests(ctx, repo)
	if err != nil || len(manifests) == 0 {
		return err
	}
	kept := manifests
	if s.g.untagged > 0 {
		if kept, err = s.kept(ctx, repo, manifests); err != nil {
			return err
		}
	}
	for d, m := range manifests {
		if m.pending {
			s.pending(repo, d, m)
			delete(kept, d)
		}
	}
	for d, m := range kept {
		s.marks.need(manifestKey(repo, d))
		s.need(repo, d, m)
	}
	s.marks.need(nameKey(repo))
	if len(kept) > 0 {
		s.count(repo, kept)
	}
	return nil
}

// need marks what a manifest needs.
func (s *survey) need(repo string, d digest.Digest, m found) {
	if m.doc.subject != nil {
		s.marks.need(referrerKey(repo, m.doc.subject.Digest, d))
	}
	for _, b := range m.doc.named {
		s.marks.need(holdKey(b, repo))
		s.marks.need(blobKey(b))
	}
}

// pending marks what a manifest needs that is being pushed. If it is old, its push has most likely died, and it may end
// itself. But nothing that it needs may end before: until then the push may wake up.
func (s *survey) pending(repo string, d digest.Digest, m found) {
	if m.age < s.grace {
		s.marks.need(manifestKey(repo, d))
	}
	s.need(repo, d, m)
}

// count adds up what the manifests of a repository take.
func (s *survey) count(repo string, kept map[digest.Digest]found) {
	var usage RepoUsage
	own := map[digest.Digest]struct{}{} // blobs counted for this repository
	for _, m := range kept {
		usage.Manifests++
		usage.Bytes += m.size
		s.usage.Bytes += m.size
		for _, b := range m.doc.blobs {
			if _, counted := own[b.Digest]; !counted {
				own[b.Digest] = struct{}{}
				usage.Bytes += b.Size
			}
			if s.marks.need("counted/" + string(b.Digest)) {
				s.usage.Blobs++
				s.usage.Bytes += b.Size
			}
		}
	}
	s.usage.Manifests += usage.Manifests
	s.usage.Repositories[repo] = usage
}

func (s *survey) manifests(ctx context.Context, repo string) (map[digest.Digest]found, error) {
	all := map[digest.Digest]found{}
	prefix := manifestKeys(repo)
	for info, err := range s.g.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		if info.Size == int64(tombstoneSize) {
			continue
		}
		d, err := parseDigestKey(strings.TrimPrefix(info.Key, prefix))
		if err != nil {
			return nil, err
		}
		m, err := s.manifest(ctx, info.Key, d)
		if errors.Is(err, storage.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %s of hosted %s: %w; push it again, or delete it", d, repo, err)
		}
		m.age = s.now.Sub(info.Modified)
		all[d] = m
	}
	return all, nil
}

func (s *survey) manifest(ctx context.Context, key string, d digest.Digest) (found, error) {
	record, _, err := s.g.read(ctx, key)
	if err != nil {
		return found{}, err
	}
	m, h, err := decodeManifest(d, record)
	if err != nil {
		return found{}, err
	}
	doc, err := parseDocument(m.MediaType, m.Bytes)
	return found{doc: doc, size: int64(len(m.Bytes)), pending: h.Pending}, err
}

// kept gives the manifests of a repository that are young, tagged, or being pushed, and those that they keep: an index its
// manifests, a subject what refers to it.
func (s *survey) kept(ctx context.Context, repo string, all map[digest.Digest]found) (map[digest.Digest]found, error) {
	referrers := map[digest.Digest][]digest.Digest{}
	var next []digest.Digest
	for d, m := range all {
		if m.doc.subject != nil {
			referrers[m.doc.subject.Digest] = append(referrers[m.doc.subject.Digest], d)
		}
		if m.pending || m.age <= s.g.untagged {
			next = append(next, d)
		}
	}
	for info, err := range s.g.store.List(ctx, tagKeys(repo), "") {
		if err != nil {
			return nil, err
		}
		t, _, err := readAs[tagRecord](ctx, s.g, info.Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		next = append(next, t.Digest)
	}
	kept := map[digest.Digest]found{}
	for len(next) > 0 {
		d := next[len(next)-1]
		next = next[:len(next)-1]
		m, there := all[d]
		if _, done := kept[d]; done || !there {
			continue
		}
		kept[d] = m
		next = append(next, referrers[d]...)
		for _, child := range m.doc.manifests {
			next = append(next, child.Digest)
		}
	}
	return kept, nil
}
