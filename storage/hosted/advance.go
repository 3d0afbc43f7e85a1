package hosted

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// advance moves a record that nothing needs one step towards its end, if it is at the version still that it had when it was
// found; storage.ErrConflict otherwise.
func (r *run) advance(ctx context.Context, s suspect) error {
	record, v, err := r.g.read(ctx, s.key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil && v != s.version {
		err = storage.ErrConflict
	}
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(s.key, blobFolder):
		return r.advanceBlob(ctx, s, record)
	case strings.HasPrefix(s.key, holdFolder):
		rec, _ := decode[holdRecord](s.key, record) // a damaged one may end
		return r.condemnOrEnd(ctx, s, rec.State == live, holdRecord{State: condemned, Claimed: rec.Claimed})
	case isTag(s.key):
		rec, err := decode[tagRecord](s.key, record)
		dying := rec.State == condemned
		rec.State = condemned
		return r.condemnOrEnd(ctx, s, err == nil && !dying, rec)
	}
	err = r.condemnOrEnd(ctx, s, false, nil)
	if err == nil && strings.Contains(s.key, "/manifests/") {
		r.report.Untagged++
	}
	return err
}

// condemnOrEnd takes one of the two steps.
func (r *run) condemnOrEnd(ctx context.Context, s suspect, condemn bool, as any) error {
	switch {
	case r.dry:
		return nil
	case condemn:
		_, err := r.g.writeAs(ctx, s.key, as, s.version)
		if err == nil && isTag(s.key) {
			r.report.Condemned++
		}
		return err
	}
	return r.g.end(ctx, s.key, s.version)
}

func (r *run) advanceBlob(ctx context.Context, s suspect, record []byte) error {
	rec, err := decode[blobRecord](s.key, record)
	switch {
	case err != nil: // damaged: its parts are nobody's, and a full run finds them
		return r.condemnOrEnd(ctx, s, false, nil)
	case r.dry:
		r.freed(rec)
		return nil
	case rec.State == live:
		rec.State = condemned
		if _, err := r.g.writeAs(ctx, s.key, rec, s.version); err != nil {
			return err
		}
		r.report.Condemned++
		return nil
	}
	return r.endBlob(ctx, s, rec)
}

// endBlob deletes the bytes of a blob that is condemned, or what an earlier run has left of them.
func (r *run) endBlob(ctx context.Context, s suspect, rec blobRecord) error {
	version := s.version
	if rec.State == condemned {
		var err error
		if version, err = r.g.writeAs(ctx, s.key, rec.ended(), version); err != nil {
			return err
		}
		r.freed(rec)
		rec = rec.ended()
	}
	if err := r.g.deleteParts(ctx, rec.Ended); err != nil {
		return err
	}
	return r.g.end(ctx, s.key, version)
}

func (r *run) freed(rec blobRecord) {
	if rec.State == gone {
		return // an earlier run counted it
	}
	r.report.Freed++
	r.report.FreedBytes += rec.Size
}

// uploads ends uploads that nobody has gone on with for the grace.
func (r *run) uploads(ctx context.Context) error {
	for info, err := range r.g.store.List(ctx, uploadFolder, "") {
		switch {
		case err != nil:
			return err
		case hasEnded(info):
			err = r.forgetUpload(ctx, info)
		case r.old(info):
			err = r.upload(ctx, info.Key)
		default:
			r.open++
		}
		switch {
		case errors.Is(err, storage.ErrConflict): // somebody went on with it just now
			r.open++
		case err != nil:
			return err
		}
	}
	return nil
}

// mostLate: after so long no request to a store is on its way any more. S3 refuses those that were signed 15 minutes before.
const mostLate = time.Hour

// forgetUpload removes what is left of an upload that is over. Its id is never used again.
func (r *run) forgetUpload(ctx context.Context, info storage.Info) error {
	if r.dry || r.now.Sub(info.Modified) < max(r.grace, mostLate) {
		return nil
	}
	return r.g.store.Delete(ctx, info.Key)
}

