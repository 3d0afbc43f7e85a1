package hosted

import (
	"context"
	"errors"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// TagInfo is what is known of a tag.
type TagInfo struct {
	Name    string
	Digest  digest.Digest
	By      string    // who pushed it; empty: nobody said
	Changed time.Time // when it was pushed last
}

// TagInfos is Tags with what is known of each. It leaves out tags whose records are damaged.
func (r Repo) TagInfos(ctx context.Context, n int, last string) (tags []TagInfo, more bool, err error) {
	names, more, err := r.Tags(ctx, n, last)
	for rest := names; err == nil && len(rest) > 0; {
		batch := rest[:min(r.g.ahead, len(rest))]
		rest = rest[len(batch):]
		tags, err = r.appendTagInfos(ctx, tags, batch)
	}
	if err != nil {
		return nil, false, r.wrap("list tags", err)
	}
	if len(tags) == 0 && len(names) > 0 && more { // a page without tags would look like the end
		return r.TagInfos(ctx, n, names[len(names)-1])
	}
	return tags, more, nil
}

// appendTagInfos reads tags at the same time. Those that were deleted meanwhile are left out too.
func (r Repo) appendTagInfos(ctx context.Context, tags []TagInfo, names []string) ([]TagInfo, error) {
	records := make([]storage.Info, len(names))
	for i, name := range names {
		records[i].Key = name
	}
	for _, t := range readAll(records, func(info storage.Info) (TagInfo, error) { return r.tagInfo(ctx, info.Key) }) {
		switch {
		case t.err == nil:
			tags = append(tags, t.value)
		case !errors.Is(t.err, ErrManifestUnknown):
			return nil, t.err
		}
	}
	return tags, nil
}

// TagInfo is what is known of one tag; ErrManifestUnknown.
func (r Repo) TagInfo(ctx context.Context, tag string) (TagInfo, error) {
	info, err := r.tagInfo(ctx, tag)
	return info, r.wrap("get tag", err)
}

func (r Repo) tagInfo(ctx context.Context, tag string) (TagInfo, error) {
	t, err := r.tag(ctx, tag)
	return TagInfo{Name: tag, Digest: t.Digest, By: t.By, Changed: t.When}, err
}
