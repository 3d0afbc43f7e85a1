package hosted

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// pageSize is how many entries a page has whose reader does not say.
const pageSize = 1000

// tagRecord says where a tag points.
type tagRecord struct {
	Digest digest.Digest `json:"digest"`
	By     string        `json:"by,omitempty"`
	When   time.Time     `json:"when"`
	Count  int64         `json:"count"`           // how often the tag was written
	State  state         `json:"state,omitempty"` // condemned: the collector found no manifest
}

// isDigest tells a digest from a tag, which has no colon.
func isDigest(ref string) bool { return strings.IndexByte(ref, ':') >= 0 }

// putTag points a tag to a manifest. Of two writers at the same time one is the last.
func (r Repo) putTag(ctx context.Context, tag string, d digest.Digest, by string) (written storage.Version, err error) {
	err = contend(ctx, func() error {
		t, v, err := readAs[tagRecord](ctx, r.g, tagKey(r.name, tag))
		if err != nil && !lacking(err) {
			return err
		}
		if err == nil && t.Digest != d {
			if err := r.touchManifest(ctx, t.Digest, map[digest.Digest]bool{}); err != nil {
				return err
			}
		}
		written, err = r.g.writeAs(ctx, tagKey(r.name, tag), tagRecord{Digest: d, By: by, When: r.g.now(), Count: t.Count + 1}, v)
		return err
	})
	return written, err
}

// Tags lists up to n tags (n < 0: a page) after last, in byte order, and says whether there are more. ErrNameUnknown where
// nothing was pushed to the repository.
func (r Repo) Tags(ctx context.Context, n int, last string) (tags []string, more bool, err error) {
	prefix := tagKeys(r.name)
	tags, more, err = r.g.page(ctx, prefix, prefix+last, n)
	if err == nil && len(tags) == 0 {
		_, _, err = r.g.read(ctx, nameKey(r.name))
		if errors.Is(err, storage.ErrNotFound) {
			err = ErrNameUnknown
		}
	}
	return tags, more, r.wrap("list tags", err)
}

// page lists the last elements of up to n living records' keys after a key.
func (g *Registry) page(ctx context.Context, prefix, after string, n int) (names []string, more bool, err error) {
	if n < 0 {
		n = pageSize
	}
	for info, err := range g.store.List(ctx, prefix, after) {
		if err != nil {
			return nil, false, err
		}
		if hasEnded(info) {
			continue
		}
		if len(names) == n {
			return names, true, nil
		}
		names = append(names, strings.TrimPrefix(info.Key, prefix))
	}
	return names, false, nil
}
