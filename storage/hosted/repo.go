package hosted

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

const defaultGrace = 24 * time.Hour

// New gives the repositories in a store.
func New(o Options) (*Registry, error) {
	if o.Store == nil {
		return nil, errors.New("hosted repositories need a store")
	}
	g := &Registry{store: o.Store, grace: o.Grace, untagged: o.Untagged, ahead: max(o.Ahead, 1), fits: o.Fits, room: o.Room, events: o.Events, log: o.Log, now: o.Now}
	if g.grace == 0 {
		g.grace = defaultGrace
	}
	g.buffers.New = func() any { b := make([]byte, readBuffer); return &b }
	endless := func(context.Context, int64) error { return nil }
	if g.fits == nil {
		g.fits = endless
	}
	if g.room == nil {
		g.room = endless
	}
	if g.events == nil {
		g.events = noEvents{}
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.now == nil {
		g.now = time.Now
	}
	return g, nil
}

type noEvents struct{}

func (noEvents) Damaged(digest.Digest)   {}
func (noEvents) Collected(CollectReport) {}

// Repo is one repository. It need not exist.
type Repo struct {
	g     *Registry
	name  string
	owner string // of the uploads that it begins, and of those that it knows
}

// Repo gives the repository of a valid name, which it keeps.
func (g *Registry) Repo(name string) Repo { return Repo{g: g, name: name} }

// For gives the repository as somebody uses it: the uploads they began are theirs alone. Whoever uses it without a name
// shares their uploads with all others who do.
func (r Repo) For(owner string) Repo {
	r.owner = owner
	return r
}

// Name is the repository's.
func (r Repo) Name() string { return r.name }

// Blob finds a blob that the repository has; ErrBlobUnknown where it has none of that digest.
func (r Repo) Blob(ctx context.Context, d digest.Digest) (*Blob, error) {
	if err := r.holds(ctx, d); err != nil {
		return nil, err
	}
	rec, _, err := r.g.blob(ctx, d)
	if err != nil {
		return nil, r.wrap("find blob", err)
	}
	return &Blob{Digest: d, Size: rec.Size, g: r.g, parts: rec.Parts}, nil
}

// holds fails with ErrBlobUnknown unless the repository has the blob.
func (r Repo) holds(ctx context.Context, d digest.Digest) error {
	_, _, err := r.g.read(ctx, holdKey(d, r.name))
	if errors.Is(err, storage.ErrNotFound) {
		err = fmt.Errorf("%s: %w", d, ErrBlobUnknown)
	}
	return r.wrap("find blob", err)
}

// RenewBlob is what a HEAD by somebody who may push does: the blob stays until the manifest that will name it is pushed,
// since clients skip what a HEAD has found. It gives the blob's size.
func (r Repo) RenewBlob(ctx context.Context, d digest.Digest) (size int64, err error) {
	rec, err := r.claimBoth(ctx, d)
	return rec.Size, r.wrap("renew blob", err)
}

// claimBoth claims a blob and the repository's hold on it.
func (r Repo) claimBoth(ctx context.Context, d digest.Digest) (blobRecord, error) {
	if err := r.claimHold(ctx, d); err != nil {
		return blobRecord{}, err
	}
	return r.g.claim(ctx, d)
}

// DeleteBlob takes a blob from the repository. Others keep theirs, and the bytes go when nothing names them.
func (r Repo) DeleteBlob(ctx context.Context, d digest.Digest) error {
	err := contend(ctx, func() error {
		_, v, err := r.g.read(ctx, holdKey(d, r.name))
		if errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("%s: %w", d, ErrBlobUnknown)
		}
		if err != nil {
			return err
		}
		return r.g.end(ctx, holdKey(d, r.name), v)
	})
	return r.wrap("delete blob", err)
}

// MountBlob gives the repository a blob that another one has, which the caller may read. It gives the blob's size;
// ErrBlobUnknown where there is nothing to mount.
func (r Repo) MountBlob(ctx context.Context, d digest.Digest, from string) (size int64, err error) {
	err = r.g.Repo(from).holds(ctx, d)
	if err == nil {
		size, err = r.takeOver(ctx, d)
	}
	return size, r.wrap("mount blob", err)
}

// MountAny is MountBlob from whichever repository has the blob and may be read, as may says (nil: all may).
func (r Repo) MountAny(ctx context.Context, d digest.Digest, may func(repository string) bool) (size int64, err error) {
	err = r.g.heldByAny(ctx, d, may)
	if err == nil {
		size, err = r.takeOver(ctx, d)
	}
	return size, r.wrap("mount blob", err)
}

func (r Repo) takeOver(ctx context.Context, d digest.Digest) (size int64, err error) {
	rec, err := r.g.claim(ctx, d)
	if err == nil {
		err = r.hold(ctx, d)
	}
	return rec.Size, err
}

// mostHolders bounds the search for a repository to mount from: a base image is in very many. Who finds none uploads.
const mostHolders = 1000

func (g *Registry) heldByAny(ctx context.Context, d digest.Digest, may func(repository string) bool) error {
	looked := 0
	for info, err := range g.store.List(ctx, holdKeys(d), "") {
		if err != nil {
			return err
		}
		if looked++; looked > mostHolders {
			break
		}
		if !hasEnded(info) && (may == nil || may(parseRepoKey(strings.TrimPrefix(info.Key, holdKeys(d))))) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", d, ErrBlobUnknown)
}

// wrap says what was being done, and where.
func (r Repo) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s in hosted %s: %w", doing, r.name, err)
}
