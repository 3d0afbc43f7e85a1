package cache

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
)

// Stat gives the size of a blob that the repository has; -1 where its registry does not say. It fetches nothing.
func (c *Blobs) Stat(ctx context.Context, from Origin, d digest.Digest) (int64, Tier, error) {
	if size, tier, ok := c.local(d); ok {
		_, err := c.prove(ctx, from, d)
		return size, tier, err
	}
	size, err := c.ask(ctx, from, d)
	if IsOutage(err) {
		if size, ok := c.statInBucket(ctx, from, d); ok {
			return size, TierS3, nil
		}
	}
	return size, TierUpstream, err
}

// statInBucket gives the size of a blob that the bucket has, if the repository was seen to have it.
func (c *Blobs) statInBucket(ctx context.Context, from Origin, d digest.Digest) (int64, bool) {
	if _, err := c.seen.get(ctx, from.Repo(), d); err != nil {
		return 0, false
	}
	size, err := c.bucket.size(ctx, d)
	return size, err == nil
}

// local gives the size of a blob that is kept here, whoever may have it.
func (c *Blobs) local(d digest.Digest) (int64, Tier, bool) {
	if b, ok := c.memory.Blob(d); ok {
		return int64(len(b)), TierMemory, true
	}
	if c.disk == nil {
		return 0, "", false
	}
	size, ok := c.disk.has(d)
	return size, TierDisk, ok
}

// prove makes sure that the repository has a blob which is here already: it was seen there, or its registry says so now. It
// gives the size that the registry named; -1 for none.
func (c *Blobs) prove(ctx context.Context, from Origin, d digest.Digest) (int64, error) {
	if from.Repo().none() {
		return from.StatBlob(ctx, d)
	}
	if seen, err := c.seen.get(ctx, from.Repo(), d); err == nil {
		return seen.Size, nil
	}
	return c.ask(ctx, from, d)
}

// ask asks the registry for a blob's size, and notes that the repository has it.
func (c *Blobs) ask(ctx context.Context, from Origin, d digest.Digest) (int64, error) {
	name := blobName{from.Repo(), d}
	if err, known := c.refused.get(name); known {
		return 0, err
	}
	size, err := from.StatBlob(ctx, d)
	if err != nil {
		c.refuse(name, err)
		return 0, err
	}
	c.seen.Add(ctx, name.Repo, d, "", size)
	return size, nil
}

// refuse remembers an answer that will not change at once. Outages are not answers.
func (c *Blobs) refuse(name blobName, err error) {
	switch {
	case errors.Is(err, ErrCorrupt):
		c.refused.set(name, err, corruptFor)
	case isAnswer(err):
		c.refused.set(name, err, c.negative)
	}
}
