package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// configLimit is the largest image configuration that a page reads, in bytes.
const configLimit = 256 << 10

// shelf is what is here of one repository, wherever it is from. Looking asks no upstream.
type shelf interface {
	tags(ctx context.Context, n int, last string) (tags []tagHere, more bool, err error)
	tag(ctx context.Context, name string) (tagHere, error)
	manifest(ctx context.Context, ref string) (manifestHere, error)
	config(ctx context.Context, d digest.Digest) ([]byte, error) // nil where it is not here, or too large
	referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error)
	kept(ctx context.Context, d digest.Digest) ui.Kept // of a blob
}

type tagHere struct {
	name    string
	digest  digest.Digest
	changed time.Time // pushed, or last asked for upstream
	by      string
}

type manifestHere struct {
	mediaType string
	digest    digest.Digest
	bytes     []byte
}

// shelf is that of a home that the reader may see.
func (c *call) shelf(home Home) shelf {
	if home.Hosted {
		return hostedShelf{c.server.o.Hosted.Repo(home.Name)}
	}
	return cachedShelf{c.server.o.Page, cache.Repo{Registry: home.Registry, Name: home.Name}}
}

type cachedShelf struct {
	page *Page
	repo cache.Repo
}

func (s cachedShelf) tags(ctx context.Context, n int, last string) (tags []tagHere, more bool, err error) {
	entries, more, err := s.page.Manifests.CachedTags(ctx, s.repo, n, last)
	for _, e := range entries {
		tags = append(tags, tagHere{name: e.Tag, digest: e.Digest, changed: e.Checked})
	}
	return tags, more, err
}

func (s cachedShelf) tag(ctx context.Context, name string) (tagHere, error) {
	m, checked, err := s.page.Manifests.Kept(ctx, s.repo, name)
	return tagHere{name: name, digest: m.Digest, changed: checked}, err
}

func (s cachedShelf) manifest(ctx context.Context, ref string) (manifestHere, error) {
	m, _, err := s.page.Manifests.Kept(ctx, s.repo, ref)
	return manifestHere{m.MediaType, m.Digest, m.Bytes}, err
}

func (s cachedShelf) config(ctx context.Context, d digest.Digest) ([]byte, error) {
	b, _, err := s.page.Blobs.KeptBlob(ctx, s.repo, d, configLimit)
	return b, err
}

func (s cachedShelf) referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	index, _, err := s.page.Manifests.KeptReferrers(ctx, s.repo, d)
	return index.Manifests, err
}

func (s cachedShelf) kept(ctx context.Context, d digest.Digest) ui.Kept {
	switch have, whole := s.page.Blobs.PresenceIn(ctx, s.repo, d); {
	case have == whole:
		return ui.KeptAll
	case have <= 0:
		return ui.KeptNone
	}
	return ui.KeptPart
}

type hostedShelf struct{ repo hosted.Repo }

func (s hostedShelf) tags(ctx context.Context, n int, last string) (tags []tagHere, more bool, err error) {
	infos, more, err := s.repo.TagInfos(ctx, n, last)
	for _, i := range infos {
		tags = append(tags, tagHere{i.Name, i.Digest, i.Changed, i.By})
	}
	return tags, more, err
}

func (s hostedShelf) tag(ctx context.Context, name string) (tagHere, error) {
	i, err := s.repo.TagInfo(ctx, name)
	return tagHere{i.Name, i.Digest, i.Changed, i.By}, err
}

func (s hostedShelf) manifest(ctx context.Context, ref string) (manifestHere, error) {
	m, err := s.repo.Manifest(ctx, ref)
	return manifestHere{m.MediaType, m.Digest, m.Bytes}, err
}

func (s hostedShelf) config(ctx context.Context, d digest.Digest) ([]byte, error) {
	b, err := s.repo.Blob(ctx, d)
	if errors.Is(err, hosted.ErrBlobUnknown) || err == nil && b.Size > configLimit {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := b.Open(ctx, 0, b.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (s hostedShelf) referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	found, _, err := s.repo.Referrers(ctx, d, "", shownReferrers+1, "")
	return found, err
}

// kept: what is hosted is here.
func (hostedShelf) kept(context.Context, digest.Digest) ui.Kept { return ui.KeptAll }

// recovered is for goroutines: a panic in one would end the process, and in a handler it does not.
func recovered(do func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return do()
	}
}

// missing reports whether an error says that something is not here.
func missing(err error) bool {
	return errors.Is(err, cache.ErrNotFound) || errors.Is(err, hosted.ErrManifestUnknown) || errors.Is(err, hosted.ErrNameUnknown)
}

func unlessMissing(err error) error {
	if missing(err) {
		return nil
	}
	return err
}
