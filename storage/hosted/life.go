package hosted

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// state is where a blob, or a repository's hold on one, is in its life:
//
//	live       may be named
//	condemned  nothing named it, nobody claimed it: it ends in a later run unless somebody does
//	gone       it has ended; what is left of it is being deleted. Then it is a tombstone
//
// Whoever is about to name something claims it first (live, as of now) and looks again after naming it. The collector reads
// a record and its version before it looks for what names it, and moves it on with that very version. So a blob can only
// end if it was condemned before the collector's look began, and nothing that was acknowledged can name a blob that was
// condemned before: it would have been claimed again, which alone takes a blob out of that state. And a manifest keeps its
// blobs until a look that does not find it any more, whatever becomes of it meanwhile. No clock is part of this; the grace
// only keeps collection from hindering pushes, and what is condemned need not wait for it again.
type state string

const (
	live      state = "live"
	condemned state = "condemned"
	gone      state = "gone"
)

// blobRecord is a blob, for all repositories.
type blobRecord struct {
	State   state     `json:"state"`
	Size    int64     `json:"size"`
	Parts   []part    `json:"parts,omitempty"` // its bytes, one after the other
	Damaged bool      `json:"damaged,omitempty"`
	Ended   []string  `json:"ended,omitempty"` // parts that nobody reads any more and that may still be there
	Claimed time.Time `json:"claimed"`         // by the claimer's clock, which only decides whether to claim again
}

type part struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// usable: its bytes are there and, as far as anybody knows, right.
func (b blobRecord) usable() bool { return b.State != gone && !b.Damaged }

// names reports whether a part belongs to this blob, or did.
func (b blobRecord) names(name string) bool {
	return slices.ContainsFunc(b.Parts, func(p part) bool { return p.Name == name }) || slices.Contains(b.Ended, name)
}

// partNames gives the parts that it is made of.
func (b blobRecord) partNames() (names []string) {
	for _, p := range b.Parts {
		names = append(names, p.Name)
	}
	return names
}

// ended gives the record of the blob without its bytes.
func (b blobRecord) ended() blobRecord {
	return blobRecord{State: gone, Ended: append(b.partNames(), b.Ended...)}
}

// holdRecord says that a repository has a blob.
type holdRecord struct {
	State   state     `json:"state"`
	Claimed time.Time `json:"claimed"`
}

// fresh: there is no need to claim again. A time far in the future is as bad as one far in the past.
func (g *Registry) fresh(s state, claimed time.Time) bool {
	age := g.now().Sub(claimed)
	return s == live && age < g.grace/2 && age > -g.grace/2
}

// blob reads a blob's record; ErrBlobUnknown where its bytes are not there.
func (g *Registry) blob(ctx context.Context, d digest.Digest) (blobRecord, storage.Version, error) {
	rec, v, err := readAs[blobRecord](ctx, g, blobKey(d))
	if lacking(err) || err == nil && !rec.usable() {
		return rec, v, fmt.Errorf("%s: %w", d, ErrBlobUnknown)
	}
	return rec, v, err
}

// claim makes sure that a blob is live and stays so for a while; ErrBlobUnknown where its bytes are not there.
func (g *Registry) claim(ctx context.Context, d digest.Digest) (rec blobRecord, err error) {
	err = contend(ctx, func() error {
		var v storage.Version
		rec, v, err = g.blob(ctx, d)
		if err != nil || g.fresh(rec.State, rec.Claimed) {
			return err
		}
		rec.State, rec.Claimed = live, g.now()
		_, err = g.writeAs(ctx, blobKey(d), rec, v)
		return err
	})
	return rec, err
}

// claimHold does for a repository's hold what claim does for the blob.
func (r Repo) claimHold(ctx context.Context, d digest.Digest) error {
	return contend(ctx, func() error {
		rec, v, err := readAs[holdRecord](ctx, r.g, holdKey(d, r.name))
		switch {
		case lacking(err):
			return fmt.Errorf("%s: %w", d, ErrBlobUnknown)
		case err != nil || r.g.fresh(rec.State, rec.Claimed):
			return err
		}
		return r.writeHold(ctx, d, v)
	})
}

// hold notes that the repository has a blob, which is live.
func (r Repo) hold(ctx context.Context, d digest.Digest) error {
	return contend(ctx, func() error {
		rec, v, err := readAs[holdRecord](ctx, r.g, holdKey(d, r.name))
		if err != nil && !lacking(err) {
			return err
		}
		if err == nil && r.g.fresh(rec.State, rec.Claimed) {
			return nil
		}
		return r.writeHold(ctx, d, v)
	})
}

func (r Repo) writeHold(ctx context.Context, d digest.Digest, was storage.Version) error {
	_, err := r.g.writeAs(ctx, holdKey(d, r.name), holdRecord{State: live, Claimed: r.g.now()}, was)
	return err
}

// deleteParts removes parts that no record will ever name again. Names are never reused, so it may come late or twice.
func (g *Registry) deleteParts(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, g.store.Delete(ctx, partKey(name)))
	}
	return errors.Join(errs...)
}
