package hosted

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// RenewManifest is what a HEAD by somebody who may push does: clients skip what it has found, and then push an index that
// names it. It matters only where untagged manifests are collected.
func (r Repo) RenewManifest(ctx context.Context, d digest.Digest) error {
	record, _, err := r.g.read(ctx, manifestKey(r.name, d))
	if r.g.untagged == 0 || errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return r.wrap("renew manifest", err)
	}
	h, _, err := cutManifest(record)
	if err != nil || r.g.now().Sub(latest(h.Pushed, h.Touched)) < r.g.untagged/2 {
		return nil // damaged, which a GET tells; or young
	}
	return r.wrap("renew manifest", r.touchManifest(ctx, d, map[digest.Digest]bool{}))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// touchManifest gives a manifest, and all that it keeps, a new version: who is about to end one for want of a tag looks
// again. touched are those that were touched already.
func (r Repo) touchManifest(ctx context.Context, d digest.Digest, touched map[digest.Digest]bool) error {
	if r.g.untagged == 0 || touched[d] {
		return nil // nobody ends manifests
	}
	touched[d] = true
	var doc document
	err := contend(ctx, func() error {
		record, v, err := r.g.read(ctx, manifestKey(r.name, d))
		if err != nil {
			return err
		}
		m, h, err := decodeManifest(d, record)
		if err != nil {
			return err
		}
		h.Touched = r.g.now()
		if record, err = encodeManifest(h, m.Bytes); err != nil {
			return err
		}
		doc = readDocument(h.MediaType, m.Bytes)
		_, err = r.g.write(ctx, manifestKey(r.name, d), record, v)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, errDamaged) {
		return nil // it keeps nothing
	}
	if err != nil {
		return err
	}
	for _, child := range doc.manifests {
		if err := r.touchManifest(ctx, child.Digest, touched); err != nil {
			return err
		}
	}
	return r.touchReferrers(ctx, d, touched)
}

func (r Repo) touchReferrers(ctx context.Context, subject digest.Digest, touched map[digest.Digest]bool) error {
	prefix := referrerKeys(r.name, subject)
	for info, err := range r.g.store.List(ctx, prefix, "") {
		if err != nil {
			return err
		}
		d, err := parseDigestKey(strings.TrimPrefix(info.Key, prefix))
		if err != nil {
			return err
		}
		if err := r.touchManifest(ctx, d, touched); err != nil {
			return err
		}
	}
	return nil
}
