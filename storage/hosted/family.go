package hosted

import (
	"context"
	"maps"

	"github.com/opencontainers/go-digest"
)

// family says which manifests of a repository keep which others: an index its manifests, a subject what refers to it.
type family struct {
	kin   map[digest.Digest][]digest.Digest
	there map[digest.Digest]bool // false: it is being pushed. It keeps others, and is not kept
	heads []digest.Digest        // that stay by themselves
}

func newFamily() *family {
	return &family{kin: map[digest.Digest][]digest.Digest{}, there: map[digest.Digest]bool{}}
}

func (f *family) add(m found, young bool) {
	f.there[m.digest] = !m.pending
	for _, child := range m.doc.manifests {
		f.kin[m.digest] = append(f.kin[m.digest], child.Digest)
	}
	if m.doc.subject != nil {
		f.kin[m.doc.subject.Digest] = append(f.kin[m.doc.subject.Digest], m.digest)
	}
	if young || m.pending {
		f.heads = append(f.heads, m.digest)
	}
}

// kept gives the manifests that stay.
func (f *family) kept() map[digest.Digest]bool {
	kept := map[digest.Digest]bool{}
	for next := f.heads; len(next) > 0; {
		d := next[len(next)-1]
		next = next[:len(next)-1]
		if _, there := f.there[d]; there && !kept[d] {
			kept[d] = true
			next = append(next, f.kin[d]...)
		}
	}
	maps.DeleteFunc(kept, func(d digest.Digest, _ bool) bool { return !f.there[d] })
	return kept
}

// keep marks the manifests that are young, tagged, or being pushed, and those that they keep.
func (s *survey) keep(ctx context.Context, repo string, f *family) error {
	for info, err := range s.g.store.List(ctx, tagKeys(repo), "") {
		if err != nil {
			return err
		}
		t, _, err := readAs[tagRecord](ctx, s.g, info.Key)
		if lacking(err) {
			continue
		}
		if err != nil {
			return err
		}
		f.heads = append(f.heads, t.Digest)
	}
	for d := range f.kept() {
		s.marks.need(manifestKey(repo, d))
	}
	return nil
}
