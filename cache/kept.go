package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is here can be looked at without any consequence: no upstream is asked, nothing is fetched, brought into the memory
// tier or kept for longer because somebody looked at it. The memory tier is looked into only for what has no record.

// lookPatience is how long a look waits for records that are being written. Without them it shows what was there before.
const lookPatience = 100 * time.Millisecond

// notHere is ErrNotFound with words that do not blame an upstream.
type notHere string

func (e notHere) Error() string        { return string(e) + " is not here" }
func (notHere) Is(target error) bool   { return target == ErrNotFound }
func notKept(repo Repo, ref any) error { return notHere(fmt.Sprintf("%v of %s", ref, repo)) }

// CachedTags gives up to n cached tags of a repository after last, in byte order, and whether there are more. n < 0 asks for
// as many as come at once.
func (m *Manifests) CachedTags(ctx context.Context, repo Repo, n int, last string) (entries []Entry, more bool, err error) {
	if n < 0 || n > mostListed {
		n = mostListed
	}
	if err := m.records.settle(ctx); err != nil {
		return nil, false, err
	}
	folder := tagKey(repo, "")
	for info, err := range m.records.list(ctx, folder, folder+last) {
		if err = errors.Join(err, ctx.Err()); err == nil {
			if strings.Contains(strings.TrimPrefix(info.Key, folder), "/") {
				continue // not a tag
			}
			if len(entries) == n {
				return entries, true, nil
			}
		}
		entry, err := m.entry(ctx, info, err)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			continue // removed meanwhile, or unreadable and therefore removed
		case err != nil:
			return nil, false, err
		}
		entries = append(entries, entry)
	}
	return entries, false, nil
}

// settle waits a moment for what is being written, so that a listing has it.
func (r *Records) settle(ctx context.Context) error {
	brief, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	_ = r.Flush(brief) // it comes a little later
	return ctx.Err()
}

// Kept gives a manifest by tag or digest as far as it is here and was seen in that repository; ErrNotFound else. By tag, checked
// is when upstream was last asked what the tag means; by digest it is zero.
func (m *Manifests) Kept(ctx context.Context, repo Repo, ref string) (man Manifest, checked time.Time, err error) {
	var mediaType string
	d := digest.Digest(ref)
	if isDigest(ref) {
		mediaType, err = m.keptType(ctx, repo, d)
	} else {
		var tag tagRecord
		tag, err = m.keptTag(ctx, repo, ref)
		d, mediaType, checked = tag.Digest, tag.MediaType, tag.Checked
	}
	if err == nil {
		man, err = m.keptBytes(ctx, repo, d, mediaType)
	}
	switch {
	case ctx.Err() != nil:
		return Manifest{}, time.Time{}, ctx.Err()
	case errors.Is(err, storage.ErrNotFound):
		return Manifest{}, time.Time{}, notKept(repo, ref)
	case err != nil:
		return Manifest{}, time.Time{}, fmt.Errorf("manifest %s of %s: %w", ref, repo, err)
	}
	return man, checked, nil
}

// keptTag gives what a tag meant when upstream was last asked.
func (m *Manifests) keptTag(ctx context.Context, repo Repo, tag string) (tagRecord, error) {
	key := tagKey(repo, tag)
	if tag == "" || strings.Contains(tag, "/") || storage.CheckKey(key) != nil {
		return tagRecord{}, storage.ErrNotFound
	}
	rec, err := readRecord[tagRecord](ctx, m.records, key)
	if err != nil {
		if h, ok := m.memory.tag(repo, tag); ok {
			return h.record, nil
		}
	}
	return rec, err
}

// keptType gives the media type under which a repository was seen to have a manifest; empty where only memory may know.
func (m *Manifests) keptType(ctx context.Context, repo Repo, d digest.Digest) (string, error) {
	if d.Validate() != nil {
		return "", storage.ErrNotFound
	}
	rec, err := readRecord[seenRecord](ctx, m.records, seenKey(repo, d))
	if err != nil {
		if _, ok := m.memory.manifest(repo, string(d)); ok {
			return "", nil
		}
	}
	if err == nil && rec.MediaType == "" { // it was seen as a blob
		err = storage.ErrNotFound
	}
	return rec.MediaType, err
}

// keptBytes gives a manifest that the repository is known to have.
func (m *Manifests) keptBytes(ctx context.Context, repo Repo, d digest.Digest, mediaType string) (Manifest, error) {
	b, err := m.stored(ctx, d)
	if err == nil && mediaType != "" {
		return Manifest{MediaType: mediaType, Digest: d, Bytes: b}, nil
	}
	if h, ok := m.memory.manifest(repo, string(d)); ok {
		return h.Manifest, nil
	}
	if err == nil {
		err = storage.ErrNotFound
	}
	return Manifest{}, err
}

// KeptReferrers gives what upstream last said refers to a manifest, and when; an empty index and the zero time where it was
// never asked.
func (m *Manifests) KeptReferrers(ctx context.Context, repo Repo, d digest.Digest) (index ocispec.Index, checked time.Time, err error) {
	if d.Validate() != nil {
		return ocispec.Index{}, time.Time{}, nil
	}
	rec, err := m.knownReferrers(ctx, repo, d)
	if errors.Is(err, storage.ErrNotFound) {
		return ocispec.Index{}, time.Time{}, nil
	}
	if err != nil {
		return ocispec.Index{}, time.Time{}, fmt.Errorf("referrers of %s in %s: %w", d, repo, err)
	}
	return rec.Index, rec.Checked, nil
}
