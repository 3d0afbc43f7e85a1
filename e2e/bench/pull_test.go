package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

func manifestPath(repo, ref string) string { return "/v2/" + repo + "/manifests/" + ref }

func blobPath(repo string, d digest.Digest) string { return "/v2/" + repo + "/blobs/" + d.String() }

func section(c fakehub.Content) io.Reader { return io.NewSectionReader(c, 0, c.Size()) }

// answer is what came of a request.
type answer struct {
	status int
	header http.Header
	n      int64         // bytes of the body
	first  time.Duration // until the first of them
	took   time.Duration
}

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// ask asks and drops the body, of which it reads no more than most bytes; then the connection is closed.
func ask(ctx context.Context, client *http.Client, method, url string, most int64, header ...string) (answer, error) {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	buffer := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buffer)
	for err == nil && a.n < most {
		var n int
		n, err = resp.Body.Read(buffer[:min(int64(len(buffer)), most-a.n)])
		if a.n == 0 {
			a.first = time.Since(began)
		}
		a.n += int64(n)
	}
	a.took = time.Since(began)
	if err == io.EOF {
		err = nil
	}
	return a, err
}

const everything = 1 << 62

// pulled is how long a pull's parts took.
type pulled struct {
	firstLayer time.Duration // from the pull's first request to the first byte of a layer
	took       time.Duration
}

// pull pulls an image as dockerd does: the tag by HEAD, the manifest by digest, the config, three layers at once. Sizes are
// checked here, every byte by the tests beside these benchmarks.
func (p peer) pull(ctx context.Context, tag string, img fakehub.Image) (pulled, error) {
	client, end := p.client()
	defer end()
	began := time.Now()
	if a, err := ask(ctx, client, http.MethodHead, p.url+manifestPath(repo, tag), everything); err != nil || a.status != http.StatusOK {
		return pulled{}, fmt.Errorf("HEAD of the tag: status %d, %v", a.status, err)
	}
	whole := func(path string, size int64) (answer, error) {
		a, err := ask(ctx, client, http.MethodGet, p.url+path, everything)
		if err != nil || a.status != http.StatusOK || a.n != size {
			return a, fmt.Errorf("%s: status %d, %d bytes of %d, %v", path, a.status, a.n, size, err)
		}
		return a, nil
	}
	if _, err := whole(manifestPath(repo, img.Manifest.Digest.String()), img.Manifest.Size); err != nil {
		return pulled{}, err
	}
	if _, err := whole(blobPath(repo, img.Config.Digest), img.Config.Size); err != nil {
		return pulled{}, err
	}
	firsts := make([]time.Duration, len(img.Layers))
	var group errgroup.Group
	group.SetLimit(3)
	for i, layer := range img.Layers {
		group.Go(func() error {
			waited := time.Since(began)
			a, err := whole(blobPath(repo, layer.Digest), layer.Size)
			firsts[i] = waited + a.first
			return err
		})
	}
	err := group.Wait()
	return pulled{slices.Min(firsts), time.Since(began)}, err
}

// client has connections of its own, as every docker pull has. end closes them.
func (p peer) client() (client *http.Client, end func()) {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8, ReadBufferSize: 64 << 10}
	transport.TLSClientConfig = &tls.Config{RootCAs: p.roots}
	return &http.Client{Transport: transport, Timeout: 3 * time.Minute}, transport.CloseIdleConnections
}
