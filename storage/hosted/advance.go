package hosted

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/storage"
)

// advance moves a record that nothing needs one step towards its end. storage.ErrConflict where somebody has touched it.
func (r *run) advance(ctx context.Context, s suspect) error {
	switch {
	case strings.HasPrefix(s.key, blobFolder):
		return r.advanceBlob(ctx, s)
	case strings.HasPrefix(s.key, holdFolder):
		return r.advanceHold(ctx, s)
	case strings.Contains(s.key, "/manifests/"):
		r.report.Untagged++
	}
	if r.dry {
		return nil
	}
	return r.g.end(ctx, s.key, s.version)
}

func (r *run) advanceHold(ctx context.Context, s suspect) error {
	rec, err := decode[holdRecord](s.key, s.record)
	if err != nil || r.dry {
		return err
	}
	if rec.State != condemned {
		rec.State = condemned
		_, err = r.g.writeAs(ctx, s.key, rec, s.version)
		return err
	}
	return r.g.end(ctx, s.key, s.version)
}

func (r *run) advanceBlob(ctx context.Context, s suspect) error {
	rec, err := decode[blobRecord](s.key, s.record)
	if err != nil {
		return err
	}
	if r.dry {
		r.freed(rec)
		return nil
	}
	version := s.version
	switch rec.State {
	case live:
		rec.State = condemned
		if _, err = r.g.writeAs(ctx, s.key, rec, version); err == nil {
			r.report.Condemned++
		}
		return err
	case condemned:
		r.freed(rec)
		rec = rec.end()
		if version, err = r.g.writeAs(ctx, s.key, rec, version); err != nil {
			return err
		}
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
		if err != nil {
			return err
		}
		if !r.old(info) {
			continue
		}
		u, v, err := readAs[uploadRecord](ctx, r.g, info.Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r.report.Uploads++
		if r.dry {
			continue
		}
		err = r.endUpload(ctx, strings.TrimPrefix(info.Key, uploadFolder), u, v)
		if err != nil && !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return nil
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
		record, v, err := g.read(ctx, key)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		var rec blobRecord
		if err == nil {
			if rec, err = decode[blobRecord](key, record); err != nil {
				return err
			}
		}
		if owned = rec.names(u.Parts[0].Name); owned || v != u.Commit.At {
			return nil
		}
		if len(record) == tombstoneSize || rec.State == "" {
			_, err = g.write(ctx, key, tombstone(), v)
			return err
		}
		_, err = g.writeAs(ctx, key, rec, v)
		return err
	})
	return owned, err
}

// orphans deletes parts that no upload has and no blob is made of. An upload names each part before it has a byte, and a blob names it before the
// upload ends: so what is there first, and then in neither, looked at in this order, is nobody's.
func (r *run) orphans(ctx context.Context) error {
	named, err := r.g.namedParts(ctx)
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
	for info, err := range g.store.List(ctx, folder, "") {
		if err != nil {
			return err
		}
		rec, _, err := readAs[T](ctx, g, info.Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range parts(rec) {
			named.need(name)
		}
	}
	return nil
}
