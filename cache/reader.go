package cache

import (
	"bytes"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Range is the part of a blob that a reader asks for, before its size is known.
type Range struct {
	Start int64 // negative: the last -Start bytes
	End   int64 // exclusive; negative: to the end of the blob
}

// Whole asks for all of a blob.
var Whole = Range{0, -1}

// Of resolves the range against the size of blob d; *RangeError where it holds none of its bytes.
func (r Range) Of(d digest.Digest, size int64) (start, end int64, err error) {
	start, end = r.Start, r.End
	if start < 0 {
		start, end = max(0, size+start), size
	}
	if end < 0 || end > size {
		end = size
	}
	if start >= end && (r != Whole || size != 0) {
		return 0, 0, &RangeError{Digest: d, Size: size}
	}
	return start, end, nil
}

// Reader gives the bytes of a blob, or of a part of it, to one caller, who closes it. The last byte of a whole blob comes
// only after the digest was verified; where it does not match, reading fails instead.
type Reader struct {
	size, start, end int64
	tier             Tier
	memory           []byte
	body             body
	close            func() error
}

// body is where a Reader's bytes come from.
type body interface {
	io.Reader
	io.WriterTo
	io.Closer
	onWait(func() error)
}

func newReader(size, start, end int64, tier Tier, b body) *Reader {
	return &Reader{size: size, start: start, end: end, tier: tier, body: b, close: sync.OnceValue(b.Close)}
}

// Size is that of the whole blob; -1 where the upstream does not say. Then there are no ranges.
func (r *Reader) Size() int64 { return r.size }

// Start is the offset of the first byte.
func (r *Reader) Start() int64 { return r.start }

// Len is how many bytes the reader gives; -1 when Size is.
func (r *Reader) Len() int64 {
	if r.end < 0 {
		return -1
	}
	return r.end - r.start
}

// Tier says where the bytes come from.
func (r *Reader) Tier() Tier { return r.tier }

// Bytes is the whole answer when it is in memory; nil otherwise. It must not be changed.
func (r *Reader) Bytes() []byte { return r.memory }

// OnWait sets what is called about once a second while the reader waits for bytes; an error from it ends the read.
func (r *Reader) OnWait(f func() error) { r.body.onWait(f) }

func (r *Reader) Read(p []byte) (int, error) { return r.body.Read(p) }

// WriteTo hands files to w.ReadFrom where w has that, which is how a TCP connection comes to use sendfile.
func (r *Reader) WriteTo(w io.Writer) (int64, error) { return r.body.WriteTo(w) }

// Close may be called more than once.
func (r *Reader) Close() error { return r.close() }

// memoryReader serves from the memory tier.
func memoryReader(d digest.Digest, b []byte, r Range) (*Reader, error) {
	start, end, err := r.Of(d, int64(len(b)))
	if err != nil {
		return nil, err
	}
	piece := b[start:end:end]
	rd := newReader(int64(len(b)), start, end, TierMemory, inMemory{bytes.NewReader(piece)})
	rd.memory = piece
	return rd, nil
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error        { return nil }
func (inMemory) onWait(func() error) {}

// inFile serves a complete, verified file.
type inFile struct {
	*blobFile
	left   int64
	sender *sender
}

func (f *inFile) onWait(func() error) {}

func (f *inFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.blobFile.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, noEOF(err)
}

func (f *inFile) WriteTo(w io.Writer) (int64, error) {
	n, err := f.sender.send(w, f.File, f.left)
	f.left -= n
	return n, err
}

// sender moves bytes from files to writers.
type sender struct{ buffers *sync.Pool }

// send writes n bytes of f, from its position on.
func (s *sender) send(w io.Writer, f *os.File, n int64) (sent int64, err error) {
	limited := &io.LimitedReader{R: f, N: n}
	if rf, ok := w.(io.ReaderFrom); ok {
		sent, err = rf.ReadFrom(limited)
	} else {
		buf := s.buffers.Get().(*[]byte)
		defer s.buffers.Put(buf)
		sent, err = io.CopyBuffer(w, struct{ io.Reader }{limited}, *buf)
	}
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	return sent, err
}
