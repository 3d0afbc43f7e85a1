package proxy

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
)

const (
	leastRedirect = 1 << 20 // below it, another request costs the client more than it spares us
	redirectLife  = 15 * time.Minute
)

// redirect sends a client to the store for a blob that it may have, if it is one of those that are. Whatever keeps the store
// from giving a URL, the blob is served here. The URL is a credential: only the client gets it.
func (c *call) redirect(b *hosted.Blob) (redirected bool) {
	if b.Size < leastRedirect || !c.redirectable() {
		return false
	}
	url, err := b.Presign(c.server.ctx, redirectLife)
	if err != nil {
		if !errors.Is(err, storage.ErrUnable) {
			c.server.o.Log.Debug("a blob is not redirected", "repository", c.home.Name, "digest", b.Digest, "err", err)
		}
		return false
	}
	c.set(headerDigest, string(b.Digest))
	c.set("Cache-Control", "no-store")
	c.set("Location", url)
	c.ctx.SetStatusCode(http.StatusTemporaryRedirect)
	return true
}

// redirectable: the client is in one of the networks, and its request means at the store what it means here. Entity tags are
// others there.
func (c *call) redirectable() bool {
	client, known := c.client()
	if !known || !slices.ContainsFunc(c.server.o.Redirect, func(n netip.Prefix) bool { return n.Contains(client) }) {
		return false
	}
	conditional := func(header string) bool { return len(c.ctx.Request.Header.Peek(header)) > 0 }
	return !conditional("If-None-Match") && !conditional("If-Range") && !conditional("If-Match")
}
