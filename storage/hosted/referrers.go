package hosted

import (
	"context"
	"errors"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// referrersSize bounds a page of referrers, in bytes of their records: annotations may be long.
const referrersSize = 3 << 20

// putReferrer lists the manifest among those that refer to its subject, which need not be there. It is written while the
// manifest is pending, so that whoever sees the manifest sees it here, and after the collector could see the manifest.
func (w *manifestWrite) putReferrer(ctx context.Context) error {
	if w.doc.subject == nil {
		return nil
	}
	record, err := encode(w.doc.referrer(w.digest, int64(len(w.Bytes))))
	if err != nil {
		return err
	}
	_, err = w.repo.g.replace(ctx, referrerKey(w.repo.name, w.doc.subject.Digest, w.digest), record)
	return err
}

// dropReferrer takes a manifest off its subject's list, if still says so.
func (r Repo) dropReferrer(ctx context.Context, subject, d digest.Digest, still func(context.Context) (bool, error)) error {
	key := referrerKey(r.name, subject, d)
	_, v, err := r.g.read(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if yes, err := still(ctx); err != nil || !yes {
		return err
	}
	if err := r.g.end(ctx, key, v); !errors.Is(err, storage.ErrConflict) { // else somebody has pushed it again
		return err
	}
	return nil
}

// Referrers lists the manifests that refer to d, by their digests: up to n (n < 0: a page) after the digest last, only those
// of an artifact type unless that is empty. Nobody referring to it is an empty list.
func (r Repo) Referrers(ctx context.Context, d digest.Digest, artifactType string, n int, last string) (all []ocispec.Descriptor, more bool, err error) {
	all, more, err = r.referrers(ctx, referrerKeys(r.name, d), artifactType, n, digestKey(digest.Digest(last)))
	return all, more, r.wrap("list referrers", err)
}

func (r Repo) referrers(ctx context.Context, prefix, artifactType string, n int, last string) (all []ocispec.Descriptor, more bool, err error) {
	if n < 0 {
		n = pageSize
	}
	size := int64(0)
	for info, err := range r.g.store.List(ctx, prefix, prefix+last) {
		if err != nil {
			return nil, false, err
		}
		if hasEnded(info) {
			continue
		}
		d, _, err := readAs[ocispec.Descriptor](ctx, r.g, info.Key)
		if lacking(err) || err == nil && artifactType != "" && d.ArtifactType != artifactType {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		if seen, err := r.sees(ctx, d.Digest); err != nil {
			return nil, false, err
		} else if !seen {
			continue // being pushed, or being deleted
		}
		size += info.Size
		if len(all) == n || len(all) > 0 && size > referrersSize {
			return all, true, nil
		}
		all = append(all, d)
	}
	return all, false, nil
}
