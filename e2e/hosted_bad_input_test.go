package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestMalformedNamesDigestsAndUploads(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	hex, content := strings.Repeat("a", 64), []byte("hello")
	for _, d := range []string{"", "sha256", "sha256:", "sha256:abc", "sha256:" + strings.ToUpper(hex), "sha256:" + hex + "a", "sha512:" + hex,
		"sha1:" + hex[:40], "md5:" + hex[:32], "sha256-" + hex, "sha256:" + strings.Repeat("g", 64), "sha256:../" + hex[:61], "SHA256:" + hex} {
		s.refused("POST "+d, s.ask(http.MethodPost, uploadsPath("team/app")+"?digest="+d, content), http.StatusBadRequest, "DIGEST_INVALID")
		s.refused("PUT "+d, s.ask(http.MethodPut, s.begin("team/app", "")+"?digest="+d, content), http.StatusBadRequest, "DIGEST_INVALID")
		s.refused("mount "+d, s.ask(http.MethodPost, uploadsPath("team/app")+"?mount="+d, nil), http.StatusBadRequest, "DIGEST_INVALID")
		if !strings.Contains(d, ":") || strings.Contains(d, "/") {
			continue // it is a tag, or another path
		}
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			s.refused(method+" blob "+d, s.ask(method, "/v2/team/app/blobs/"+d, nil), http.StatusBadRequest, "DIGEST_INVALID")
			s.refused(method+" manifest "+d, s.ask(method, "/v2/team/app/manifests/"+d, nil), http.StatusBadRequest, "DIGEST_INVALID")
		}
		s.refused("PUT manifest "+d, s.ask(http.MethodPut, "/v2/team/app/manifests/"+d, []byte("{}")), http.StatusBadRequest, "DIGEST_INVALID")
	}
	s.refused("PUT without a digest", s.ask(http.MethodPut, s.begin("team/app", ""), content), http.StatusBadRequest, "DIGEST_INVALID")
	for _, alg := range []string{"", "md5", "SHA256", "sha384", "../x"} {
		s.refused("algorithm "+alg, s.ask(http.MethodPost, uploadsPath("team/app")+"?digest-algorithm="+alg, nil), http.StatusBadRequest, "DIGEST_INVALID")
	}
	for _, name := range []string{"Team/app", "team//app", "team/app_", "-team/app", "team/.app", "te..am", "team/___app", "team/a%2fb", "team/%2e%2e/app", "t\u00e9am", strings.Repeat("a", 256), "team/../app"} {
		s.refused("name "+name, s.ask(http.MethodPost, uploadsPath(name), nil), http.StatusBadRequest, "NAME_INVALID")
		s.refused("manifest of "+name, s.ask(http.MethodPut, manifestPath(name, "latest"), []byte("{}")), http.StatusBadRequest, "NAME_INVALID")
	}
	longest := "a/" + strings.Repeat("b", 253)
	s.keepsBlob(longest, s.push(longest, content).Digest, content)
	s.pushImage(longest, "latest", 1)
	for _, tag := range []string{".x", "-x", strings.Repeat("x", 129), "a@b", "a+b"} {
		s.refused("tag "+tag, s.ask(http.MethodPut, manifestPath("team/app", tag), []byte("{}")), http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	for _, id := range []string{"x", strings.Repeat("A", 26), "00000000-0000-0000-0000-000000000000", "..", "a.b", strings.Repeat("a", 200)} {
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
			s.refused(method+" upload "+id, s.ask(method, uploadsPath("team/app")+id, content), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		}
	}
}

// A PUT that is refused leaves the upload as it was.
func TestWrongDigestAtTheEnd(t *testing.T) { everywhere(t, wrongDigestAtTheEnd) }

func wrongDigestAtTheEnd(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 100_000)
	d := digest.FromBytes(content)
	for i, wrong := range []digest.Digest{digest.FromString("x"), digest.SHA512.FromString("x")} {
		repo := fmt.Sprintf("team/app-%d", i)
		at := s.chunks(s.begin(repo, ""), content[:1000], 1)
		s.refused("PUT", s.ask(http.MethodPut, withDigest(at, wrong), content[1000:]), http.StatusBadRequest, "DIGEST_INVALID")
		s.refused("PUT of nothing", s.ask(http.MethodPut, withDigest(at, wrong), nil), http.StatusBadRequest, "DIGEST_INVALID")
		s.refused("PUT of too little", s.ask(http.MethodPut, withDigest(at, d), content[1000:2000]), http.StatusBadRequest, "DIGEST_INVALID")
		s.refused("POST", s.ask(http.MethodPost, withDigest(uploadsPath(repo), wrong), content), http.StatusBadRequest, "DIGEST_INVALID")
		s.absent(blobPath(repo, wrong), blobPath(repo, d))
		s.has("status", s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent), "Range", "0-999")
		s.accepted("PUT of the right bytes", s.ask(http.MethodPut, withDigest(at, d), content[1000:]), http.StatusCreated)
		s.keepsBlob(repo, d, content)
	}
	for range 3 {
		s.collect()
	}
	if used := s.usage(); used > 1<<20 {
		t.Errorf("%d bytes are left of what was refused", used)
	}
}

