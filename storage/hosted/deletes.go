package hosted

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// DeleteTag removes a tag; the manifest stays. ErrManifestUnknown where there is no such tag.
func (r Repo) DeleteTag(ctx context.Context, tag string) error {
	err := contend(ctx, func() error {
		t, v, err := readAs[tagRecord](ctx, r.g, tagKey(r.name, tag))
		if errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("tag %s: %w", tag, ErrManifestUnknown)
		}
		if err == nil {
			err = r.touchManifest(ctx, t.Digest, map[digest.Digest]bool{})
		}
		if err != nil && !errors.Is(err, errDamagedRecord) {
			return err
		}
		return r.g.end(ctx, tagKey(r.name, tag), v)
	})
	return r.wrap("delete tag", err)
}

// DeleteManifest removes a manifest and the tags that point to it. ErrManifestUnknown where there is none.
//
// The tags go first, so that a crash leaves none that points nowhere. A push of the same manifest at the same time may add
// one before the manifest ends; it either sees that the manifest has ended, and writes it again, or is found by the second look.
func (r Repo) DeleteManifest(ctx context.Context, d digest.Digest) error {
	return r.wrap("delete manifest", r.deleteManifest(ctx, d))
}

func (r Repo) deleteManifest(ctx context.Context, d digest.Digest) error {
	record, _, err := r.g.read(ctx, manifestKey(r.name, d))
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%s: %w", d, ErrManifestUnknown)
	}
	if err != nil {
		return err
	}
	if h, _, err := cutManifest(record); err == nil && h.Pending { // a damaged one can be deleted
		return fmt.Errorf("%s is being pushed: %w", d, ErrManifestUnknown)
	}
	if err := r.untag(ctx, d, func(context.Context) (bool, error) { return true, nil }); err != nil {
		return err
	}
	if err := r.endManifest(ctx, d); err != nil {
		return err
	}
	return r.unpublish(ctx, d, record)
}

func (r Repo) endManifest(ctx context.Context, d digest.Digest) error {
	return contend(ctx, func() error {
		_, v, err := r.g.read(ctx, manifestKey(r.name, d))
		if errors.Is(err, storage.ErrNotFound) {
			return nil // somebody else's deletion
		}
		if err != nil {
			return err
		}
		return r.g.end(ctx, manifestKey(r.name, d), v)
	})
}

// unpublish removes what leads to a manifest that has ended, unless it is pushed again meanwhile.
func (r Repo) unpublish(ctx context.Context, d digest.Digest, record []byte) error {
	gone := func(ctx context.Context) (bool, error) {
		_, _, err := r.g.read(ctx, manifestKey(r.name, d)) // one that is pending is not gone
		if errors.Is(err, storage.ErrNotFound) {
			return true, nil
		}
		return false, err
	}
	if err := r.untag(ctx, d, gone); err != nil {
		return err
	}
	m, _, err := decodeManifest(d, record)
	if err != nil {
		return nil // damaged: the collector finds what it left among the referrers
	}
	doc := readDocument(m.MediaType, m.Bytes)
	if doc.subject == nil {
		return nil
	}
	return r.dropReferrer(ctx, doc.subject.Digest, d, gone)
}

// untag ends the tags that point to a manifest. still is asked after a tag was read and before it ends.
func (r Repo) untag(ctx context.Context, d digest.Digest, still func(context.Context) (bool, error)) error {
	for info, err := range r.g.store.List(ctx, tagKeys(r.name), "") {
		if err != nil {
			return err
		}
		if hasEnded(info) {
			continue
		}
		if err := contend(ctx, func() error { return r.untagOne(ctx, info.Key, d, still) }); err != nil {
			return err
		}
	}
	return nil
}

func (r Repo) untagOne(ctx context.Context, key string, d digest.Digest, still func(context.Context) (bool, error)) error {
	t, v, err := readAs[tagRecord](ctx, r.g, key)
	if lacking(err) || err == nil && t.Digest != d {
		return nil
	}
	if err != nil {
		return err
	}
	if yes, err := still(ctx); err != nil || !yes {
		return err
	}
	return r.g.end(ctx, key, v)
}
