// Package hosted keeps repositories that were pushed here. Nothing in it is ever evicted: a manifest stays until somebody
// deletes it, and Collect takes only what no manifest names.
//
// The order of writes is everywhere the same: claim what will be named, write its bytes, write the record that names it,
// look again whether the claims still hold, answer. A crash leaves something that nobody names, never a name without bytes.
// Several processes may share one store: every decision is one conditional write.
package hosted

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	_ "crypto/sha256" // so that digests of both algorithms of the OCI specification are valid
	_ "crypto/sha512"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// What a caller may be told. Anything else is a failure of the store.
var (
	ErrNameUnknown     = errors.New("repository not found")
	ErrManifestUnknown = errors.New("manifest not found")
	ErrBlobUnknown     = errors.New("blob not found")
	ErrUploadUnknown   = errors.New("upload not found")
	ErrDigestMismatch  = errors.New("content does not have the digest announced")
	ErrTooManyChunks   = errors.New("upload has too many chunks")
	ErrConflict        = errors.New("others keep changing this at the same time")
)

// OffsetError says that a chunk does not begin where the upload ends.
type OffsetError struct{ End int64 }

func (e *OffsetError) Error() string {
	return fmt.Sprintf("chunk does not begin where the upload ends, at %d bytes", e.End)
}

// InvalidManifestError says what is wrong with a manifest, in words for whoever pushes it.
type InvalidManifestError struct{ Reason string }

func (e *InvalidManifestError) Error() string { return "invalid manifest: " + e.Reason }

// MissingBlobError says that a manifest names a blob which its repository does not have.
type MissingBlobError struct{ Digest digest.Digest }

func (e *MissingBlobError) Error() string { return fmt.Sprintf("blob %s was not pushed", e.Digest) }

// Events are told from whatever goroutine it happens in, and must not wait.
type Events interface {
	Damaged(d digest.Digest)   // content does not match its digest any more; it is served no longer
	Collected(r CollectReport) // a run ended
}

// Options: Store is needed, the rest is optional.
type Options struct {
	Store storage.Store // everything below it is this package's

	Grace    time.Duration // 0: 24 h. How long what was claimed for a push is safe from collection
	Untagged time.Duration // 0: never. How long a manifest stays that nothing keeps: no tag, no index, no subject
	Ahead    int           // 0: 1. Records that a collection reads at a time, where each takes long

	// Fits says whether so many bytes could be stored, or why not. It is asked what a client announces, and gives up nothing
	// for it. Room makes sure that so many more can be; it is asked as they come, a few MiB at a time. Both may be
	// storage.ErrNoSpace.
	Fits, Room func(ctx context.Context, bytes int64) error

	Events Events
	Log    *slog.Logger
	Now    func() time.Time
}

// Registry is all hosted repositories. Its methods may be called from many goroutines.
type Registry struct {
	store    storage.Store
	grace    time.Duration
	untagged time.Duration
	ahead    int
	fits     func(ctx context.Context, bytes int64) error
	room     func(ctx context.Context, bytes int64) error
	events   Events
	log      *slog.Logger
	now      func() time.Time
	buffers  sync.Pool // of *[]byte, readBuffer long
	told     sync.Map  // damage that was told of: repository@digest

	mu    sync.Mutex
	usage Usage // guarded by mu
}