// broken is a request over its own connection whose body ends before its end.
type broken struct {
	method, path, header string
	body                 []byte
	reset                bool // RST instead of FIN
}

// send gives the status that came, or 0.
func (c broken) send(s site) int {
	s.Helper()
	addr := s.addr()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		s.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\n%s\r\n", c.method, c.path, addr, ocispec.MediaTypeImageManifest, c.header)
	conn.Write(c.body)
	if c.reset {
		time.Sleep(50 * time.Millisecond) // the server has begun to read it
		conn.(*net.TCPConn).SetLinger(0)
		return 0
	}
	conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// inChunks is a body of two chunks of HTTP without the one that ends it.
func inChunks(b []byte) []byte {
	half := len(b) / 2
	return fmt.Appendf(nil, "%x\r\n%s\r\n%x\r\n%s\r\n", half, b[:half], len(b)-half, b[half:])
}

// The part that came has a digest of its own: that the body is not whole must not be found by the digest alone.
func TestBodyIsCut(t *testing.T) { everywhere(t, bodyIsCut) }

func bodyIsCut(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	chunked := "Transfer-Encoding: chunked\r\n"
	for _, size := range []int{10, 50_000, 2_000_000} {
		whole := noise(uint64(size), 2*size)
		part := whole[:size]
		length := fmt.Sprintf("Content-Length: %d\r\n", len(whole))
		for name, q := range map[string]struct {
			header string
			body   []byte
			reset  bool
		}{
			"with a length":                    {length, part, false},
			"with a length, reset":             {length, part, true},
			"in chunks, at the end of a chunk": {chunked, inChunks(part), false},
			"in chunks, within a chunk":        {chunked, fmt.Appendf(nil, "%x\r\n%s", size+100, part), false},
			"in chunks, before its data":       {chunked, append(inChunks(part), "100\r\n"...), false},
			"in chunks, in the last one":       {chunked, append(inChunks(part), "0\r\n"...), false},
			"in chunks, reset":                 {chunked, inChunks(part), true},
		} {
			t.Run(fmt.Sprintf("%s after %d bytes", name, size), func(t *testing.T) {
				s, repo := s.in(t), fmt.Sprintf("team/%s-%d", slug(name), size)
				d := digest.FromBytes(part)
				send := func(method, path string) {
					t.Helper()
					if status := (broken{method, path, q.header, q.body, q.reset}).send(s); status/100 == 2 || status/100 == 5 {
						t.Errorf("%s %s: status %d", method, path, status)
					}
				}
				send(http.MethodPost, withDigest(uploadsPath(repo), d))
				at := s.chunks(s.begin(repo, ""), part[:5], 1)
				send(http.MethodPatch, at)
				send(http.MethodPut, withDigest(s.begin(repo, ""), d))
				s.absent(blobPath(repo, d))
				s.has("status", s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent), "Range", "0-4")
				s.accepted("the rest", s.ask(http.MethodPut, withDigest(at, d), part[5:]), http.StatusCreated)
				s.keepsBlob(repo, d, part)
			})
		}
	}
}

// The part that comes of these manifests is a manifest as well.
func TestManifestIsCut(t *testing.T) { everywhere(t, manifestIsCut) }

func manifestIsCut(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m := manifestOf(s.push("team/app", []byte("{}")))
	length, chunked := fmt.Sprintf("Content-Length: %d\r\n", m.Size+1), "Transfer-Encoding: chunked\r\n"
	for _, q := range []broken{
		{header: length, body: m.Bytes},
		{header: chunked, body: inChunks(m.Bytes)},
		{header: chunked, body: append(inChunks(m.Bytes), "0\r\n"...)},
	} {
		for _, ref := range []string{"latest", m.Digest.String(), m.Digest.String() + "?tag=latest"} {
			q.method, q.path = http.MethodPut, manifestPath("team/app", ref)
			if status := q.send(s); status/100 == 2 || status/100 == 5 {
				t.Errorf("%s of %q: status %d", ref, q.header, status)
			}
		}
	}
	s.absent(manifestPath("team/app", "latest"), manifestPath("team/app", m.Digest.String()))
}

