package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"
)

// RepoSize is what a repository takes of the cache, in bytes.
type RepoSize struct {
	Repo  Repo
	Bytes int64
}

// Sizes yields for each repository with cached tags the bytes of what they name and is here, manifests and indexes included:
// everything once, but again for each repository that was seen to have it. here gives the bytes of a blob. It reads every tag
// and manifest on this server's disk, and leaves out those that cannot be read. An error ends it.
func (m *Manifests) Sizes(ctx context.Context, here func(digest.Digest) int64) iter.Seq2[RepoSize, error] {
	return func(yield func(RepoSize, error) bool) {
		if err := m.records.settle(ctx); err != nil {
			yield(RepoSize{}, fmt.Errorf("sizes of cached repositories: %w", err))
			return
		}
		var s *sum
		for info, err := range m.records.list(ctx, tagFolder, "") {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(RepoSize{}, fmt.Errorf("sizes of cached repositories: %w", err))
				return
			}
			repo, _, err := parseKey(tagFolder, info.Key)
			if err != nil {
				continue // not ours
			}
			if s == nil || s.repo != repo {
				if s != nil && !yield(RepoSize{s.repo, s.bytes}, nil) {
					return
				}
				s = &sum{m: m, here: here, repo: repo, counted: digestSet{}}
			}
			s.tag(ctx, info.Key)
		}
		if s != nil {
			yield(RepoSize{s.repo, s.bytes}, nil)
		}
	}
}

// sum adds up one repository.
type sum struct {
	m       *Manifests
	here    func(digest.Digest) int64
	repo    Repo
	bytes   int64
	counted digestSet
}

// tag adds what a tag names, through indexes however deep.
func (s *sum) tag(ctx context.Context, key string) {
	var rec tagRecord
	b, err := s.m.records.here(ctx, key)
	if err != nil || json.Unmarshal(b, &rec) != nil || !rec.valid() {
		return
	}
	for manifests := []digest.Digest{rec.Digest}; len(manifests) > 0; {
		d := manifests[0]
		manifests = manifests[1:]
		if !s.first(d) || !s.m.o.Seen.hadHere(ctx, s.repo, d) {
			continue
		}
		b, err := s.m.records.here(ctx, manifestKey(d))
		if err != nil || d.Algorithm().FromBytes(b) != d {
			continue
		}
		s.bytes += int64(len(b))
		children, blobs := namedApart(b)
		manifests = append(manifests, children...)
		for _, blob := range blobs {
			if s.first(blob) && s.m.o.Seen.hadHere(ctx, s.repo, blob) {
				s.bytes += max(s.here(blob), 0)
			}
		}
	}
}

func (s *sum) first(d digest.Digest) bool {
	_, counted := s.counted[d]
	s.counted[d] = struct{}{}
	return !counted
}
