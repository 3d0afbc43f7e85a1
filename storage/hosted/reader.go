package hosted

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

// Blob is a blob that a repository has.
type Blob struct {
	Digest digest.Digest
	Size   int64 // in bytes

	g     *Registry
	parts []part
}

// Open reads the bytes from start up to end, which lie within the blob. ctx governs the reading too. The caller closes
// the reader.
func (b *Blob) Open(ctx context.Context, start, end int64) (*Reader, error) {
	r := &Reader{ctx: ctx, blob: b, parts: b.parts, skip: start, left: end - start}
	for len(r.parts) > 0 && r.skip >= r.parts[0].Size {
		r.skip -= r.parts[0].Size
		r.parts = r.parts[1:]
	}
	// The first part is opened at once, so that an error is one before the first byte.
	if r.left > 0 {
		if err := r.next(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Presign gives a URL by which anybody reads the whole blob from the store, for so long. storage.ErrUnable where the store
// gives none, or has the blob in several parts. A part's name is never used again, so the URL never gives other bytes.
func (b *Blob) Presign(ctx context.Context, life time.Duration) (url string, err error) {
	if len(b.parts) != 1 {
		return "", fmt.Errorf("presign blob %s of %d parts: %w", b.Digest, len(b.parts), storage.ErrUnable)
	}
	url, err = storage.Presign(ctx, b.g.store, partKey(b.parts[0].Name), life)
	if err != nil {
		return "", fmt.Errorf("presign blob %s: %w", b.Digest, err)
	}
	return url, nil
}

// Reader gives the bytes of a blob, part after part.
type Reader struct {
	ctx   context.Context
	blob  *Blob
	parts []part // not opened yet
	skip  int64  // bytes of the next part that come before the start
	left  int64
	open  io.ReadCloser // nil between parts
	rest  int64         // bytes that the open part has still to give
}

// next opens the part that has the next byte.
func (r *Reader) next() error {
	if len(r.parts) == 0 {
		return fmt.Errorf("read blob %s: its parts end %d bytes early: %w", r.blob.Digest, r.left, io.ErrUnexpectedEOF)
	}
	p := r.parts[0]
	rest := min(p.Size-r.skip, r.left)
	open, _, err := r.blob.g.store.Open(r.ctx, partKey(p.Name), r.skip, rest)
	if err != nil {
		return fmt.Errorf("read blob %s: %w", r.blob.Digest, err)
	}
	r.open, r.rest, r.parts, r.skip = open, rest, r.parts[1:], 0
	return nil
}

func (r *Reader) Read(p []byte) (int, error) {
	for {
		if r.left == 0 {
			return 0, io.EOF
		}
		if r.open == nil {
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.open.Read(p)
		r.gave(int64(n))
		if err == io.EOF {
			err = r.closePart()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// WriteTo lets each part write itself where w can read from it, which a file does without copying.
func (r *Reader) WriteTo(w io.Writer) (sent int64, err error) {
	for r.left > 0 {
		if r.open == nil {
			if err := r.next(); err != nil {
				return sent, err
			}
		}
		n, err := r.sendPart(w)
		sent += n
		r.gave(n)
		if err != nil {
			return sent, err
		}
		if err := r.closePart(); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (r *Reader) sendPart(w io.Writer) (int64, error) {
	if _, ok := w.(io.ReaderFrom); ok {
		return io.Copy(w, r.open)
	}
	buffer := r.blob.g.buffers.Get().(*[]byte) // larger than a file would use by itself
	defer r.blob.g.buffers.Put(buffer)
	return io.CopyBuffer(w, struct{ io.Reader }{r.open}, *buffer)
}

func (r *Reader) gave(n int64) { r.left, r.rest = r.left-n, r.rest-n }

// closePart ends a part that has given everything. One that was too short must not let the next one's bytes move up.
func (r *Reader) closePart() error {
	err := r.open.Close()
	r.open = nil
	if r.rest > 0 {
		err = fmt.Errorf("read blob %s: a part ends %d bytes early: %w", r.blob.Digest, r.rest, io.ErrUnexpectedEOF)
	}
	return err
}

// Close ends the reading, however far it came.
func (r *Reader) Close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}