func TestBodyLongerThanAnnounced(t *testing.T) { everywhere(t, bodyLongerThanAnnounced) }

func bodyLongerThanAnnounced(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 1000)
	for name, q := range map[string]struct {
		header string
		body   []byte
	}{
		"more than Content-Length":                    {"Content-Length: 100\r\nContent-Range: 0-99\r\n", content},
		"more than Content-Range":                     {"Content-Length: 1000\r\nContent-Range: 0-99\r\n", content},
		"more chunks of HTTP than Content-Range says": {"Transfer-Encoding: chunked\r\nContent-Range: 0-99\r\n", append(inChunks(content), "0\r\n\r\n"...)},
		"less than Content-Range":                     {"Transfer-Encoding: chunked\r\nContent-Range: 0-9999\r\n", append(inChunks(content), "0\r\n\r\n"...)},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			at := s.begin("team/"+slug(name), "")
			status := broken{http.MethodPatch, at, q.header, q.body, false}.send(s)
			end := "0-0"
			if name == "more than Content-Length" { // what follows is no request
				end = "0-99"
				if status != http.StatusAccepted {
					t.Errorf("status %d", status)
				}
			} else if status != http.StatusBadRequest {
				t.Errorf("status %d", status)
			}
			s.has("status", s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent), "Range", end)
		})
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHugeManifest(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	before := s.server.RSS()
	for _, size := range []int64{100 << 20, -1} {
		for range 5 {
			began := time.Now()
			body := io.LimitReader(zeros{}, 100<<20)
			a := s.client.send(s.Context(), http.MethodPut, manifestPath("team/app", "latest"), body, size, "Content-Type", ocispec.MediaTypeImageManifest)
			s.refused("a manifest of 100 MiB", a, http.StatusRequestEntityTooLarge, "MANIFEST_INVALID")
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the answer took %v", took)
			}
		}
	}
	if grown := s.grownBy(before); grown > 48<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	s.absent(manifestPath("team/app", "latest"))
}

func TestRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	s := newRegistry(t, "READ_ONLY", "true")
	for range 10 { // the answer comes although nobody reads the body
		body := io.LimitReader(zeros{}, 20<<20)
		a := s.client.send(s.Context(), http.MethodPost, withDigest(uploadsPath("team/app"), digest.FromString("x")), body, 20<<20)
		s.refused("an upload", a, http.StatusMethodNotAllowed, "UNSUPPORTED")
	}
}

func TestPushedBodiesTakeNoMemory(t *testing.T) { everywhere(t, pushedBodiesTakeNoMemory) }

func pushedBodiesTakeNoMemory(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 1<<20)
	before := s.server.RSS()
	body := func() io.Reader {
		parts := make([]io.Reader, 64)
		for i := range parts {
			parts[i] = bytes.NewReader(content)
		}
		return io.MultiReader(parts...)
	}
	d, err := digest.FromReader(body())
	if err != nil {
		t.Fatal(err)
	}
	a := s.client.send(s.Context(), http.MethodPatch, s.begin("team/app", ""), body(), -1)
	s.accepted("PATCH", a, http.StatusAccepted)
	s.accepted("PUT", s.ask(http.MethodPut, withDigest(s.at(a), d), nil), http.StatusCreated)
	if grown := s.grownBy(before); grown > 32<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if head := s.ask(http.MethodHead, blobPath("team/app", d), nil); head.header.Get("Content-Length") != itoa(64<<20) {
		t.Errorf("Content-Length %q", head.header.Get("Content-Length"))
	}
}

func TestMethodsOfEveryPath(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	m := s.pushImage("team/app", "latest", 1)
	at := s.begin("team/app", "")
	for path, allow := range map[string]string{
		uploadsPath("team/app"):            "POST",
		at:                                 "PATCH, PUT, DELETE, GET, HEAD",
		manifestPath("team/app", "latest"): "GET, HEAD, PUT, DELETE",
		blobPath("team/app", digest.FromBytes(noise(1, 100))): "GET, HEAD, DELETE",
		"/v2/team/app/tags/list":                              "GET, HEAD",
		"/v2/team/app/referrers/" + m.Digest.String():         "GET, HEAD",
		"/v2/_catalog": "GET, HEAD",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, "COPY"} {
			if strings.Contains(allow+",", method+",") {
				continue
			}
			a := s.ask(method, path, nil)
			s.refused(method+" "+path, a, http.StatusMethodNotAllowed, "UNSUPPORTED")
			s.has(method+" "+path, a, "Allow", allow)
		}
	}
}
