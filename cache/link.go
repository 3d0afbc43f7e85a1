package cache

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
)

// hasteBytes is the most that is read of a blob before a client that waits is answered.
const hasteBytes = 64 << 20

// Link hands the file of a blob to link, which may make another name for it and must not write to it. It reports false
// without an error where there is no such file: the repository was not seen to have the blob, the disk tier does not have
// all of it, or it is large and not verified since an unclean stop. The bytes match the digest, and are not given up while link runs. The end of ctx ends what has to be read for that.
func (c *Blobs) Link(ctx context.Context, repo Repo, d digest.Digest, link func(path string, size int64) error) (linked bool, err error) {
	if c.disk == nil {
		return false, nil
	}
	if has, err := c.seen.Has(ctx, repo, d); err != nil || !has {
		return false, err
	}
	f, err := c.disk.open(d)
	if f == nil || err != nil {
		return false, err
	}
	defer f.Close()
	if ok, err := c.sound(ctx, f, d); err != nil || !ok {
		return false, err
	}
	err = link(c.disk.blobPath(d), f.size)
	if _, kept := c.disk.has(d); err != nil && !kept { // dropped meanwhile, which no pin prevents
		return false, nil
	}
	if info, statErr := f.Stat(); statErr == nil && shared(info) {
		c.disk.share(d)
	}
	return err == nil, err
}

// sound reports whether a blob's bytes are known to be right, which after an unclean stop takes reading them; large ones are
// not read for that. Wrong ones are dropped.
func (c *Blobs) sound(ctx context.Context, f *blobFile, d digest.Digest) (bool, error) {
	if f.verified {
		return true, nil
	}
	if f.size > hasteBytes {
		return false, nil
	}
	err := rehash(f, f.size, d, make([]byte, pieceBytes), func(int) error { return ctx.Err() })
	switch {
	case err == nil:
		c.disk.setVerified(d)
	case errors.Is(err, ErrCorrupt):
		c.log.Error("a cached blob is damaged; it will be fetched again", "digest", d, "err", err)
		c.dropHere(d)
		return false, nil
	}
	return err == nil, err
}
