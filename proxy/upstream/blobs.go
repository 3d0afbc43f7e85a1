package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

// StatBlob asks by HEAD. Storage behind a registry often answers only the GET that a redirect was signed for, so a refused HEAD is tried
// again as a GET of one byte.
func (r *Repository) StatBlob(ctx context.Context, d digest.Digest) (int64, error) {
	a, _, err := r.fetch(ctx, r.blob(http.MethodHead, d), r.registry.ask)
	if err == nil {
		return a.ContentLength, nil
	}
	if !isDenied(err) && !hasStatus(err, http.StatusMethodNotAllowed, http.StatusBadRequest) {
		return 0, r.registry.report(r.doingBlob("asking for", d), err)
	}
	p, getErr := r.FetchBlob(ctx, d, 0, 1)
	if isDenied(getErr) {
		return 0, r.registry.report(r.doingBlob("asking for", d), err)
	}
	if getErr != nil {
		return 0, getErr
	}
	return p.Size, p.Body.Close()
}

// FetchBlob opens n bytes of a blob from off on, or all of it when n < 0.
func (r *Repository) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (cache.Part, error) {
	if off < 0 || n == 0 || n < 0 && off != 0 {
		return cache.Part{}, fmt.Errorf("%s: no such part: %d bytes at %d", r.doingBlob("fetching", d), n, off)
	}
	p, err := r.openBlob(ctx, d, off, n)
	if off == 0 && n > 0 && hasStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		p, err = r.openBlob(ctx, d, 0, -1) // an empty blob has no first byte
	}
	if hasStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		return cache.Part{}, rangeError(d, err)
	}
	return p, r.registry.report(r.doingBlob("fetching", d), err)
}

func rangeError(d digest.Digest, err error) error {
	size := int64(-1)
	var s *statusError
	if errors.As(err, &s) {
		if cr, ok := parseContentRange(s.header.Get("Content-Range")); ok {
			size = cr.size
		}
	}
	return &cache.RangeError{Digest: d, Size: size}
}

// openBlob makes the one request behind FetchBlob. On success the call goes on till the body is closed.
func (r *Repository) openBlob(ctx context.Context, d digest.Digest, off, n int64) (cache.Part, error) {
	reg := r.registry
	ctx, c, err := reg.begin(ctx, KindBlob, reg.bodies)
	if err != nil {
		return cache.Part{}, err
	}
	q := r.blob(http.MethodGet, d)
	if n > 0 {
		q.header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	}
	a, err := r.askBlob(ctx, d, q)
	if err != nil {
		c.end()
		return cache.Part{}, err
	}
	p, err := CheckPart(a.Response, off, n)
	if err != nil {
		a.Body.Close()
		c.end()
		return cache.Part{}, err
	}
	c.settle()
	p.Body = reg.newBody(ctx, c, a.Body, p.Len)
	return p, nil
}

// askBlob asks where the registry redirected to last time, and the registry itself where that is not known or has expired: signed
// addresses do, with one or another of these statuses.
func (r *Repository) askBlob(ctx context.Context, d digest.Digest, q query) (*answer, error) {
	if to := r.location(d); to != nil {
		known := q
		known.url = to
		a, err := r.registry.askAs(ctx, r.registry.anonymous, known)
		if !isDenied(err) && !errors.Is(err, cache.ErrNotFound) && !hasStatus(err, http.StatusBadRequest, http.StatusGone) {
			return a, err
		}
	}
	a, err := r.registry.ask(ctx, q)
	r.setLocation(d, a)
	return a, err
}

func (r *Repository) location(d digest.Digest) *url.URL {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.locations[d.String()]
}

func (r *Repository) setLocation(d digest.Digest, a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a == nil || a.home {
		delete(r.locations, d.String())
		return
	}
	r.locations[d.String()] = a.at
}

func (r *Repository) blob(method string, d digest.Digest) query {
	q := r.query(KindBlob, method, "blobs", d.String())
	q.header.Set("Accept-Encoding", "identity")
	return q
}

func (r *Repository) doingBlob(verb string, d digest.Digest) string {
	return fmt.Sprintf("%s blob %s of %s", verb, d, r.Repo())
}

// CheckPart holds a 200 or a 206 against what was asked for: n bytes from off on, or everything when n < 0. The body is not
// looked at, and not in the part.
func CheckPart(resp *http.Response, off, n int64) (cache.Part, error) {
	if encoded(resp.Header) {
		return cache.Part{}, broken("its answer is encoded (%.100q) although that was declined", resp.Header.Get("Content-Encoding"))
	}
	if resp.StatusCode == http.StatusOK {
		return cache.Part{Len: resp.ContentLength, Size: resp.ContentLength}, nil
	}
	if n < 0 {
		return cache.Part{}, broken("it answered a part (206) where the whole was asked for")
	}
	said := resp.Header.Get("Content-Range")
	cr, ok := parseContentRange(said)
	if !ok || !cr.satisfied {
		return cache.Part{}, broken("it answered a part (206) without saying which: %.100q", said)
	}
	want := off + n - 1
	if cr.size >= 0 {
		want = min(want, cr.size-1)
	}
	length := cr.last - cr.first + 1
	if cr.first != off || cr.last > want || cr.size >= 0 && cr.last < want {
		return cache.Part{}, broken("it answered %.100q where bytes %d-%d were asked for", said, off, off+n-1)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != length {
		return cache.Part{}, broken("it answered %.100q with %d bytes", said, resp.ContentLength)
	}
	return cache.Part{Off: off, Len: length, Size: cr.size, Ranged: true}, nil
}
