package cache

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// openLocal serves a complete and verified file; nil when there is none.
func (c *Blobs) openLocal(ctx context.Context, from Origin, d digest.Digest, r Range) (*Reader, error) {
	f, err := c.disk.open(d)
	if f == nil || err != nil {
		return nil, err
	}
	rd, err := c.serveFile(ctx, from, d, r, f)
	if rd == nil || rd.memory != nil {
		f.Close()
	}
	return rd, err
}

func (c *Blobs) serveFile(ctx context.Context, from Origin, d digest.Digest, r Range, f *blobFile) (*Reader, error) {
	size, err := c.prove(ctx, from, d)
	if err != nil {
		return nil, err
	}
	if size >= 0 && size != f.size { // the file was cut, or the registry or its manifest has the size wrong
		if !f.matches(d) {
			c.log.Error("a cached blob has the wrong size; it is fetched again", "digest", d, "size", f.size, "want", size)
			c.disk.drop(d)
			return nil, nil
		}
		c.seen.Add(ctx, from.Repo(), d, "", f.size)
	}
	if !f.verified {
		return nil, nil
	}
	if f.size <= c.memory.Ceiling() {
		if b := c.promote(d, f); b != nil {
			rd, err := memoryReader(d, b, r)
			if rd != nil {
				rd.tier = TierDisk
			}
			return rd, err
		}
		return nil, nil
	}
	start, end, err := r.Of(d, f.size)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(start, 0); err != nil {
		return nil, fmt.Errorf("%w: seek in blob %s: %w", errDisk, d, err)
	}
	return newReader(f.size, start, end, TierDisk, &inFile{blobFile: f, left: end - start, sender: c.sender}), nil
}

// promote brings a small blob into the memory tier. Bytes that went bad on the disk are dropped; nil then.
func (c *Blobs) promote(d digest.Digest, f *blobFile) []byte {
	b := make([]byte, f.size)
	if _, err := f.ReadAt(b, 0); err != nil || d.Algorithm().FromBytes(b) != d {
		c.log.Error("a cached blob is damaged; it is fetched again", "digest", d, "err", err)
		c.disk.drop(d)
		return nil
	}
	c.memory.SetBlob(d, b)
	return b
}
