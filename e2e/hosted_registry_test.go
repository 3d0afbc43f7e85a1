package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// newRegistry starts a server that hosts every name and has no upstream.
func newRegistry(t *testing.T, settings ...string) site {
	t.Helper()
	s := server.Start(t, registryOptions(settings...))
	t.Cleanup(func() { checkMemory(t, s) })
	return site{T: t, server: s, client: newClient(t, s)}
}

func registryOptions(settings ...string) server.Options {
	o := server.Options{Env: map[string]string{"DEFAULT_UPSTREAM": "none", "MEMORY_SIZE": "64MiB", "ACCESS_LOG": "on"}}
	for i := 0; i+1 < len(settings); i += 2 {
		o.Env[settings[i]] = settings[i+1]
	}
	return o
}

// in gives the site to a subtest.
func (s site) in(t *testing.T) site {
	s.T = t
	return s
}

// ask sends a request whose body is short, and needs an answer.
func (s site) ask(method, path string, body []byte, header ...string) answer {
	s.Helper()
	a := s.client.send(s.Context(), method, path, bytes.NewReader(body), int64(len(body)), header...)
	if a.err != nil {
		s.Fatalf("%s %s: %v", method, path, a.err)
	}
	return a
}

// askStream is ask with the body in chunks of HTTP, and no length.
func (s site) askStream(method, path string, body []byte, header ...string) answer {
	s.Helper()
	a := s.client.send(s.Context(), method, path, io.MultiReader(bytes.NewReader(body)), -1, header...)
	if a.err != nil {
		s.Fatalf("%s %s: %v", method, path, a.err)
	}
	return a
}

// accepted fails the test unless the answer has the status.
func (s site) accepted(what string, a answer, status int) answer {
	s.Helper()
	if a.err != nil || a.status != status {
		s.Fatalf("%s: status %d, %v: %.300s; want %d", what, a.status, a.err, a.body, status)
	}
	return a
}

// refused fails the test unless the answer is one error of that code.
func (s site) refused(what string, a answer, status int, code string) {
	s.Helper()
	if a.err != nil || a.status != status || a.code() != code {
		s.Errorf("%s: status %d, %v: %.300s; want %d %s", what, a.status, a.err, a.body, status, code)
	}
}

// code is the code of an answer with exactly one error.
func (a answer) code() string {
	var said struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &said) != nil || len(said.Errors) != 1 || said.Errors[0].Message == "" {
		return ""
	}
	return said.Errors[0].Code
}

// has fails the test unless the answer has these headers, given as name, value, name, value. An empty value is none.
func (s site) has(what string, a answer, headers ...string) {
	s.Helper()
	for i := 0; i+1 < len(headers); i += 2 {
		if got := a.header.Get(headers[i]); got != headers[i+1] {
			s.Errorf("%s: %s is %q, want %q", what, headers[i], got, headers[i+1])
		}
	}
}

// absent fails the test unless nothing is there.
func (s site) absent(paths ...string) {
	s.Helper()
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if a := s.ask(method, path, nil); a.status != http.StatusNotFound {
				s.Errorf("%s %s: status %d: %.100s; want 404", method, path, a.status, a.body)
			}
		}
	}
}

// keeps fails the test unless the content is at the path, by GET and HEAD, with this digest.
func (s site) keeps(path string, d digest.Digest, content []byte) {
	s.Helper()
	whole, head := s.client.get(path, fakehub.Bytes(content)), s.ask(http.MethodHead, path, nil)
	if err := whole.right(fakehub.Bytes(content)); err != nil {
		s.Errorf("GET %s: %v", path, err)
	}
	if head.status != http.StatusOK || head.n != 0 {
		s.Errorf("HEAD %s: status %d, %d bytes", path, head.status, head.n)
	}
	for _, a := range []answer{whole, head} {
		s.has(path, a, "Docker-Content-Digest", d.String(), "Content-Length", itoa(len(content)))
	}
}

func (s site) keepsBlob(repo string, d digest.Digest, content []byte) {
	s.Helper()
	s.keeps(blobPath(repo, d), d, content)
}

// begin starts an upload and gives its location.
func (s site) begin(repo, query string) string {
	s.Helper()
	return s.at(s.accepted("begin an upload", s.ask(http.MethodPost, uploadsPath(repo)+query, nil), http.StatusAccepted))
}

// at is where the answer says that an upload or content is.
func (s site) at(a answer) string {
	s.Helper()
	at, err := a.location()
	if err != nil {
		s.Fatal(err)
	}
	return at
}

// push pushes a blob in one request.
func (s site) push(repo string, content []byte) ocispec.Descriptor {
	s.Helper()
	return s.pushAs(digest.SHA256, repo, content)
}

func (s site) pushAs(alg digest.Algorithm, repo string, content []byte) ocispec.Descriptor {
	s.Helper()
	d := alg.FromBytes(content)
	s.accepted("push a blob", s.ask(http.MethodPost, withDigest(uploadsPath(repo), d), content), http.StatusCreated)
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(content))}
}

// put pushes a manifest.
func (s site) put(repo, ref string, m fakehub.Manifest) answer {
	s.Helper()
	return s.ask(http.MethodPut, manifestPath(repo, ref), m.Bytes, "Content-Type", m.MediaType)
}

// pushImage pushes an image of one layer, noise(seed, 100), by tag, or by its digest where ref has a colon.
func (s site) pushImage(repo, ref string, seed uint64) fakehub.Manifest {
	s.Helper()
	m := manifestOf(s.push(repo, []byte("{}")), s.push(repo, noise(seed, 100)))
	if strings.Contains(ref, ":") {
		ref = m.Digest.String()
	}
	s.accepted("push a manifest", s.put(repo, ref, m), http.StatusCreated)
	return m
}

// manifestOf is an image's manifest.
func manifestOf(config ocispec.Descriptor, layers ...ocispec.Descriptor) fakehub.Manifest {
	config.MediaType = ocispec.MediaTypeImageConfig
	for i := range layers {
		layers[i].MediaType = ocispec.MediaTypeImageLayer
	}
	return jsonManifest(ocispec.MediaTypeImageManifest, map[string]any{"config": config, "layers": append([]ocispec.Descriptor{}, layers...)})
}

// jsonManifest is a document of a media type with more fields.
func jsonManifest(mediaType string, fields map[string]any) fakehub.Manifest {
	doc := map[string]any{"schemaVersion": 2, "mediaType": mediaType}
	for name, value := range fields {
		doc[name] = value
	}
	b, err := json.MarshalIndent(doc, " ", "\t") // nobody else writes it so
	if err != nil {
		panic(err)
	}
	return fakehub.NewManifest(mediaType, b)
}

// noise is n bytes that depend on the seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	if _, err := fakehub.Random(seed, int64(n)).ReadAt(b, 0); err != nil && err != io.EOF {
		panic(err)
	}
	return b
}

// grownBy is how much more memory the server has taken since, at most. A race detector's is not counted.
func (s site) grownBy(since int64) int64 {
	if os.Getenv("E2E_RACE") != "" {
		return 0
	}
	return s.server.PeakRSS() - since
}

func itoa(n int) string { return strconv.Itoa(n) }

func uploadsPath(repo string) string { return "/v2/" + repo + "/blobs/uploads/" }
