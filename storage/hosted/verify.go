package hosted

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// Verify reads every manifest and every blob. What does not match its digest is quarantined: it is not found any more, and
// whoever pushes the same digest heals it. An error says that something could not be read, which proves nothing about it;
// everything else was looked at all the same.
func (g *Registry) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	v := verification{g: g, o: o}
	var errs []error
	for _, check := range []func(context.Context) error{v.manifests, v.blobs} {
		errs = append(errs, check(ctx))
	}
	if err := errors.Join(append(errs, v.unread...)...); err != nil {
		return v.report, fmt.Errorf("verify hosted content: %w", err)
	}
	return v.report, nil
}

// mostUnread bounds how many failures are told of.
const mostUnread = 10

type verification struct {
	g      *Registry
	o      VerifyOptions
	report VerifyReport
	unread []error
}

func (v *verification) tell() {
	if v.o.Progress != nil {
		v.o.Progress(v.report)
	}
}

func (v *verification) wait(ctx context.Context, bytes int) error {
	if v.o.Wait == nil {
		return nil
	}
	return v.o.Wait(ctx, bytes)
}

// failed notes what could not be read, and ends the verification when ctx has.
func (v *verification) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if len(v.unread) < mostUnread {
		v.unread = append(v.unread, err)
	}
	return nil
}

func (v *verification) manifests(ctx context.Context) error {
	for repo, err := range v.g.repos(ctx) {
		if err != nil {
			return err
		}
		prefix := manifestKeys(repo)
		for info, err := range v.g.store.List(ctx, prefix, "") {
			if err != nil {
				return err
			}
			if hasEnded(info) {
				continue
			}
			if err := v.manifest(ctx, repo, strings.TrimPrefix(info.Key, prefix), info.Size); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verification) manifest(ctx context.Context, repo, element string, size int64) error {
	if err := v.wait(ctx, int(size)); err != nil {
		return err
	}
	d, err := parseDigestKey(element)
	if err != nil {
		return v.failed(ctx, err)
	}
	record, _, err := v.g.read(ctx, manifestKey(repo, d))
	if errors.Is(err, storage.ErrNotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return v.failed(ctx, err)
	}
	if _, _, err := decodeManifest(d, record); err != nil {
		v.report.Damaged = append(v.report.Damaged, string(d))
		v.g.damaged("manifest", repo, d, err)
	} else {
		v.report.Manifests++
		v.report.Bytes += size
	}
	v.tell()
	return nil
}

func (v *verification) blobs(ctx context.Context) error {
	for info, err := range v.g.store.List(ctx, blobFolder, "") {
		if err != nil {
			return err
		}
		if hasEnded(info) {
			continue
		}
		d, err := parseDigestKey(strings.TrimPrefix(info.Key, blobFolder))
		if err == nil {
			err = v.blob(ctx, d)
		}
		if err != nil {
			if err := v.failed(ctx, err); err != nil {
				return err
			}
		}
		v.tell()
	}
	return nil
}

// blob reads a blob whose record may change meanwhile: then what was read says nothing.
func (v *verification) blob(ctx context.Context, d digest.Digest) error {
	rec, version, err := readAs[blobRecord](ctx, v.g, blobKey(d))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if errors.Is(err, errDamagedRecord) { // it is found nowhere, and a push replaces it
		v.report.Damaged = append(v.report.Damaged, string(d))
		v.g.damaged("record", "", d, err)
		return nil
	}
	if err != nil {
		return err
	}
	if rec.State == gone {
		return nil
	}
	if rec.Damaged {
		v.report.Damaged = append(v.report.Damaged, string(d))
		return nil
	}
	err = v.g.check(ctx, d, rec, v.wait)
	switch {
	case err == nil:
		v.report.Blobs++
		v.report.Bytes += rec.Size
		return v.g.forgetEnded(ctx, d, rec, version)
	case !errors.Is(err, errDamaged):
		return err
	}
	rec.Damaged = true
	_, writeErr := v.g.writeAs(ctx, blobKey(d), rec, version)
	if errors.Is(writeErr, storage.ErrConflict) {
		return v.blob(ctx, d)
	}
	v.report.Damaged = append(v.report.Damaged, string(d))
	v.g.damaged("blob", "", d, err)
	return writeErr
}

// forgetEnded deletes what an earlier, damaged life of a blob left.
func (g *Registry) forgetEnded(ctx context.Context, d digest.Digest, rec blobRecord, version storage.Version) error {
	if len(rec.Ended) == 0 {
		return nil
	}
	if err := g.deleteParts(ctx, rec.Ended); err != nil {
		return err
	}
	rec.Ended = nil
	if _, err := g.writeAs(ctx, blobKey(d), rec, version); !errors.Is(err, storage.ErrConflict) {
		return err
	}
	return nil
}

// check reads a blob's parts; errDamaged where they are not what they should be. Any other error says nothing about them.
func (g *Registry) check(ctx context.Context, d digest.Digest, rec blobRecord, wait func(context.Context, int) error) error {
	h, err := resume(d.Algorithm(), nil)
	if err != nil {
		return err
	}
	err = g.hashParts(ctx, h, rec.Parts, wait)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err == nil && digest.NewDigest(d.Algorithm(), h) != d {
		return errDamaged
	}
	return err
}
