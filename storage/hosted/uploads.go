package hosted

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// mostChunks bounds an upload's record, which is written anew with every chunk.
const mostChunks = 10_000

// uploadRecord is an upload that is under way. It names every part before that has a byte, so that no part is ever without
// a record that names it: first this one, then the blob's.
type uploadRecord struct {
	Repo      string           `json:"repo"`
	Owner     string           `json:"owner,omitempty"` // who began it, and alone may go on with it
	Algorithm digest.Algorithm `json:"algorithm"`
	End       int64            `json:"end"`               // bytes received
	Hash      []byte           `json:"hash,omitempty"`    // state of the hash over them
	Parts     []part           `json:"parts,omitempty"`   // that hold them
	Writing   []string         `json:"writing,omitempty"` // parts of requests that have not ended, or have failed
	Commit    *commitment      `json:"commit,omitempty"`
	Over      bool             `json:"over,omitempty"` // no request changes it any more; Writing are the parts to be deleted
}

// commitment says into which blob the parts may go: only by replacing the blob's record at that very version. Whoever finds
// the upload abandoned moves that record on first, and can be sure then that a commit which wakes up late fails.
type commitment struct {
	Digest digest.Digest   `json:"digest"`
	At     storage.Version `json:"at"`
}

func (u uploadRecord) partNames() []string {
	names := slices.Clone(u.Writing)
	for _, p := range u.Parts {
		names = append(names, p.Name)
	}
	return names
}

// StartUpload begins an upload whose digest will most likely be of the algorithm alg.
func (r Repo) StartUpload(ctx context.Context, alg digest.Algorithm) (id string, err error) {
	id = nonce()
	_, err = r.g.writeAs(ctx, uploadKey(id), uploadRecord{Repo: r.name, Owner: r.owner, Algorithm: alg}, storage.Absent)
	if errors.Is(err, storage.ErrConflict) { // the answer to the first of two tries was lost, and the second found a tombstone
		err = fmt.Errorf("the upload was collected as it began: %w", ErrConflict)
	}
	return id, r.wrap("start upload", err)
}

// UploadEnd gives how many bytes of an upload are on stable storage.
func (r Repo) UploadEnd(ctx context.Context, id string) (int64, error) {
	u, _, err := r.upload(ctx, id)
	return u.End, r.wrap("ask for upload", err)
}

// upload reads the record of an upload to this repository that goes on. Another owner's is as unknown as one that never was.
func (r Repo) upload(ctx context.Context, id string) (uploadRecord, storage.Version, error) {
	u, v, err := readAs[uploadRecord](ctx, r.g, uploadKey(id))
	if lacking(err) || errors.Is(err, storage.ErrInvalidKey) || err == nil && (u.Repo != r.name || u.Owner != r.owner || u.Over) {
		return uploadRecord{}, storage.Absent, ErrUploadUnknown
	}
	return u, v, err
}

// AppendUpload adds a chunk that begins at start (-1: wherever the upload ends) and gives the end after it. *OffsetError
// where the upload ends elsewhere, or where another request was faster. A chunk that fails leaves the upload as it was.
func (r Repo) AppendUpload(ctx context.Context, id string, start int64, body io.Reader, size int64) (end int64, err error) {
	u, _, err := r.appendPart(ctx, id, start, body, size, "")
	return u.End, r.wrap("append to upload", err)
}

// CommitUpload adds a last chunk, which may be empty, and makes the upload a blob of the repository. ErrDigestMismatch
// where the bytes do not have the digest; the upload is then as it was before. A commit that is sent again because its
// answer was lost succeeds if the repository has the blob.
//
// Nobody is left then to ask whose upload it was, so this holds for whoever may push here, with any id. It gives them nothing:
// no hold is written that is not there, nothing happens to an upload, and whether the repository has a blob they learn from
// a manifest that names it as well. To refuse only where the id is another's would tell which ids are others'.
func (r Repo) CommitUpload(ctx context.Context, id string, start int64, body io.Reader, size int64, d digest.Digest) error {
	err := r.commitUpload(ctx, id, start, body, size, d)
	if errors.Is(err, ErrUploadUnknown) {
		if _, claimErr := r.claimBoth(ctx, d); claimErr == nil {
			return nil
		}
	}
	return r.wrap("commit upload", err)
}

func (r Repo) commitUpload(ctx context.Context, id string, start int64, body io.Reader, size int64, d digest.Digest) error {
	if done, err := r.commitKnown(ctx, id, start, body, d); done || err != nil {
		return err
	}
	u, v, err := r.appendPart(ctx, id, start, body, size, d)
	if err != nil {
		return err
	}
	return r.finish(ctx, id, u, v, d)
}

