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
	Touched   time.Time `json:"touched,omitzero"`  // by somebody who relied on it
	Pending   bool      `json:"pending,omitempty"` // it is being pushed, and only the collector sees it
}

// Manifest gives a manifest by tag or digest; ErrManifestUnknown.
func (r Repo) Manifest(ctx context.Context, ref string) (m Manifest, err error) {
	for last := digest.Digest(""); ; {
		d, err := r.resolve(ctx, ref)
		if err != nil {
			return Manifest{}, r.wrap("get manifest", err)
		}
		m, err = r.manifest(ctx, d)
		if !errors.Is(err, ErrManifestUnknown) || d == last {
			return m, r.wrap("get manifest", err)
		}
		last = d // the tag may have moved before its manifest was deleted
	}
}

// resolve gives the digest that a tag points to. A digest stands for itself.
func (r Repo) resolve(ctx context.Context, ref string) (digest.Digest, error) {
	if isDigest(ref) {
		return digest.Digest(ref), nil
	}
	t, err := r.tag(ctx, ref)
	return t.Digest, err
}

// tag reads a tag; ErrManifestUnknown.
func (r Repo) tag(ctx context.Context, tag string) (tagRecord, error) {
	t, _, err := readAs[tagRecord](ctx, r.g, tagKey(r.name, tag))
	if errors.Is(err, errDamagedRecord) {
		r.g.log.Error("a hosted tag is damaged; push it again", "repository", r.name, "tag", tag, "err", err)
	}
	if lacking(err) {
		err = fmt.Errorf("tag %s: %w", tag, ErrManifestUnknown)
	}
	return t, err
}

// manifest reads a manifest and checks its bytes. Damaged ones are not found, so that clients push them again.
func (r Repo) manifest(ctx context.Context, d digest.Digest) (Manifest, error) {
	record, _, err := r.g.read(ctx, manifestKey(r.name, d))
	if errors.Is(err, storage.ErrNotFound) {
		err = fmt.Errorf("%s: %w", d, ErrManifestUnknown)
	}
	if err != nil {
		return Manifest{}, err
	}
	m, h, err := decodeManifest(d, record)
	if err == nil && h.Pending {
		return Manifest{}, fmt.Errorf("%s is being pushed: %w", d, ErrManifestUnknown)
	}
	if err != nil {
		r.g.damaged("manifest", r.name, d, err)
		return Manifest{}, fmt.Errorf("%s is damaged: %w", d, ErrManifestUnknown)
	}
	return m, nil
}

// damaged tells of damage, once.
func (g *Registry) damaged(kind, where string, d digest.Digest, err error) {
	if _, told := g.told.LoadOrStore(where+"@"+string(d), true); told {
		return
	}
	g.events.Damaged(d)
	g.log.Error("hosted content is damaged; push it again", "kind", kind, "repository", where, "digest", d, "err", err)
}

// healed lets damage be told of again.
func (g *Registry) healed(where string, d digest.Digest) { g.told.Delete(where + "@" + string(d)) }

func encodeManifest(h manifestHeader, b []byte) ([]byte, error) {
	head, err := encode(h)
	return append(append(head, '\n'), b...), err
}

var errDamaged = errors.New("content does not match its digest")

func decodeManifest(d digest.Digest, record []byte) (Manifest, manifestHeader, error) {
	h, b, err := cutManifest(record)
	if err != nil || d.Validate() != nil || d.Algorithm().FromBytes(b) != d {
		return Manifest{}, h, errors.Join(errDamaged, err)
	}
	return Manifest{MediaType: h.MediaType, Digest: d, Bytes: b}, h, nil
}

func cutManifest(record []byte) (h manifestHeader, b []byte, err error) {
	head, b, _ := bytes.Cut(record, []byte("\n"))
	err = json.Unmarshal(head, &h)
	return h, b, err
}

// sees reports whether the repository has a manifest for everybody to see.
func (r Repo) sees(ctx context.Context, d digest.Digest) (bool, error) {
	record, _, err := r.g.read(ctx, manifestKey(r.name, d))
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h, _, err := cutManifest(record)
	return err == nil && !h.Pending, nil
}

// PutManifest keeps a manifest whose blobs the repository has, and points tags to it. When it returns without an error,
// the manifest, its tags and all that it names are on stable storage and stay there. A manifest that only names others may
// name some that are not there.
//
//  1. The blobs are claimed.
//  2. The manifest is written, pending: the collector sees it, and nobody else.
//  3. The claims are looked at again: a blob that ended in between cannot come back. Then nothing was pushed.
//  4. What leads to the manifest is written: its entry among its subject's referrers, the repository's name.
//  5. The manifest is written for everybody to see, and then the tags.
//  6. The manifest and the tags are looked at again: whoever deletes it removes the tags that he finds afterwards, and the
//     collector may have taken a tag for one that points nowhere.
//
// A manifest that everybody sees already needs no step 5, but gets a new version in step 2.
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
	w := manifestWrite{ManifestPush: p, repo: r, digest: d, doc: doc, needed: needed, tagged: map[string]storage.Version{}}
	if err := w.push(ctx); err != nil {
		return Pushed{}, r.wrap("push manifest", err)
	}
	done := Pushed{Digest: d}
	if doc.subject != nil {
		done.Subject = doc.subject.Digest
	}
	return done, nil
}
