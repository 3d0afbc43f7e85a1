package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/upstream"
	"github.com/opencontainers/go-digest"
)

const shownBody = 200 // bytes of a refusal, in its error

// peer is one repository at one server.
type peer struct {
	client *Client
	base   *url.URL
	err    error // instead of base
	repo   cache.Repo
}

// FetchBlob opens n bytes of a blob from off on, or all of it when n < 0. The answer is checked as an upstream's is.
func (p *peer) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (cache.Part, error) {
	if off < 0 || n == 0 || n < 0 && off != 0 {
		return cache.Part{}, p.failed("blob", d, fmt.Errorf("no such part: %d bytes at %d", n, off))
	}
	header := http.Header{}
	if n > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	}
	resp, body, err := p.get(ctx, "blobs", d, header)
	if err != nil {
		return cache.Part{}, p.failed("blob", d, err)
	}
	part, err := upstream.CheckPart(resp, off, n)
	if err != nil {
		body.Close()
		return cache.Part{}, p.failed("blob", d, err)
	}
	body.Left, part.Body = part.Len, body
	return part, nil
}

// FetchManifest reads a manifest whole and verifies it.
func (p *peer) FetchManifest(ctx context.Context, d digest.Digest) (cache.Manifest, error) {
	resp, body, err := p.get(ctx, "manifests", d, http.Header{})
	if err != nil {
		return cache.Manifest{}, p.failed("manifest", d, err)
	}
	defer body.Close()
	m, err := readManifest(resp, body, d)
	if err != nil {
		return cache.Manifest{}, p.failed("manifest", d, err)
	}
	return m, nil
}

func readManifest(resp *http.Response, body io.Reader, d digest.Digest) (cache.Manifest, error) {
	if _, err := upstream.CheckPart(resp, 0, -1); err != nil {
		return cache.Manifest{}, err
	}
	if resp.ContentLength > upstream.MaxManifest {
		return cache.Manifest{}, fmt.Errorf("its answer has %d bytes, more than the %d allowed", resp.ContentLength, upstream.MaxManifest)
	}
	b, err := io.ReadAll(io.LimitReader(body, upstream.MaxManifest+1))
	switch {
	case err != nil:
		return cache.Manifest{}, err
	case len(b) > upstream.MaxManifest:
		return cache.Manifest{}, fmt.Errorf("its answer has more than the %d bytes allowed", upstream.MaxManifest)
	}
	if got := d.Algorithm().FromBytes(b); got != d {
		return cache.Manifest{}, fmt.Errorf("it sent other bytes: %s", got)
	}
	return cache.Manifest{MediaType: resp.Header.Get("Content-Type"), Digest: d, Bytes: b}, nil
}

func (p *peer) failed(what string, d digest.Digest, err error) error {
	server := "another server"
	if p.base != nil {
		server = p.base.String()
	}
	return fmt.Errorf("fetching %s %s of %s from %s: %w", what, d, p.repo, server, err)
}

// get asks once, and gives an answer of 200 or 206 with its body, which the caller closes.
func (p *peer) get(ctx context.Context, kind string, d digest.Digest, header http.Header) (*http.Response, *body, error) {
	if p.err != nil {
		return nil, nil, p.err
	}
	if err := d.Validate(); err != nil {
		return nil, nil, err
	}
	token, err := p.token()
	if err != nil {
		return nil, nil, fmt.Errorf("making a token: %w", err)
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	header.Set(Header, p.client.o.ID)
	header.Set("User-Agent", "entrepot")
	ctx, cancel := context.WithCancelCause(ctx)
	// Without an http.Client nothing follows redirects: one is an answer like any other that is not content.
	req := (&http.Request{Method: http.MethodGet, URL: p.url(kind, d), Header: header}).WithContext(ctx)
	resp, err := p.client.pool.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, nil, hiding(token, err)
	}
	b := newBody(ctx, cancel, resp.Body, p.client.patience)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer b.Close()
		return nil, nil, refused(resp.StatusCode, b, token)
	}
	return resp, b, nil
}

func (p *peer) token() (string, error) {
	if p.client.o.Token == nil {
		return "", nil
	}
	return p.client.o.Token(p.repo.Registry, p.repo.Name)
}

// url has the registry as the first element of the name, which is its home whatever else is configured there. A host with a
// port cannot stand in a name; clients say it by ns too.
func (p *peer) url(kind string, d digest.Digest) *url.URL {
	u := *p.base
	if strings.Contains(p.repo.Registry, ":") {
		u.Path = "/v2/" + p.repo.Name + "/" + kind + "/" + d.String()
		u.RawQuery = url.Values{"ns": {p.repo.Registry}}.Encode()
		return &u
	}
	u.Path = "/v2/" + p.repo.String() + "/" + kind + "/" + d.String()
	return &u
}

// refused is the error of an answer that is not content, with the beginning of what it says.
func refused(status int, body io.Reader, token string) error {
	said, _ := io.ReadAll(io.LimitReader(body, 4<<10)) // or as much as there is of it
	text := string(said)
	if token != "" {
		text = strings.ReplaceAll(text, token, "TOKEN")
	}
	return fmt.Errorf("it answered %d %s: %q", status, http.StatusText(status), text[:min(len(text), shownBody)])
}

// hiding is err, or another one where it repeats the token: net/http quotes what it cannot read.
func hiding(token string, err error) error {
	if token != "" && strings.Contains(err.Error(), token) {
		return errors.New("its answer is malformed")
	}
	return err
}