// commitKnown spares the disk a blob that is here already: the sender proves that it has the bytes by sending them.
func (r Repo) commitKnown(ctx context.Context, id string, start int64, body io.Reader, d digest.Digest) (done bool, err error) {
	u, v, err := r.upload(ctx, id)
	if err != nil || u.End > 0 || start > 0 || u.Commit != nil {
		return false, err
	}
	if err := r.proveBlob(ctx, d, body); err != nil {
		if errors.Is(err, ErrBlobUnknown) {
			return false, nil
		}
		return false, err
	}
	r.g.tidyUpload(ctx, id, u, v)
	return true, nil
}

// PushBlob takes a whole blob. size is -1 where nobody knows it.
func (r Repo) PushBlob(ctx context.Context, d digest.Digest, body io.Reader, size int64) error {
	if err := r.proveBlob(ctx, d, body); !errors.Is(err, ErrBlobUnknown) {
		return r.wrap("push blob", err)
	}
	id, err := r.StartUpload(ctx, d.Algorithm())
	if err != nil {
		return err
	}
	err = r.CommitUpload(ctx, id, 0, body, size, d)
	if err != nil && !errors.Is(err, storage.ErrUnavailable) { // the client waits, and the collector does it too
		r.cancelAfterwards(ctx, id)
	}
	if errors.Is(err, ErrUploadUnknown) {
		err = r.wrap("push blob", fmt.Errorf("the upload was collected while it went on: %w", ErrConflict))
	}
	return err
}

// proveBlob gives the repository a blob that is here, to somebody who sends its bytes. ErrBlobUnknown, and nothing read of
// body, where it is not here.
func (r Repo) proveBlob(ctx context.Context, d digest.Digest, body io.Reader) error {
	rec, err := r.g.claim(ctx, d)
	if err != nil {
		return err
	}
	hash := d.Algorithm().Hash()
	buffer := r.g.buffers.Get().(*[]byte)
	defer r.g.buffers.Put(buffer)
	n, err := io.CopyBuffer(hash, body, *buffer)
	if err != nil {
		return err
	}
	if n != rec.Size || digest.NewDigest(d.Algorithm(), hash) != d {
		return fmt.Errorf("%d bytes: %w", n, ErrDigestMismatch)
	}
	if _, err := r.g.claim(ctx, d); errors.Is(err, ErrBlobUnknown) {
		return fmt.Errorf("blob %s ended while it was being sent: %w", d, ErrConflict)
	} else if err != nil {
		return err
	}
	return r.hold(ctx, d)
}

// cancelAfterwards cancels an upload that has failed. The collector does it too if this fails.
func (r Repo) cancelAfterwards(ctx context.Context, id string) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	_ = r.CancelUpload(ctx, id)
}

// CancelUpload ends an upload and deletes its bytes.
func (r Repo) CancelUpload(ctx context.Context, id string) error {
	err := contend(ctx, func() error {
		u, v, err := r.upload(ctx, id)
		if err != nil {
			return err
		}
		if u.Commit != nil {
			return ErrUploadUnknown // it may be a blob by now; the collector finds out
		}
		return r.g.endUpload(ctx, id, u, v)
	})
	return r.wrap("cancel upload", err)
}

// endUpload makes sure that no request changes the upload any more, and then deletes its parts, none of which may be a
// blob's.
func (g *Registry) endUpload(ctx context.Context, id string, u uploadRecord, v storage.Version) error {
	over := uploadRecord{Repo: u.Repo, Over: true, Writing: u.partNames()}
	if !u.Over {
		var err error
		if v, err = g.writeAs(ctx, uploadKey(id), over, v); err != nil {
			return err
		}
	}
	if err := g.deleteParts(ctx, over.Writing); err != nil {
		return err
	}
	return g.buryUpload(ctx, uploadKey(id), v)
}

// buryUpload removes the record of an upload that is over, or makes it a tombstone where the store does not delete on
// condition. Requests to such a store may come late and twice: where they found nothing, those that began this upload would
// begin it again, and it would have parts that are a blob's by now.
func (g *Registry) buryUpload(ctx context.Context, key string, v storage.Version) error {
	err := storage.DeleteIf(ctx, g.store, key, v)
	if errors.Is(err, storage.ErrUnable) {
		_, err = g.write(ctx, key, tombstone(), v)
	}
	if errors.Is(err, storage.ErrConflict) {
		return nil // somebody else has
	}
	return err
}

