package hosted

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// Manifest is a manifest as it was pushed, byte for byte.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	Bytes     []byte
}

// ManifestPush is a manifest that somebody pushes.
type ManifestPush struct {
	Digest    digest.Digest // that its bytes must have; empty: their sha256
	Tags      []string      // to point to it
	MediaType string        // as the client declares it; empty: as the document says
	Bytes     []byte
	By        string // who pushes
}

// Pushed is what a push of a manifest did.
type Pushed struct {
	Digest  digest.Digest
	Subject digest.Digest // empty: it has none
}

// manifestHeader is the first line of a manifest's record. The bytes follow.
type manifestHeader struct {
	MediaType string    `json:"mediaType"`
	By        string    `json:"by,omitempty"`
	Pushed    time.Time `json:"pushed"`
}

// Manifest gives a manifest by tag or digest; ErrManifestUnknown.
func (r Repo) Manifest(ctx context.Context, ref string) (Manifest, error) {
	d, err := r.resolve(ctx, ref)
	if err != nil {
		return Manifest{}, r.wrap("get manifest", err)
	}
	m, _, err := r.manifest(ctx, d)
	return m, r.wrap("get manifest", err)
}

// resolve gives the digest that a tag points to. A digest stands for itself.
func (r Repo) resolve(ctx context.Context, ref string) (digest.Digest, error) {
	if isDigest(ref) {
		return digest.Digest(ref), nil
	}
	t, _, err := readAs[tagRecord](ctx, r.g, tagKey(r.name, ref))
	if errors.Is(err, storage.ErrNotFound) {
		err = fmt.Errorf("tag %s: %w", ref, ErrManifestUnknown)
	}
	return t.Digest, err
}

// manifest reads a manifest and checks its bytes. Damaged ones are not found, so that clients push them again.
func (r Repo) manifest(ctx context.Context, d digest.Digest) (Manifest, storage.Version, error) {
	record, v, err := r.g.read(ctx, manifestKey(r.name, d))
	if errors.Is(err, storage.ErrNotFound) {
		err = fmt.Errorf("%s: %w", d, ErrManifestUnknown)
	}
	if err != nil {
		return Manifest{}, v, err
	}
	m, err := decodeManifest(d, record)
	if err != nil {
		r.g.events.Damaged(d)
		r.g.log.Error("a hosted manifest is damaged; push it again", "repository", r.name, "digest", d, "err", err)
		return Manifest{}, v, fmt.Errorf("%s is damaged: %w", d, ErrManifestUnknown)
	}
	return m, v, nil
}

func encodeManifest(h manifestHeader, b []byte) ([]byte, error) {
	head, err := encode(h)
	return append(append(head, '\n'), b...), err
}

var errDamaged = errors.New("content does not match its digest")

func decodeManifest(d digest.Digest, record []byte) (Manifest, error) {
	head, b, found := bytes.Cut(record, []byte("\n"))
	if !found || d.Validate() != nil || d.Algorithm().FromBytes(b) != d {
		return Manifest{}, errDamaged
	}
	var h manifestHeader
	if err := json.Unmarshal(head, &h); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return Manifest{MediaType: h.MediaType, Digest: d, Bytes: b}, nil
}

// errDeleted says that somebody deleted a manifest while it was being pushed.
var errDeleted = errors.New("manifest was deleted meanwhile")

// PutManifest keeps a manifest whose blobs the repository has, and points tags to it. When it returns without an error,
// the manifest, its tags and all that it names are on stable storage and stay there. A manifest that only names others may
// name some that are not there.
//
//  1. The blobs are claimed.
//  2. The manifest is written, and then what makes it found: its entry among its subject's referrers, the repository's name, tags.
//  3. The claims are looked at again: a blob that was collected in between cannot come back. Then nothing was pushed.
//  4. The manifest is looked at again: whoever deletes it removes the tags that he finds afterwards.
func (r Repo) PutManifest(ctx context.Context, p ManifestPush) (Pushed, error) {
	doc, err := parseDocument(p.MediaType, p.Bytes)
	if err != nil {
		return Pushed{}, r.wrap("push manifest", err)
	}
	d := p.Digest
	if d == "" {
		d = digest.FromBytes(p.Bytes)
	}
	if got := d.Algorithm().FromBytes(p.Bytes); got != d {
		return Pushed{}, r.wrap("push manifest", fmt.Errorf("it is %s: %w", got, ErrDigestMismatch))
	}
	needed, err := r.claimNamed(ctx, doc)
	if err != nil {
		return Pushed{}, r.wrap("push manifest", err)
	}
	push := manifestWrite{ManifestPush: p, repo: r, digest: d, doc: doc, needed: needed}
	for range mostAttempts {
		if err = push.write(ctx); !errors.Is(err, errDeleted) {
			break
		}
	}
	if errors.Is(err, errDeleted) {
		err = ErrConflict
	}
	done := Pushed{Digest: d}
	if doc.subject != nil {
		done.Subject = doc.subject.Digest
	}
	return done, r.wrap("push manifest", err)
}

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
	needed []digest.Digest // blobs
}

func (w *manifestWrite) write(ctx context.Context) error {
	r := w.repo
	record, err := encodeManifest(manifestHeader{MediaType: w.doc.mediaType, By: w.By, Pushed: r.g.now()}, w.Bytes)
	if err != nil {
		return err
	}
	// Also where the same manifest is there: a new version keeps it from whoever was about to end it.
	v, err := r.g.replace(ctx, manifestKey(r.name, w.digest), record)
	if err != nil {
		return err
	}
	if err := w.lookAgain(ctx); err != nil {
		if errors.As(err, new(*MissingBlobError)) {
			_ = r.g.end(ctx, manifestKey(r.name, w.digest), v) // unless somebody else has pushed it since
		}
		return err
	}
	if err := w.publish(ctx); err != nil {
		return err
	}
	if _, _, err := r.g.read(ctx, manifestKey(r.name, w.digest)); errors.Is(err, storage.ErrNotFound) {
		return errDeleted
	} else if err != nil {
		return err
	}
	return nil
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
	for _, child := range w.doc.manifests {
		if err := w.repo.touchManifest(ctx, child.Digest); err != nil {
			return err
		}
	}
	return nil
}

// touchManifest gives a manifest that is there a new version: who is about to end it for want of a tag looks again.
func (r Repo) touchManifest(ctx context.Context, d digest.Digest) error {
	if r.g.untagged == 0 {
		return nil // nobody ends manifests
	}
	return contend(ctx, func() error {
		record, v, err := r.g.read(ctx, manifestKey(r.name, d))
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		head, b, _ := bytes.Cut(record, []byte("\n"))
		var h manifestHeader
		if err := json.Unmarshal(head, &h); err != nil {
			return fmt.Errorf("manifest %s is damaged: %w", d, err)
		}
		if record, err = encodeManifest(h, b); err != nil {
			return err
		}
		_, err = r.g.write(ctx, manifestKey(r.name, d), record, v)
		return err
	})
}

// publish writes the records by which the manifest is found.
func (w *manifestWrite) publish(ctx context.Context) error {
	if err := w.putReferrer(ctx); err != nil {
		return err
	}
	if err := w.repo.putName(ctx); err != nil {
		return err
	}
	for _, tag := range w.Tags {
		if err := w.repo.putTag(ctx, tag, w.digest, w.By); err != nil {
			return err
		}
	}
	return nil
}
