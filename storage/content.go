package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// ContentVersion is the version of a record in stores that tell states apart by content: the same bytes have the same
// version again.
func ContentVersion(record []byte) Version {
	sum := sha256.Sum256(record)
	return Version(hex.EncodeToString(sum[:]))
}

// Body is r as the body of a Put: reading it fails as soon as ctx ends, and with ErrSize where r gives more or fewer
// than size bytes. size < 0 means unknown.
func Body(ctx context.Context, r io.Reader, size int64) io.Reader {
	return &body{ctx: ctx, r: r, size: size}
}

type body struct {
	ctx  context.Context
	r    io.Reader
	size int64
	read int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	switch {
	case b.size < 0:
		return n, err
	case b.read > b.size:
		return n, fmt.Errorf("%w: more than %d bytes", ErrSize, b.size)
	case err == io.EOF && b.read < b.size:
		return n, fmt.Errorf("%w: %d bytes of %d", ErrSize, b.read, b.size)
	}
	return n, err
}
