package hosted

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"github.com/opencontainers/go-digest"
)

// roomStep is how many bytes are written before room is asked for again: what is announced need not come.
const roomStep = 16 << 20

// readBuffer is how many bytes are read at a time.
const readBuffer = 256 << 10

// chunk is the bytes of one request, on stable storage.
type chunk struct {
	part part
	hash []byte // state of the hash over the upload up to the end of this chunk
}

// writeChunk stores what a request brings as a part of an upload. announced is -1 where nobody knows its size.
func (g *Registry) writeChunk(ctx context.Context, u uploadRecord, name string, body io.Reader, announced int64) (chunk, error) {
	h, err := resume(u.Algorithm, u.Hash)
	if err != nil {
		return chunk{}, err
	}
	size := announced
	if size < 0 {
		size = math.MaxInt64
	} else if err := g.fits(ctx, size); err != nil {
		return chunk{}, err
	}
	in := &incoming{ctx: ctx, body: body, hash: h, room: g.room, size: size}
	if err := g.store.Put(ctx, partKey(name), in, announced); err != nil {
		return chunk{}, err
	}
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return chunk{}, fmt.Errorf("save state of %s: %w", u.Algorithm, err)
	}
	return chunk{part: part{Name: name, Size: in.n}, hash: state}, nil
}

// resume gives a hash in a state that was saved.
func resume(alg digest.Algorithm, state []byte) (hash.Hash, error) {
	if !alg.Available() {
		return nil, fmt.Errorf("%s: %w", alg, digest.ErrDigestUnsupported)
	}
	h := alg.Hash()
	if len(state) == 0 {
		return h, nil
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("resume %s: %w", alg, err)
	}
	return h, nil
}

// incoming is a request's body on its way to the store.
type incoming struct {
	ctx      context.Context
	body     io.Reader
	hash     hash.Hash
	room     func(context.Context, int64) error
	size     int64 // at most
	reserved int64 // bytes that there is room for
	n        int64
}

func (in *incoming) Read(p []byte) (int, error) {
	if in.n >= in.reserved && in.n < in.size {
		step := min(roomStep, in.size-in.n)
		if err := in.room(in.ctx, step); err != nil {
			return 0, err
		}
		in.reserved = in.n + step
	}
	n, err := in.body.Read(p)
	in.n += int64(n)
	_, _ = in.hash.Write(p[:n]) // a hash never fails
	return n, err
}

// checkWhole fails with ErrDigestMismatch unless an upload with one more chunk is the whole blob. A digest of another
// algorithm than the upload's takes another reading.
func (g *Registry) checkWhole(ctx context.Context, u uploadRecord, last chunk, d digest.Digest) error {
	state := u.Hash
	if last.part.Size > 0 {
		state = last.hash
	}
	if d.Algorithm() == u.Algorithm {
		h, err := resume(u.Algorithm, state)
		if err != nil {
			return err
		}
		return compare(h, d)
	}
	parts := u.Parts
	if last.part.Size > 0 {
		parts = append(parts[:len(parts):len(parts)], last.part)
	}
	h, err := resume(d.Algorithm(), nil)
	if err != nil {
		return err
	}
	if err := g.hashParts(ctx, h, parts, nil); err != nil {
		return err
	}
	return compare(h, d)
}

func compare(h hash.Hash, d digest.Digest) error {
	if got := digest.NewDigest(d.Algorithm(), h); got != d {
		return fmt.Errorf("it is %s: %w", got, ErrDigestMismatch)
	}
	return nil
}

// hashParts reads parts into a hash. wait is called before so many bytes are read; nil: never. A part that is shorter
// than it should be is io.ErrUnexpectedEOF.
func (g *Registry) hashParts(ctx context.Context, h hash.Hash, parts []part, wait func(context.Context, int) error) error {
	buffer := g.buffers.Get().(*[]byte)
	defer g.buffers.Put(buffer)
	for _, p := range parts {
		if err := g.hashPart(ctx, h, p, wait, *buffer); err != nil {
			return fmt.Errorf("read part %s: %w", p.Name, err)
		}
	}
	return nil
}

func (g *Registry) hashPart(ctx context.Context, h hash.Hash, p part, wait func(context.Context, int) error, buffer []byte) (err error) {
	in, _, err := g.store.Open(ctx, partKey(p.Name), 0, p.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for left := p.Size; left > 0; {
		next := buffer[:min(left, int64(len(buffer)))]
		if wait != nil {
			if err := wait(ctx, len(next)); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(in, next); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		_, _ = h.Write(next)
		left -= int64(len(next))
	}
	return nil
}
