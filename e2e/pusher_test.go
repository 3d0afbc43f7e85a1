package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// send is do with a body. size -1 leaves the length out, as docker does.
func (c *client) send(ctx context.Context, method, path string, body io.Reader, size int64, header ...string) answer {
	began := time.Now()
	if size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return answer{err: err, wrong: -1}
	}
	req.ContentLength = size
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err, wrong: -1, took: time.Since(began)}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, wrong: -1, head: time.Since(began)}
	a.read(resp.Body, nil, began)
	a.took = time.Since(began)
	return a
}

// location is where an upload goes on, as a path with its query.
func (a answer) location() (string, error) {
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Path == "" {
		return "", fmt.Errorf("status %d with Location %q", a.status, a.header.Get("Location"))
	}
	return u.RequestURI(), nil
}

// withDigest is an upload's location for its closing PUT.
func withDigest(location string, d digest.Digest) string {
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	return location + separator + "digest=" + url.QueryEscape(d.String())
}

func section(c fakehub.Content, from, to int64) io.Reader {
	return io.NewSectionReader(c, from, to-from)
}

// pushBlob pushes by POST and PUT.
func (c *client) pushBlob(ctx context.Context, repo string, b fakehub.Blob) error {
	begun := c.send(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil, 0)
	at, err := begun.location()
	if err != nil {
		return fmt.Errorf("begin an upload: %w: %.300s", err, begun.body)
	}
	return c.closeUpload(ctx, at, b, 0)
}

// streamBlob pushes as docker does: all of it by a PATCH that names no length, and an empty PUT.
func (c *client) streamBlob(ctx context.Context, repo string, b fakehub.Blob) error {
	begun := c.send(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil, 0)
	at, err := begun.location()
	if err != nil {
		return fmt.Errorf("begin an upload: %w: %.300s", err, begun.body)
	}
	sent := c.send(ctx, http.MethodPatch, at, section(b.Content, 0, b.Size), -1, "Content-Type", "application/octet-stream")
	if at, err = sent.location(); err != nil {
		return fmt.Errorf("send %s: %w: %.300s", b.Digest, err, sent.body)
	}
	return c.closeUpload(ctx, at, b, b.Size)
}

// closeUpload sends what is left of a blob with the digest.
func (c *client) closeUpload(ctx context.Context, at string, b fakehub.Blob, from int64) error {
	a := c.send(ctx, http.MethodPut, withDigest(at, b.Digest), section(b.Content, from, b.Size), b.Size-from, "Content-Type", "application/octet-stream")
	if a.err != nil || a.status != http.StatusCreated {
		return fmt.Errorf("push %s: status %d, %v: %.300s", b.Digest, a.status, a.err, a.body)
	}
	return nil
}

func (c *client) pushManifest(ctx context.Context, repo, ref string, m fakehub.Manifest) error {
	a := c.putManifest(ctx, manifestPath(repo, ref), m)
	if a.err != nil || a.status != http.StatusCreated {
		return fmt.Errorf("push manifest %s: status %d, %v: %.300s", m.Digest, a.status, a.err, a.body)
	}
	return nil
}

func (c *client) putManifest(ctx context.Context, path string, m fakehub.Manifest) answer {
	return c.send(ctx, http.MethodPut, path, strings.NewReader(string(m.Bytes)), m.Size, "Content-Type", m.MediaType)
}
