package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage/hosted"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hostedRepo is the repository that the request names, as the caller uses it: uploads are for whoever began them. It comes
// after keep.
func (c *call) hostedRepo() hosted.Repo {
	return c.server.o.Hosted.Repo(c.home.Name).For(string(c.caller.Subject))
}

// hostedManifest answers GET and HEAD of a manifest that was pushed here. Who may push and has found one by HEAD does not
// push it again, but may push an index that names it.
func (c *call) hostedManifest() error {
	m, err := c.hostedRepo().Manifest(c.server.ctx, c.req.Ref)
	if err != nil {
		return err
	}
	if c.ctx.IsHead() && c.mayWrite(access.Push) == nil {
		if err := c.hostedRepo().RenewManifest(c.server.ctx, m.Digest); err != nil {
			c.server.o.Log.Debug("a manifest that a HEAD has found is not renewed", "repository", c.home.Name, "digest", m.Digest, "err", err)
		}
	}
	c.answer.Tier = cache.TierDisk
	c.declare(m.MediaType)
	if !c.identify(c.asked(m.Digest)) {
		c.send(m.Bytes)
	}
	return nil
}

// hostedBlob answers GET, with or without a range, and HEAD of a blob that was pushed here.
func (c *call) hostedBlob() error {
	if c.ctx.IsHead() {
		return c.headHostedBlob()
	}
	d := c.req.Digest()
	b, err := c.hostedRepo().Blob(c.server.ctx, d)
	if err != nil {
		return err
	}
	if c.redirect(b) {
		return nil
	}
	wanted, ranged := parseRange(c.rangeHeader(d))
	if !ranged {
		wanted = cache.Whole
	}
	if c.server.o.Copies {
		return c.hostedCopy(b, wanted, ranged)
	}
	start, end, err := wanted.Of(d, b.Size)
	if err != nil {
		return err
	}
	reader, err := b.Open(c.server.ctx, start, end)
	if err != nil {
		return err
	}
	c.sendContent(hostedContent{Reader: reader, size: b.Size, start: start, length: end - start}, ranged)
	return nil
}

// headHostedBlob also keeps the blob from collection where the asker may push: clients skip what a HEAD has found.
func (c *call) headHostedBlob() error {
	size, err := c.renewBlob()
	if err != nil {
		return err
	}
	c.answer.Tier = cache.TierDisk
	if !c.describeBlob() {
		c.length(size)
	}
	return nil
}

// renewBlob only looks where it may not write, or cannot: a store that is full still serves pulls, and the manifest's push
// looks at its blobs again.
func (c *call) renewBlob() (size int64, err error) {
	repo := c.hostedRepo()
	if c.mayWrite(access.Push) == nil {
		size, err = repo.RenewBlob(c.server.ctx, c.req.Digest())
		if err == nil || errors.Is(err, hosted.ErrBlobUnknown) {
			return size, err
		}
	}
	b, err := repo.Blob(c.server.ctx, c.req.Digest())
	if err != nil {
		return 0, err
	}
	return b.Size, nil
}

// hostedContent is a blob that was pushed here, or a part of one, on its way to a client.
type hostedContent struct {
	*hosted.Reader
	size, start, length int64
}

var _ Content = hostedContent{}

func (h hostedContent) Size() int64       { return h.size }
func (h hostedContent) Start() int64      { return h.start }
func (h hostedContent) Len() int64        { return h.length }
func (hostedContent) Tier() cache.Tier    { return cache.TierDisk }
func (hostedContent) Bytes() []byte       { return nil }
func (hostedContent) OnWait(func() error) {}

// hostedTags answers a tag list of a repository that was pushed to.
func (c *call) hostedTags() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	tags, more, err := c.hostedRepo().Tags(c.server.ctx, p.n, p.last)
	if err != nil {
		return err
	}
	if more && len(tags) > 0 {
		c.next("/v2/"+c.req.Name+"/tags/list", p.size(len(tags)), tags[len(tags)-1], "")
	}
	return c.sendJSON("application/json", tagList{Name: c.req.Name, Tags: append([]string{}, tags...)})
}

// hostedReferrers answers with the index of what refers to a manifest. There always is one, if an empty one.
func (c *call) hostedReferrers() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	if p.last != "" && !ValidDigest(p.last) {
		return newError(CodePaginationNumber, "last is not a digest")
	}
	only, err := c.artifactType()
	if err != nil {
		return err
	}
	found, more, err := c.hostedRepo().Referrers(c.server.ctx, c.req.Digest(), only, p.n, p.last)
	if err != nil {
		return err
	}
	if more && len(found) > 0 {
		filter := ""
		if only != "" {
			filter = "&artifactType=" + url.QueryEscape(only)
		}
		c.next(fmt.Sprintf("/v2/%s/referrers/%s", c.req.Name, c.req.Ref), p.size(len(found)), string(found[len(found)-1].Digest), filter)
	}
	return c.sendReferrers(ocispec.Index{Manifests: found}, only)
}

// hint tells in a 404 of a one-element name, which is never asked upstream, how to spell it to ask there.
func (c *call) hint(err error) error {
	def := c.server.names.Default
	if err == nil || def == "" || strings.IndexByte(c.req.Name, '/') >= 0 {
		return err
	}
	e := *AsRegistryError(err, c.req.route().missing, "")
	if e.status() != http.StatusNotFound {
		return err
	}
	spelling := def + "/" + c.req.Name
	if def == dockerHub {
		spelling = hubName(def, c.req.Name)
	}
	e.Message += "; to ask " + def + ", spell it " + spelling
	return &e
}