func (r *run) upload(ctx context.Context, key string) error {
	u, v, err := readAs[uploadRecord](ctx, r.g, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case errors.Is(err, errDamagedRecord) && !r.dry: // its parts are nobody's, and a full run finds them
		r.g.log.Error("the record of an upload is damaged; the upload ends", "key", key, "err", err)
		return r.g.end(ctx, key, v)
	case err == nil && !r.dry:
		err = r.endUpload(ctx, strings.TrimPrefix(key, uploadFolder), u, v)
	}
	if err == nil && !u.Over {
		r.report.Uploads++
	}
	return err
}

// endUpload ends an abandoned upload. One that had begun to become a blob either did, and then its parts are the blob's, or
// is kept from doing so later.
func (r *run) endUpload(ctx context.Context, id string, u uploadRecord, v storage.Version) error {
	if u.Commit != nil && len(u.Parts) > 0 {
		owned, err := r.g.fence(ctx, u)
		if err != nil {
			return err
		}
		if owned {
			u.Parts = nil
		}
	}
	return r.g.endUpload(ctx, id, u, v)
}

// fence makes sure that an upload's parts either are a blob's, or never will be: the commit can only replace the blob's
// record at the version that the upload names, and that version passes here.
func (g *Registry) fence(ctx context.Context, u uploadRecord) (owned bool, err error) {
	key := blobKey(u.Commit.Digest)
	err = contend(ctx, func() error {
		rec, v, err := readAs[blobRecord](ctx, g, key)
		if err != nil && !lacking(err) {
			return err
		}
		if owned = rec.names(u.Parts[0].Name); owned || v != u.Commit.At {
			return nil
		}
		if err != nil {
			_, err = g.write(ctx, key, tombstone(), v)
			return err
		}
		_, err = g.writeAs(ctx, key, rec, v)
		return err
	})
	return owned, err
}

// orphans deletes parts that no upload has and no blob is made of. An upload names each part before it has a byte, and a blob
// names it before the upload ends: so what is there first, and then in neither, looked at in this order, is nobody's.
func (r *run) orphans(ctx context.Context) error {
	named, err := r.g.namedParts(ctx)
	if errors.Is(err, errDamagedRecord) {
		r.g.log.Error("parts that nothing names are not looked for, since one record does not tell what it names", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	var unnamed []string
	for info, err := range r.g.store.List(ctx, partFolder, "") {
		if err != nil {
			return err
		}
		if name := strings.TrimPrefix(info.Key, partFolder); r.old(info) && !named.needed(name) {
			unnamed = append(unnamed, name)
		}
		if len(unnamed) == mostSuspects {
			break
		}
	}
	if len(unnamed) == 0 {
		return nil
	}
	if named, err = r.g.namedParts(ctx); err != nil {
		return err
	}
	unnamed = slices.DeleteFunc(unnamed, named.needed)
	r.report.Orphans = len(unnamed)
	if r.dry {
		return nil
	}
	return r.g.deleteParts(ctx, unnamed)
}

// namedParts gives the parts that uploads have and blobs are made of, in that order: a part goes from the one to the other.
func (g *Registry) namedParts(ctx context.Context) (*marks, error) {
	named := newMarks()
	if err := namesOf(ctx, g, uploadFolder, named, uploadRecord.partNames); err != nil {
		return nil, err
	}
	return named, namesOf(ctx, g, blobFolder, named, blobRecord.partNames)
}

// namesOf marks the parts that the records of a folder name.
func namesOf[T any](ctx context.Context, g *Registry, folder string, named *marks, parts func(T) []string) error {
	records := ahead(ctx, g.store, folder, g.ahead, func(info storage.Info) (T, error) {
		rec, _, err := readAs[T](ctx, g, info.Key)
		return rec, err
	})
	for rec, err := range records {
		if err != nil {
			return err
		}
		for _, name := range parts(rec) {
			named.need(name)
		}
	}
	return nil
}
