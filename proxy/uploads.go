package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/opencontainers/go-digest"
)

// leastChunk is advice for clients that send chunks: each of them becomes a part that is read on its own ever after.
const leastChunk = "1048576"

// startUpload mounts a blob, takes a whole one, or begins an upload.
func (c *call) startUpload() error {
	args := c.ctx.QueryArgs()
	alg := digest.Canonical
	if a := args.Peek("digest-algorithm"); a != nil {
		alg = digest.Algorithm(a)
		if alg != digest.SHA256 && alg != digest.SHA512 {
			return newError(CodeDigestInvalid, "digest-algorithm is sha256 or sha512")
		}
	}
	if args.Has("mount") {
		d, err := c.digestParam("mount")
		if err != nil {
			return err
		}
		if mounted, err := c.mount(d); mounted || err != nil {
			return err
		}
		alg = d.Algorithm()
	} else if args.Has("digest") {
		return c.pushBlob()
	}
	id, err := c.hostedRepo().StartUpload(c.server.ctx, alg)
	if err != nil {
		return err
	}
	c.req.Ref = id
	c.set(headerChunk, leastChunk)
	c.goOn(0)
	c.ctx.SetStatusCode(http.StatusAccepted)
	return nil
}

// pushBlob takes a blob in one request.
func (c *call) pushBlob() error {
	d, err := c.digestParam("digest")
	if err != nil {
		return err
	}
	body, err := c.openUpload(-1)
	if err != nil {
		return err
	}
	if err := c.hostedRepo().PushBlob(c.server.ctx, d, body, body.size); err != nil {
		return err
	}
	c.created("blobs", d)
	return nil
}

// patchUpload takes the next bytes: all that come, as docker sends them, or those of a Content-Range.
func (c *call) patchUpload() error {
	start, body, err := c.openChunk()
	if err != nil {
		return err
	}
	end, err := c.hostedRepo().AppendUpload(c.server.ctx, c.req.Ref, start, body, body.size)
	if err != nil {
		return c.outOfOrder(err)
	}
	c.goOn(end)
	c.ctx.SetStatusCode(http.StatusAccepted)
	return nil
}

// putUpload takes the last bytes, if there are any, and ends the upload.
func (c *call) putUpload() error {
	d, err := c.digestParam("digest")
	if err != nil {
		return err
	}
	start, body, err := c.openChunk()
	if err != nil {
		return err
	}
	if err := c.hostedRepo().CommitUpload(c.server.ctx, c.req.Ref, start, body, body.size, d); err != nil {
		return c.outOfOrder(err)
	}
	c.created("blobs", d)
	return nil
}

// uploadStatus tells a client that was interrupted where to go on.
func (c *call) uploadStatus() error {
	end, err := c.hostedRepo().UploadEnd(c.server.ctx, c.req.Ref)
	if err != nil {
		return err
	}
	c.goOn(end)
	c.ctx.SetStatusCode(http.StatusNoContent)
	return nil
}

func (c *call) cancelUpload() error {
	if err := c.hostedRepo().CancelUpload(c.server.ctx, c.req.Ref); err != nil {
		return err
	}
	c.ctx.SetStatusCode(http.StatusNoContent)
	return nil
}

// openChunk gives a chunk and where it begins: -1 where the client does not say.
func (c *call) openChunk() (start int64, body *requestBody, err error) {
	start, size := int64(-1), int64(-1)
	if header := view(c.ctx.Request.Header.Peek("Content-Range")); header != "" {
		var ok bool
		if start, size, ok = parseContentRange(header); !ok {
			return 0, nil, newError(CodeBlobUploadInvalid, "a Content-Range of an upload is like 0-1023, both ends included")
		}
	}
	body, err = c.openUpload(size)
	return start, body, err
}

// outOfOrder tells a client whose chunk is not the next one which that is.
func (c *call) outOfOrder(err error) error {
	var offset *hosted.OffsetError
	if errors.As(err, &offset) {
		c.goOn(offset.End)
	}
	return err
}

// goOn tells where and from which byte on an upload continues. The range of an upload without a byte is the same as that
// of one with a single byte: clients know no other.
func (c *call) goOn(end int64) {
	c.set("Location", c.location("blobs/uploads", c.req.Ref))
	c.set("Range", "0-"+strconv.FormatInt(max(end-1, 0), 10))
	c.set(headerUpload, c.req.Ref)
}

// created tells where to find what was pushed.
func (c *call) created(kind string, d digest.Digest) {
	c.set("Location", c.location(kind, string(d)))
	c.set(headerDigest, string(d))
	c.made = string(d)
	c.ctx.SetStatusCode(http.StatusCreated)
}

// location is relative: nobody knows under which names clients reach this server. It keeps the namespace.
func (c *call) location(kind, ref string) string {
	path := fmt.Sprintf("/v2/%s/%s/%s", c.req.Name, kind, ref)
	if c.ns != "" {
		path += "?ns=" + url.QueryEscape(c.ns)
	}
	return path
}

// digestParam is the digest in a query parameter. It copies.
func (c *call) digestParam(name string) (digest.Digest, error) {
	d := string(c.ctx.QueryArgs().Peek(name))
	return digest.Digest(d), checkDigest(d)
}
