package hosted

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// claimNamed claims the blobs that a manifest names, and gives them. Those that an index may name as well as manifests are
// among them if they are there.
func (r Repo) claimNamed(ctx context.Context, doc document) (claimed []digest.Digest, err error) {
	for _, b := range doc.blobs {
		rec, err := r.claimBoth(ctx, b.Digest)
		if errors.Is(err, ErrBlobUnknown) {
			return nil, &MissingBlobError{Digest: b.Digest}
		}
		if err != nil {
			return nil, err
		}
		if rec.Size != b.Size {
			return nil, &InvalidManifestError{Reason: fmt.Sprintf("it says that %s has %d bytes, and the blob has %d", b.Digest, b.Size, rec.Size)}
		}
		claimed = append(claimed, b.Digest)
	}
	for _, m := range doc.manifests {
		_, err := r.claimBoth(ctx, m.Digest)
		if errors.Is(err, ErrBlobUnknown) {
			continue
		}
		if err != nil {
			return nil, err
		}
		claimed = append(claimed, m.Digest)
	}
	return claimed, nil
}

// manifestWrite is a push on its way to the store.
type manifestWrite struct {
	ManifestPush
	repo   Repo
	digest digest.Digest
	doc    document
	needed []digest.Digest            // blobs
	tagged map[string]storage.Version // tags that were written, and how they were left
}

// push writes until nobody else changes the manifest at the same time. Where it fails and the manifest is not there, its
// tags go too.
func (w *manifestWrite) push(ctx context.Context) error {
	err := contend(ctx, func() error { return w.write(ctx) })
	if err == nil {
		w.repo.g.healed(w.repo.name, w.digest)
		return nil
	}
	if len(w.tagged) == 0 || errors.Is(err, storage.ErrUnavailable) {
		return err
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if seen, lookErr := w.repo.sees(ctx, w.digest); seen || lookErr != nil {
		return err
	}
	for tag, v := range w.tagged {
		_ = w.repo.g.end(ctx, tagKey(w.repo.name, tag), v) // unless somebody has moved it; the collector does it too
	}
	return err
}

// write is one try at steps 2 to 6 of PutManifest. storage.ErrConflict where somebody has changed the manifest meanwhile.
func (w *manifestWrite) write(ctx context.Context) error {
	v, seen, err := w.begin(ctx)
	if err != nil {
		return err
	}
	if err := w.lookAgain(ctx); err != nil {
		if !seen && errors.As(err, new(*MissingBlobError)) {
			_ = w.repo.g.end(ctx, w.key(), v) // it is pending: the collector does it too
		}
		return err
	}
	if err := w.putReferrer(ctx); err != nil {
		return err
	}
	if err := w.repo.putName(ctx); err != nil {
		return err
	}
	if !seen {
		if _, err := w.put(ctx, v, false); err != nil {
			return err
		}
	}
	for _, tag := range w.Tags {
		written, err := w.repo.putTag(ctx, tag, w.digest, w.By)
		if err != nil {
			return err
		}
		w.tagged[tag] = written
	}
	return w.stands(ctx)
}

// stands fails with storage.ErrConflict unless the manifest and its tags are still there.
func (w *manifestWrite) stands(ctx context.Context) error {
	seen, err := w.repo.sees(ctx, w.digest)
	if err != nil {
		return err
	}
	if !seen {
		return fmt.Errorf("manifest %s was deleted while it was being pushed: %w", w.digest, storage.ErrConflict)
	}
	for _, tag := range w.Tags {
		t, _, err := readAs[tagRecord](ctx, w.repo.g, tagKey(w.repo.name, tag))
		if err != nil && !errors.Is(err, storage.ErrNotFound) { // somebody else's deletion
			return err
		}
		if t.State == condemned && t.Digest == w.digest {
			return fmt.Errorf("tag %s is being collected: %w", tag, storage.ErrConflict)
		}
	}
	return nil
}

func (w *manifestWrite) key() string { return manifestKey(w.repo.name, w.digest) }

// begin makes the manifest one that the collector sees. Where everybody sees it already, it gets a new version: whoever was
// about to end it looks again. Where another push of it has begun, that one's record does: were each to write its own, none
// would come to an end.
func (w *manifestWrite) begin(ctx context.Context) (v storage.Version, seen bool, err error) {
	record, v, err := w.repo.g.read(ctx, w.key())
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return v, false, err
	}
	if err == nil {
		_, h, damaged := decodeManifest(w.digest, record)
		if damaged == nil && h.Pending {
			return v, false, nil
		}
		seen = damaged == nil
	}
	v, err = w.put(ctx, v, !seen)
	return v, seen, err
}

func (w *manifestWrite) put(ctx context.Context, was storage.Version, pending bool) (storage.Version, error) {
	h := manifestHeader{MediaType: w.doc.mediaType, By: w.By, Pushed: w.repo.g.now(), Pending: pending}
	record, err := encodeManifest(h, w.Bytes)
	if err != nil {
		return storage.Absent, err
	}
	return w.repo.g.write(ctx, w.key(), record, was)
}

// lookAgain makes sure that what the manifest names did not end between its claim and the manifest's writing.
func (w *manifestWrite) lookAgain(ctx context.Context) error {
	for _, d := range w.needed {
		_, err := w.repo.claimBoth(ctx, d)
		if errors.Is(err, ErrBlobUnknown) {
			return &MissingBlobError{Digest: d}
		}
		if err != nil {
			return err
		}
	}
	touched := map[digest.Digest]bool{}
	for _, child := range w.doc.manifests {
		if err := w.repo.touchManifest(ctx, child.Digest, touched); err != nil {
			return err
		}
	}
	return nil
}
