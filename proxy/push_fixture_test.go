package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// stores are what hosted repositories are tested over.
func stores(t *testing.T) map[string]storage.Store {
	t.Helper()
	onDisk, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := onDisk.Close(); err != nil {
			t.Error(err)
		}
	})
	return map[string]storage.Store{"mem": mem.New(time.Now), "disk": onDisk}
}

// startOver is start with what is pushed in a store.
func startOver(t *testing.T, store storage.Store, change func(*Options)) *running {
	t.Helper()
	pushed, err := hosted.New(hosted.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, filled(), func(o *Options) {
		o.Hosted = pushed
		if change != nil {
			change(o)
		}
	})
}

func startPush(t *testing.T, change func(*Options)) *running {
	t.Helper()
	return startOver(t, mem.New(time.Now), change)
}

// inChunks hides the length of a body from the client.
type inChunks struct{ io.Reader }

// send is do with a body.
func (r *running) send(t *testing.T, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	res, got, err := r.try(method, path, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, got
}

// try is send for goroutines beside the test's.
func (r *running) try(method, path string, body io.Reader, header ...string) (*http.Response, string, error) {
	req, err := http.NewRequest(method, "http://"+r.addr, body)
	if err != nil {
		return nil, "", err
	}
	path, query, _ := strings.Cut(path, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// expect sends a request and gives the answer's headers; another status than the one wanted ends the test.
func (r *running) expect(t *testing.T, status int, method, path string, body io.Reader, header ...string) http.Header {
	t.Helper()
	res, got := r.send(t, method, path, body, header...)
	if res.StatusCode != status {
		t.Fatalf("%s %s: got %d %s, want %d", method, path, res.StatusCode, got, status)
	}
	return res.Header
}

// begin starts an upload and gives its location.
func (r *running) begin(t *testing.T, repo string) string {
	t.Helper()
	return r.expect(t, 202, "POST", "/v2/"+repo+"/blobs/uploads/", nil).Get("Location")
}

// pushBlob pushes a blob and gives its descriptor.
func (r *running) pushBlob(t *testing.T, repo, mediaType string, b []byte) ocispec.Descriptor {
	t.Helper()
	d := digest.FromBytes(b)
	r.expect(t, 201, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), bytes.NewReader(b))
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// image pushes the blobs of an image and gives its manifest, which is not pushed.
func (r *running) image(t *testing.T, repo string, change func(*ocispec.Manifest)) []byte {
	t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: r.pushBlob(t, repo, ocispec.MediaTypeImageConfig, []byte(`{"architecture":"none"}`)),
		Layers: []ocispec.Descriptor{r.pushBlob(t, repo, ocispec.MediaTypeImageLayer, []byte("layer"))},
	}
	if change != nil {
		change(&m)
	}
	return encoded(t, m)
}

// pushImage pushes an image under a tag or by its digest, and gives the digest.
func (r *running) pushImage(t *testing.T, repo, tag string, change func(*ocispec.Manifest)) digest.Digest {
	t.Helper()
	b := r.image(t, repo, change)
	d := digest.FromBytes(b)
	if tag == "" {
		tag = d.String()
	}
	r.expect(t, 201, "PUT", "/v2/"+repo+"/manifests/"+tag, bytes.NewReader(b), "Content-Type", ocispec.MediaTypeImageManifest)
	return d
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func randomBytes(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// refusal is what an error answer says.
func refusal(body string) (code, message string) {
	var got struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Errors) != 1 {
		return "", fmt.Sprintf("not an error: %q", body)
	}
	return got.Errors[0].Code, got.Errors[0].Message
}
