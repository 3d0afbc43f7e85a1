package proxy

import (
	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

// manifest answers GET and HEAD of a manifest by tag or digest. What the client accepts is not considered: converting
// would change the digest. A Range is ignored.
func (c *call) manifest() error {
	if m, ok := c.server.o.Manifests.Hot(c.repo(), c.req.Ref); ok {
		c.answer.Tier = cache.TierMemory
		c.sendManifest(m)
		return nil
	}
	c.keep()
	if c.ctx.IsHead() {
		return c.headManifest()
	}
	a, err := c.server.o.Manifests.Get(c.context(), c.repository(), c.req.Ref)
	if err != nil {
		return err
	}
	c.answer.Tier = a.Tier
	c.warn(a.Warning)
	c.sendManifest(a.Manifest)
	return nil
}

// headManifest is free of the upstream's pull limit. Where upstream names no size, only the bytes tell it: containerd
// needs the length.
func (c *call) headManifest() error {
	d, tier, warning, err := c.server.o.Manifests.Resolve(c.context(), c.repository(), c.req.Ref)
	if err != nil {
		return err
	}
	c.answer.Tier = tier
	c.warn(warning)
	if d.Size <= 0 {
		a, err := c.server.o.Manifests.Get(c.context(), c.repository(), string(d.Digest))
		if err != nil {
			return err
		}
		c.sendManifest(a.Manifest)
		return nil
	}
	c.declare(d.MediaType)
	if !c.identify(c.asked(d.Digest)) {
		c.length(d.Size)
	}
	return nil
}

func (c *call) sendManifest(m *cache.Manifest) {
	c.declare(m.MediaType)
	if !c.identify(c.asked(m.Digest)) {
		c.send(m.Bytes)
	}
}

// asked is the digest to answer with: in the algorithm that was asked for.
func (c *call) asked(d digest.Digest) digest.Digest {
	if c.req.ByDigest() {
		return c.req.Digest()
	}
	return d
}
