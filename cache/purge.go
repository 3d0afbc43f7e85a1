package cache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// Entry is one cached tag.
type Entry struct {
	Repo      Repo
	Tag       string
	Digest    digest.Digest
	MediaType string
	Size      int64     // of the manifest, in bytes
	Checked   time.Time // when upstream was last asked
}

// List yields the cached tags of a repository, or of all for the zero Repo, by registry, repository and tag. An error ends it.
func (m *Manifests) List(ctx context.Context, only Repo) iter.Seq2[Entry, error] {
	folder := tagFolder
	if !only.none() {
		folder = tagKey(only, "")
	}
	return func(yield func(Entry, error) bool) {
		if err := m.records.Flush(ctx); err != nil {
			yield(Entry{}, fmt.Errorf("list cached tags: %w", err))
			return
		}
		for info, err := range m.records.list(ctx, folder, "") {
			entry, err := m.entry(ctx, info, err)
			if errors.Is(err, storage.ErrNotFound) {
				continue // removed meanwhile, or unreadable and therefore removed
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

func (m *Manifests) entry(ctx context.Context, info storage.Info, err error) (Entry, error) {
	if err != nil {
		return Entry{}, fmt.Errorf("list cached tags: %w", err)
	}
	repo, tag, err := parseKey(tagFolder, info.Key)
	if err != nil {
		return Entry{}, err
	}
	rec, err := readRecord[tagRecord](ctx, m.records, info.Key)
	if err != nil {
		return Entry{}, fmt.Errorf("list cached tags: %w", err)
	}
	return Entry{Repo: repo, Tag: tag, Digest: rec.Digest, MediaType: rec.MediaType, Size: rec.Size, Checked: rec.Checked}, nil
}

// Purged counts what a purge removed from one repository.
type Purged struct {
	Tags    int
	Digests int // manifests and blobs that the repository had
}

type digestSet map[digest.Digest]struct{}

// Purge forgets a tag or a digest of a repository with everything that belongs to it, or the whole repository where ref is
// empty. What another tag of the repository needs stays. Bytes that no other repository was seen to have go too: those of
// manifests here, while dropBlob is told every such digest, manifests' included, and drops the blob if there is one.
//
// Where there is a bucket, all of that goes there too; what other servers keep on their disks stays.
//
// It stops at the first record that cannot be read or deleted; what is left is still consistent and can be purged again.
func (m *Manifests) Purge(ctx context.Context, repo Repo, ref string, dropBlob func(context.Context, digest.Digest) error) (Purged, error) {
	purged, err := m.purge(ctx, repo, ref, dropBlob)
	m.memory.forgetRecords()
	m.refused.forget()
	m.pending.forget()
	m.outages.forget()
	if err != nil {
		return purged, fmt.Errorf("purge %s %s: %w", repo, ref, err)
	}
	return purged, nil
}

func (m *Manifests) purge(ctx context.Context, repo Repo, ref string, dropBlob func(context.Context, digest.Digest) error) (Purged, error) {
	var purged Purged
	for _, folder := range []string{tagFolder, seenFolder} {
		if err := m.records.bring(ctx, folder, repo); err != nil {
			return purged, err
		}
	}
	if err := errors.Join(m.records.Flush(ctx), m.records.flushShared(ctx)); err != nil {
		return purged, err
	}
	tags, doomed, err := m.condemn(ctx, repo, ref)
	if err != nil {
		return purged, err
	}
	alone, err := m.seenOnlyIn(ctx, repo, doomed)
	if err != nil {
		return purged, err
	}
	for _, tag := range tags {
		if err := m.records.remove(ctx, tagKey(repo, tag)); err != nil {
			return purged, err
		}
		purged.Tags++
	}
	for d := range doomed {
		if err := m.purgeDigest(ctx, repo, d, alone, dropBlob); err != nil {
			return purged, err
		}
		purged.Digests++
	}
	if ref == "" {
		return purged, m.removeFolder(ctx, referrerFolder+repoKey(repo)+"/", nameKey(repo))
	}
	return purged, nil
}

func (m *Manifests) purgeDigest(ctx context.Context, repo Repo, d digest.Digest, alone digestSet, dropBlob func(context.Context, digest.Digest) error) error {
	if err := m.records.remove(ctx, referrerKey(repo, d)); err != nil {
		return err
	}
	if _, ok := alone[d]; ok {
		if err := m.records.remove(ctx, manifestKey(d)); err != nil {
			return err
		}
		if err := dropBlob(ctx, d); err != nil {
			return err
		}
	}
	return m.records.remove(ctx, seenKey(repo, d)) // last: what is seen can be purged again
}

func (m *Manifests) removeFolder(ctx context.Context, folder, name string) error {
	for info, err := range m.records.list(ctx, folder, "") {
		if err != nil {
			return err
		}
		if err := m.records.remove(ctx, info.Key); err != nil {
			return err
		}
	}
	return m.records.remove(ctx, name)
}

// condemn finds the tags and digests that a purge removes.
func (m *Manifests) condemn(ctx context.Context, repo Repo, ref string) (tags []string, doomed digestSet, err error) {
	doomed, needed := digestSet{}, digestSet{}
	if isDigest(ref) {
		if err := m.belonging(ctx, digest.Digest(ref), doomed); err != nil {
			return nil, nil, err
		}
	}
	for info, err := range m.records.list(ctx, tagKey(repo, ""), "") {
		entry, err := m.entry(ctx, info, err)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		into := needed
		if ref == "" || ref == entry.Tag || ref == string(entry.Digest) {
			tags, into = append(tags, entry.Tag), doomed
		}
		if err == nil {
			err = m.belonging(ctx, entry.Digest, into)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if ref == "" {
		err = m.allSeen(ctx, repo, doomed)
	}
	for d := range needed {
		delete(doomed, d)
	}
	if isDigest(ref) {
		doomed[digest.Digest(ref)] = struct{}{} // needed or not: it was asked for by name, and will be fetched again
	}
	return tags, doomed, err
}

// belonging collects a manifest and all that it names, through the manifests that are stored.
func (m *Manifests) belonging(ctx context.Context, d digest.Digest, into digestSet) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if _, ok := into[d]; ok {
		return nil
	}
	into[d] = struct{}{}
	b, err := m.stored(ctx, d)
	if errors.Is(err, storage.ErrNotFound) {
		return nil // a blob, or another platform's manifest
	}
	if err != nil {
		return err
	}
	for _, named := range namedDigests(b) {
		if err := m.belonging(ctx, named, into); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifests) allSeen(ctx context.Context, repo Repo, into digestSet) error {
	for info, err := range m.records.list(ctx, seenFolder+repoKey(repo)+"/", "") {
		if err != nil {
			return err
		}
		if _, last, err := parseKey(seenFolder, info.Key); err == nil {
			if d, err := parseDigestKey(last); err == nil {
				into[d] = struct{}{}
			}
		}
	}
	return nil
}

// seenOnlyIn gives those digests that no other repository was seen to have. It looks at every seen record.
func (m *Manifests) seenOnlyIn(ctx context.Context, repo Repo, digests digestSet) (digestSet, error) {
	alone := make(digestSet, len(digests))
	for d := range digests {
		alone[d] = struct{}{}
	}
	if len(alone) == 0 {
		return alone, nil
	}
	for info, err := range m.records.list(ctx, seenFolder, "") {
		if err != nil {
			return nil, err
		}
		other, last, err := parseKey(seenFolder, info.Key)
		if err != nil || other == repo {
			continue
		}
		if d, err := parseDigestKey(last); err == nil {
			delete(alone, d)
		}
	}
	return alone, nil
}

// namedDigests gives the digests that a manifest or an index of any known kind names.
func namedDigests(manifest []byte) []digest.Digest {
	manifests, blobs := namedApart(manifest)
	return append(blobs, manifests...)
}
