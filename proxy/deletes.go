package proxy

import "net/http"

// deleteManifest removes a tag, or a manifest and the tags that point to it.
func (c *call) deleteManifest() error {
	remove := func() error { return c.hostedRepo().DeleteTag(c.server.ctx, c.req.Ref) }
	if c.req.ByDigest() {
		remove = func() error { return c.hostedRepo().DeleteManifest(c.server.ctx, c.req.Digest()) }
	}
	return c.deleted(remove())
}

// deleteBlob takes a blob from the repository.
func (c *call) deleteBlob() error {
	return c.deleted(c.hostedRepo().DeleteBlob(c.server.ctx, c.req.Digest()))
}

func (c *call) deleted(err error) error {
	if err == nil {
		c.ctx.SetStatusCode(http.StatusAccepted)
	}
	return err
}
