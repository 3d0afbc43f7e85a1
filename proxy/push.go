package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage/hosted"
)

const (
	manifestLimit = 4 << 20  // bytes of a manifest
	smallManifest = 64 << 10 // bytes that nobody has to wait for
	mostLarge     = 4        // manifests that are not small and are being pushed
	mostTags      = 100      // of one push
)

// putManifest takes a manifest, by tag or by digest with any number of tags.
func (c *call) putManifest() error {
	push, err := c.manifestPush()
	if err != nil {
		return err
	}
	body, err := c.openWhole()
	if err != nil {
		return err
	}
	if push.Bytes, err = io.ReadAll(io.LimitReader(body, smallManifest+1)); err != nil {
		return err
	}
	if len(push.Bytes) > smallManifest {
		release, err := c.reserve(c.server.manifests, "too many large manifests are being pushed")
		if err != nil {
			return err
		}
		defer release()
		if push.Bytes, err = readOn(body, push.Bytes); err != nil {
			return err
		}
	}
	return c.pushManifest(push)
}

func (c *call) pushManifest(push hosted.ManifestPush) error {
	done, err := c.hostedRepo().PutManifest(c.server.ctx, push)
	if err != nil {
		return err
	}
	if c.req.ByDigest() {
		c.moved = push.Tags
		for _, tag := range push.Tags {
			c.add(headerTag, tag)
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
	push := hosted.ManifestPush{MediaType: strings.TrimSpace(mediaType), By: c.pusher()}
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

// pusher is whom a tag's record names: who logged in, else from where.
func (c *call) pusher() string {
	if who := c.caller.Subject; who != access.Anonymous {
		return string(who)
	}
	client, _ := c.client()
	return client.String()
}

// checkAnnounced refuses what is too long before any of it is sent.
func (c *call) checkAnnounced() error {
	if c.req.Kind == KindManifest && c.ctx.Request.Header.ContentLength() > manifestLimit {
		return errManifestTooLarge()
	}
	return nil
}

// readOn reads the rest of a manifest, after what has been read of it.
func readOn(body *requestBody, begun []byte) ([]byte, error) {
	size := body.size // which checkAnnounced has looked at
	if size < 0 {
		size = manifestLimit + 1
	}
	read := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead)) // which does not grow
	read.Write(begun)
	if _, err := read.ReadFrom(io.LimitReader(body, manifestLimit+1-int64(len(begun)))); err != nil {
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
