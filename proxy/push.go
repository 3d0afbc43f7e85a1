package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/storage/hosted"
)

const (
	manifestLimit  = 4 << 20  // bytes of a manifest
	manifestsLimit = 16 << 20 // bytes of all manifests that are being pushed
	manifestBuffer = 64 << 10 // to begin with; what a client announces is no reason to allocate it
	mostTags       = 100      // of one push
)

// putManifest takes a manifest, by tag or by digest with any number of tags.
func (c *call) putManifest() error {
	push, err := c.manifestPush()
	if err != nil {
		return err
	}
	release, err := c.reserveManifest()
	if err != nil {
		return err
	}
	defer release()
	if push.Bytes, err = c.readManifest(); err != nil {
		return err
	}
	done, err := c.hostedRepo().PutManifest(c.server.ctx, push)
	if err != nil {
		return err
	}
	if c.req.ByDigest() {
		for _, tag := range push.Tags {
			c.ctx.Response.Header.Add(headerTag, tag)
		}
	}
	if done.Subject != "" {
		c.set(headerSubject, string(done.Subject))
	}
	c.created("manifests", done.Digest)
	return nil
}

// manifestPush is what the request says besides the manifest.
func (c *call) manifestPush() (hosted.ManifestPush, error) {
	mediaType, _, _ := strings.Cut(string(c.ctx.Request.Header.ContentType()), ";")
	push := hosted.ManifestPush{MediaType: strings.TrimSpace(mediaType), By: c.ctx.RemoteIP().String()}
	if !c.req.ByDigest() {
		push.Tags = []string{c.req.Ref}
		return push, nil
	}
	push.Digest = c.req.Digest()
	for _, tag := range c.ctx.QueryArgs().PeekMulti("tag") {
		if !ValidTag(string(tag)) {
			return push, newError(CodeManifestInvalid, "a tag parameter is not spelled like a tag")
		}
		if !slices.Contains(push.Tags, string(tag)) {
			push.Tags = append(push.Tags, string(tag))
		}
	}
	if len(push.Tags) > mostTags {
		message := fmt.Sprintf("one push takes %d tags at most", mostTags)
		return push, &Error{Code: CodeManifestInvalid, Status: http.StatusRequestURITooLong, Message: message}
	}
	return push, nil
}

// checkAnnounced refuses what is too long before any of it is sent.
func (c *call) checkAnnounced() error {
	if c.req.Kind == KindManifest && c.ctx.Request.Header.ContentLength() > manifestLimit {
		return errManifestTooLarge()
	}
	return nil
}

// reserveManifest waits until there is memory for the manifest.
func (c *call) reserveManifest() (release func(), err error) {
	size := int64(c.ctx.Request.Header.ContentLength())
	if size < 0 {
		size = manifestLimit
	}
	ctx, cancel := context.WithTimeout(c.server.ctx, c.server.o.BodyTimeout)
	defer cancel()
	if err := c.server.manifests.Acquire(ctx, size); err != nil {
		return nil, &Error{Code: CodeUnavailable, Message: "too many manifests are being pushed", RetryAfter: leastRetry, Err: err}
	}
	return func() { c.server.manifests.Release(size) }, nil
}

func (c *call) readManifest() ([]byte, error) {
	body, err := c.openBody(-1)
	if err != nil {
		return nil, err
	}
	read := bytes.NewBuffer(make([]byte, 0, min(max(body.size, 0)+bytes.MinRead, manifestBuffer)))
	if _, err := read.ReadFrom(io.LimitReader(body, manifestLimit+1)); err != nil {
		return nil, err
	}
	if read.Len() > manifestLimit {
		return nil, errManifestTooLarge()
	}
	return read.Bytes(), nil
}

func errManifestTooLarge() error {
	message := fmt.Sprintf("a manifest has %d bytes at most", manifestLimit)
	return &Error{Code: CodeManifestInvalid, Status: http.StatusRequestEntityTooLarge, Message: message}
}
