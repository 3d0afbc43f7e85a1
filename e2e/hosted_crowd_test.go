package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Build tools upload one digest several times at once.
func TestOneBlobIsPushedByManyAtOnce(t *testing.T) { everywhere(t, oneBlobIsPushedByManyAtOnce) }

func oneBlobIsPushedByManyAtOnce(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for round := range 5 {
		content := noise(uint64(round), 200_000)
		d := digest.FromBytes(content)
		repo := fmt.Sprintf("team/app-%d", round)
		var group errgroup.Group
		for i := range 12 {
			to := repo
			if i%3 == 0 {
				to += "-too"
			}
			at := s.begin(to, "")
			group.Go(func() error {
				a := s.client.send(s.Context(), http.MethodPatch, at, bytes.NewReader(content), -1)
				if a.err == nil && a.status == http.StatusAccepted {
					a = s.client.send(s.Context(), http.MethodPut, withDigest(at, d), nil, 0)
				}
				if a.err != nil || a.status != http.StatusCreated {
					return fmt.Errorf("status %d, %v: %.200s", a.status, a.err, a.body)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		s.keepsBlob(repo, d, content)
		s.keepsBlob(repo+"-too", d, content)
	}
	if used := s.usage(); used > 5*250_000 {
		t.Errorf("5 blobs of 200,000 bytes take %d", used)
	}
}

// Whoever is told 201 has a blob; the others are told that the upload is over, or that it has moved on.
func TestOneUploadIsCommittedByManyAtOnce(t *testing.T) {
	everywhere(t, oneUploadIsCommittedByManyAtOnce)
}

func oneUploadIsCommittedByManyAtOnce(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for round := range 10 {
		content := noise(uint64(round), 50_000)
		d := digest.FromBytes(content)
		repo := fmt.Sprintf("team/app-%d", round)
		at := s.chunks(s.begin(repo, ""), content, 2)
		answers := make([]answer, 6)
		var group errgroup.Group
		for i := range answers {
			group.Go(func() error {
				answers[i] = s.client.send(s.Context(), http.MethodPut, withDigest(at, d), nil, 0)
				return answers[i].err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		created := 0
		for _, a := range answers {
			switch a.status {
			case http.StatusCreated:
				created++
			case http.StatusNotFound, http.StatusServiceUnavailable, http.StatusRequestedRangeNotSatisfiable:
			default:
				t.Errorf("status %d: %.200s", a.status, a.body)
			}
		}
		if created == 0 {
			t.Error("nobody was told 201")
		}
		s.keepsBlob(repo, d, content)
		s.refused("the upload", s.ask(http.MethodGet, at, nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
}

func TestUploadIsCancelledWithinAChunk(t *testing.T) { everywhere(t, uploadIsCancelledWithinAChunk) }

func uploadIsCancelledWithinAChunk(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 2_000_000)
	at := s.chunks(s.begin("team/app", ""), content[:1000], 1)
	r, w := io.Pipe()
	done := make(chan answer, 1)
	go func() { // ends with its body
		done <- s.client.send(s.Context(), http.MethodPatch, at, r, -1)
	}()
	if _, err := w.Write(content[1000:1_500_000]); err != nil {
		t.Fatal(err)
	}
	s.accepted("cancel", s.ask(http.MethodDelete, at, nil), http.StatusNoContent)
	w.Write(content[1_500_000:]) // fails where the answer came early
	w.Close()
	s.refused("the chunk", <-done, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	s.absent(blobPath("team/app", digest.FromBytes(content)))
	s.eventually(10*time.Second, "nothing is left of it", func() bool { return s.usage() < 100_000 })
}

// unread is a body that nobody may ask for.
type unread struct{ *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.Error("the client was told to send its body")
	return 0, io.ErrUnexpectedEOF
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	s.client.transport().ExpectContinueTimeout = 20 * time.Second
	content := noise(1, 300_000)
	d := digest.FromBytes(content)
	a := s.ask(http.MethodPost, withDigest(uploadsPath("team/app"), d), content, "Expect", "100-continue")
	s.accepted("a push", a, http.StatusCreated)
	s.keepsBlob("team/app", d, content)
	for name, q := range map[string]struct {
		method, path string
		size         int64
		status       int
		code         string
	}{
		"a malformed name":        {http.MethodPost, withDigest(uploadsPath("Team"), d), 100, 400, "NAME_INVALID"},
		"a wrong method":          {http.MethodPut, blobPath("team/app", d), 100, 405, "UNSUPPORTED"},
		"a manifest of 100 MiB":   {http.MethodPut, manifestPath("team/app", "latest"), 100 << 20, 413, "MANIFEST_INVALID"},
		"a name that is nobody's": {http.MethodPut, manifestPath("evil.example/app", "latest"), 100, 403, "DENIED"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.client.send(t.Context(), q.method, q.path, unread{t}, q.size, "Expect", "100-continue")
			s.in(t).refused("refused", a, q.status, q.code)
		})
	}
}

func TestNothingIsCompressed(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	m := s.pushImage("team/app", "latest", 1)
	content := bytes.Repeat([]byte("compressible "), 10_000)
	d := s.push("team/app", content).Digest
	for path, want := range map[string][]byte{blobPath("team/app", d): content, manifestPath("team/app", "latest"): m.Bytes} {
		a := s.ask(http.MethodGet, path, nil, "Accept-Encoding", "zstd, gzip, deflate")
		s.has(path, a, "Content-Encoding", "", "Content-Length", itoa(len(want)))
		if !bytes.Equal(a.body, want) {
			t.Errorf("%s: %d other bytes", path, len(a.body))
		}
	}
}

// A list that does not fit into one manifest comes in pages, asked for or not.
func TestReferrersWithLongAnnotations(t *testing.T) { everywhere(t, referrersWithLongAnnotations) }

func referrersWithLongAnnotations(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	empty := s.emptyJSON("team/app")
	subject := digest.FromString("nobody has it")
	const count = 12
	for i := range count {
		m := jsonManifest(ocispec.MediaTypeImageManifest, map[string]any{
			"config": empty, "layers": []ocispec.Descriptor{empty}, "artifactType": exampleType,
			"subject":     ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: subject, Size: 10},
			"annotations": map[string]string{"n": itoa(i), "pad": strings.Repeat("x", 900_000)},
		})
		s.accepted("push", s.put("team/app", m.Digest.String(), m), http.StatusCreated)
	}
	for _, query := range []string{"", "?n=1000", "?artifactType=application/vnd.example.thing.v1%2Bjson"} {
		found, pages := map[digest.Digest]bool{}, 0
		for next := "/v2/team/app/referrers/" + subject.String() + query; next != ""; pages++ {
			var index ocispec.Index
			next = s.longPage(next, &index)
			for _, d := range index.Manifests {
				found[d.Digest] = len(d.Annotations["pad"]) == 900_000
			}
		}
		if len(found) != count || slices.Contains(slices.Collect(maps.Values(found)), false) || pages < 3 {
			t.Errorf("%q: %v in %d pages", query, found, pages)
		}
	}
}

// longPage reads a page that is longer than what an answer keeps, and gives the path of the next one.
func (s site) longPage(path string, index *ocispec.Index) (next string) {
	s.Helper()
	resp, err := s.client.http.Get(s.client.base + path)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(index); err != nil || resp.ContentLength > 4<<20 {
		s.Fatalf("%s: status %d, %d bytes, %v", path, resp.StatusCode, resp.ContentLength, err)
	}
	return answer{header: resp.Header}.next()
}
