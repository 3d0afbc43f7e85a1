package proxy

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/entrepot/entrepot/cache"
)

// rawLimit is how large a body from memory may be on a TLS connection before it is sent piecewise, each piece in its own
// time. Plain connections do that themselves.
const rawLimit = 256 << 10

// blob answers GET, with or without a range, and HEAD of a blob.
func (c *call) blob() error {
	d := c.req.Digest()
	var wanted cache.Range
	var ranged bool
	if !c.ctx.IsHead() {
		wanted, ranged = parseRange(c.rangeHeader(d))
	}
	if !ranged {
		wanted = cache.Whole
		if b, ok := c.server.o.Blobs.Hot(c.repo(), d); ok && (c.plain || len(b) <= rawLimit) {
			c.answer.Tier = cache.TierMemory
			if !c.describeBlob() {
				c.send(b)
			}
			return nil
		}
	}
	c.keep()
	if c.ctx.IsHead() {
		return c.headBlob()
	}
	content, err := c.server.o.Blobs.Open(c.context(), c.repository(), c.req.Digest(), wanted)
	if err != nil {
		return err
	}
	c.sendContent(content, ranged)
	return nil
}

func (c *call) headBlob() error {
	size, tier, err := c.server.o.Blobs.Stat(c.context(), c.repository(), c.req.Digest())
	if err != nil {
		return err
	}
	c.answer.Tier = tier
	if !c.describeBlob() {
		c.length(size)
	}
	return nil
}

func (c *call) describeBlob() (unchanged bool) {
	c.ctx.SetContentType("application/octet-stream")
	c.set("Accept-Ranges", "bytes")
	return c.identify(c.req.Digest())
}

// sendContent answers 206 when a range was asked for and the size is known, else 200 with all of it: a blob of unknown
// size is sent in chunks and has no ranges.
func (c *call) sendContent(content Content, ranged bool) {
	c.answer.Tier = content.Tier()
	if c.describeBlob() {
		_ = content.Close() // nothing was read
		return
	}
	start, n, size := content.Start(), content.Len(), content.Size()
	if ranged && n > 0 {
		c.ctx.SetStatusCode(http.StatusPartialContent)
		c.set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", start, start+n-1, strconv.FormatInt(size, 10)))
	}
	if b := content.Bytes(); b != nil && (c.plain || len(b) <= rawLimit) {
		_ = content.Close() // the bytes stay: memory is not recycled
		c.send(b)
		return
	}
	if c.conn != nil {
		content.OnWait(c.conn.check)
	}
	c.stream = &body{content: content, conn: c.conn, plain: c.plain, length: n}
	// Bytes that are still to come may be long in coming, and some clients wait for headers no longer than 30 s.
	c.ctx.Response.ImmediateHeaderFlush = content.Tier() == cache.TierUpstream || content.Tier() == cache.TierS3
	c.ctx.Response.SetBodyStream(c.stream, int(max(n, -1)))
}
