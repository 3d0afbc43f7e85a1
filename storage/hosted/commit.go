package hosted

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// finish makes an upload, whose bytes are known to have the digest, a blob of the repository. v is the version of the
// upload's record.
//
//  1. Where the blob is there already, it is claimed, and the upload's own parts are deleted.
//  2. Where it is not, it gets a record that says so, if it has none: what there is no record of has no version to name.
//  3. The upload notes which version of that record it is going to replace.
//  4. The blob's record is replaced at that version, and has the parts now.
//  5. The repository's hold is written, and the upload's record is removed.
//
// An upload that has come to 3 can only go on with the version that it noted. If that has passed and the blob is not there,
// the parts may have been the blob's, and may have been deleted with it.
func (r Repo) finish(ctx context.Context, id string, u uploadRecord, v storage.Version, d digest.Digest) error {
	if u.Commit != nil && u.Commit.Digest != d {
		return ErrUploadUnknown // it may be another blob by now
	}
	return contend(ctx, func() error {
		rec, at, err := r.g.blob(ctx, d)
		switch {
		case err == nil:
			return r.finishKnown(ctx, id, u, v, d, rec)
		case !errors.Is(err, ErrBlobUnknown):
			return err
		}
		if u.Commit != nil && u.Commit.At != at {
			return ErrUploadUnknown
		}
		if at == storage.Absent {
			if at, err = r.g.write(ctx, blobKey(d), tombstone(), storage.Absent); err != nil {
				return err
			}
		}
		u.Commit = &commitment{Digest: d, At: at}
		next, err := r.g.writeAs(ctx, uploadKey(id), u, v)
		if errors.Is(err, storage.ErrConflict) {
			return ErrConflict // another request for this upload was faster
		}
		if err != nil {
			return err
		}
		v = next
		life := blobRecord{State: live, Size: u.End, Parts: u.Parts, Ended: rec.ended().Ended, Claimed: r.g.now()}
		if _, err := r.g.writeAs(ctx, blobKey(d), life, at); err != nil {
			return err
		}
		r.g.healed("", d)
		if err := r.hold(ctx, d); err != nil {
			return err
		}
		u.Parts = nil // they are the blob's
		r.g.tidyUpload(ctx, id, u, v)
		return nil
	})
}

// finishKnown ends an upload of a blob that is there already: perhaps through an earlier try of this very request.
func (r Repo) finishKnown(ctx context.Context, id string, u uploadRecord, v storage.Version, d digest.Digest, rec blobRecord) error {
	if _, err := r.g.claim(ctx, d); err != nil {
		return conflictIfGone(err)
	}
	if err := r.hold(ctx, d); err != nil {
		return err
	}
	if len(u.Parts) > 0 && rec.names(u.Parts[0].Name) {
		u.Parts = nil // they are the blob's
	}
	r.g.tidyUpload(ctx, id, u, v)
	return nil
}

// conflictIfGone makes a blob that went between two looks a reason to look again.
func conflictIfGone(err error) error {
	if errors.Is(err, ErrBlobUnknown) {
		return storage.ErrConflict
	}
	return err
}

// LinkBlob gives the repository a blob whose bytes are a local file that nobody writes to any more and that the caller has
// verified: by a hard link, so nothing is copied. storage.ErrUnable where the store or the file system cannot do that.
func (r Repo) LinkBlob(ctx context.Context, d digest.Digest, size int64, path string) error {
	if _, err := r.g.claim(ctx, d); err == nil {
		return r.wrap("link blob", r.hold(ctx, d))
	} else if !errors.Is(err, ErrBlobUnknown) {
		return r.wrap("link blob", err)
	}
	id, err := r.StartUpload(ctx, d.Algorithm())
	if err != nil {
		return err
	}
	if err := r.linkUpload(ctx, id, d, size, path); err != nil {
		r.cancelAfterwards(ctx, id)
		return r.wrap("link blob", err)
	}
	return nil
}

func (r Repo) linkUpload(ctx context.Context, id string, d digest.Digest, size int64, path string) error {
	name := newPart()
	u, err := r.announcePart(ctx, id, 0, name)
	if err != nil {
		return err
	}
	if err := storage.Link(ctx, r.g.store, partKey(name), path); err != nil {
		return err
	}
	if linked, err := r.g.store.Stat(ctx, partKey(name)); err != nil || linked.Size != size {
		return fmt.Errorf("the linked file has %d bytes, and not %d: %w", linked.Size, size, errors.Join(ErrDigestMismatch, err))
	}
	u, v, _, err := r.notePart(ctx, id, u.End, chunk{part: part{Name: name, Size: size}})
	if err != nil {
		return err
	}
	return r.finish(ctx, id, u, v, d)
}