// tidyUpload ends an upload that its blob does not need any more. What it leaves is the collector's.
func (g *Registry) tidyUpload(ctx context.Context, id string, u uploadRecord, v storage.Version) {
	if err := g.endUpload(ctx, id, u, v); err != nil && !errors.Is(err, storage.ErrConflict) {
		g.log.Warn("what is left of an upload stays until it is collected", "upload", id, "err", err)
	}
}

// appendPart writes a chunk and notes it. With a digest it checks that this is the whole blob's first.
func (r Repo) appendPart(ctx context.Context, id string, start int64, body io.Reader, size int64, whole digest.Digest) (uploadRecord, storage.Version, error) {
	empty, body, err := peek(body)
	if err != nil {
		return uploadRecord{}, storage.Absent, err
	}
	if empty {
		return r.appendNothing(ctx, id, start, whole)
	}
	name := newPart()
	u, err := r.announcePart(ctx, id, start, name)
	if err != nil {
		return uploadRecord{}, storage.Absent, err
	}
	chunk, err := r.g.writeChunk(ctx, u, name, body, size)
	if err == nil && whole != "" {
		err = r.g.checkWhole(ctx, u, chunk, whole)
	}
	var v storage.Version
	tried := false
	if err == nil {
		u, v, tried, err = r.notePart(ctx, id, u.End, chunk)
	}
	if err != nil && !tried && !errors.Is(err, storage.ErrUnavailable) { // the client waits, and the collector does it too
		r.dropPart(ctx, id, name)
	}
	if err != nil {
		return uploadRecord{}, storage.Absent, err
	}
	return u, v, nil
}

// peek tells whether there is no first byte: an empty chunk needs no part.
func peek(body io.Reader) (empty bool, whole io.Reader, err error) {
	buffered := bufio.NewReader(body)
	_, err = buffered.Peek(1)
	if err == io.EOF {
		return true, body, nil
	}
	return false, buffered, err
}

// appendNothing is a chunk without bytes, or a commit without a last chunk.
func (r Repo) appendNothing(ctx context.Context, id string, start int64, whole digest.Digest) (uploadRecord, storage.Version, error) {
	u, v, err := r.upload(ctx, id)
	if err == nil && start >= 0 && start != u.End {
		err = &OffsetError{End: u.End}
	}
	if err == nil && whole != "" {
		err = r.g.checkWhole(ctx, u, chunk{}, whole)
	}
	return u, v, err
}

// announcePart names a part in the upload's record, before that part has a byte.
func (r Repo) announcePart(ctx context.Context, id string, start int64, name string) (u uploadRecord, err error) {
	err = contend(ctx, func() error {
		var v storage.Version
		u, v, err = r.upload(ctx, id)
		switch {
		case err != nil:
			return err
		case u.Commit != nil:
			return ErrUploadUnknown // it is about to be a blob
		case start >= 0 && start != u.End:
			return &OffsetError{End: u.End}
		case len(u.Parts)+len(u.Writing) >= mostChunks:
			return ErrTooManyChunks
		}
		u.Writing = append(u.Writing, name)
		_, err = r.g.writeAs(ctx, uploadKey(id), u, v)
		return err
	})
	return u, err
}

// notePart makes a part that is on stable storage the end of the upload, if the upload still ends where the part begins.
// tried: a write was tried, so the part may be the upload's whatever the error says, or even a blob's by now.
func (r Repo) notePart(ctx context.Context, id string, start int64, c chunk) (u uploadRecord, v storage.Version, tried bool, err error) {
	err = contend(ctx, func() error {
		u, v, err = r.upload(ctx, id)
		switch {
		case err != nil:
			return err
		case u.Commit != nil:
			return ErrUploadUnknown
		case u.End != start:
			return &OffsetError{End: u.End}
		}
		u.Writing = slices.DeleteFunc(u.Writing, func(n string) bool { return n == c.part.Name })
		u.Parts, u.End, u.Hash = append(u.Parts, c.part), u.End+c.part.Size, c.hash
		tried = true
		v, err = r.g.writeAs(ctx, uploadKey(id), u, v)
		return err
	})
	return u, v, tried, err
}

// dropPart deletes a part that its upload never had. What fails here is done when the upload ends.
func (r Repo) dropPart(ctx context.Context, id, name string) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if r.g.deleteParts(ctx, []string{name}) != nil {
		return
	}
	u, v, err := r.upload(ctx, id)
	if err != nil {
		return
	}
	u.Writing = slices.DeleteFunc(u.Writing, func(n string) bool { return n == name })
	_, _ = r.g.writeAs(ctx, uploadKey(id), u, v)
}
