package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// span is a Content-Range of an upload.
func span(from, to int) string { return fmt.Sprintf("%d-%d", from, to-1) }

// way is one of the ways to push a blob. It ends with the answer to the request that ends the push.
type way struct {
	name  string
	empty bool // it works for a blob without a byte
	push  func(s site, repo, query string, d digest.Digest, content []byte) answer
}

// ways are all that the specification has, and those of clients. query is what the upload is begun with.
func ways() []way {
	return []way{
		{"POST", true, func(s site, repo, _ string, d digest.Digest, content []byte) answer {
			return s.ask(http.MethodPost, withDigest(uploadsPath(repo), d), content)
		}},
		{"POST without a length", true, func(s site, repo, _ string, d digest.Digest, content []byte) answer {
			return s.askStream(http.MethodPost, withDigest(uploadsPath(repo), d), content)
		}},
		{"POST, PUT", true, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			return s.ask(http.MethodPut, withDigest(s.begin(repo, query), d), content)
		}},
		{"POST, PUT without a length", true, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			return s.askStream(http.MethodPut, withDigest(s.begin(repo, query), d), content)
		}},
		{"POST, PATCH without a length, PUT", true, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			a := s.accepted("PATCH", s.askStream(http.MethodPatch, s.begin(repo, query), content), http.StatusAccepted)
			s.has("PATCH", a, "Range", span(0, max(len(content), 1)))
			return s.ask(http.MethodPut, withDigest(s.at(a), d), nil)
		}},
		{"POST, PATCH, PUT", true, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			a := s.accepted("PATCH", s.ask(http.MethodPatch, s.begin(repo, query), content), http.StatusAccepted)
			return s.ask(http.MethodPut, withDigest(s.at(a), d), nil)
		}},
		{"POST, PATCH of all with a range, PUT", false, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			at := s.chunks(s.begin(repo, query), content, 1)
			return s.ask(http.MethodPut, withDigest(at, d), nil)
		}},
		{"POST, PATCH by chunks, PUT", false, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			at := s.chunks(s.begin(repo, query), content, 7)
			return s.ask(http.MethodPut, withDigest(at, d), nil)
		}},
		{"POST, PATCH by chunks, PUT of the last", false, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			cut := len(content) * 2 / 3
			at := s.chunks(s.begin(repo, query), content[:cut], 2)
			return s.ask(http.MethodPut, withDigest(at, d), content[cut:], "Content-Range", span(cut, len(content)))
		}},
		{"POST, PATCH, PUT of the last without a range", false, func(s site, repo, query string, d digest.Digest, content []byte) answer {
			cut := len(content) / 3
			a := s.accepted("PATCH", s.askStream(http.MethodPatch, s.begin(repo, query), content[:cut]), http.StatusAccepted)
			return s.askStream(http.MethodPut, withDigest(s.at(a), d), content[cut:])
		}},
	}
}

// chunks sends content in so many chunks with ranges, and gives where the upload goes on.
func (s site) chunks(at string, content []byte, n int) string {
	s.Helper()
	step := max((len(content)+n-1)/n, 1)
	for from := 0; from < len(content); from += step {
		to := min(from+step, len(content))
		a := s.ask(http.MethodPatch, at, content[from:to], "Content-Range", span(from, to), "Content-Type", "application/octet-stream")
		s.accepted("a chunk", a, http.StatusAccepted)
		s.has("a chunk", a, "Range", span(0, to))
		at = s.at(a)
	}
	return at
}

func TestWaysToPushABlob(t *testing.T) { everywhere(t, waysToPushABlob) }

func waysToPushABlob(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for i, w := range ways() {
		for j, size := range []int{0, 1, 100_000} {
			if size == 0 && !w.empty {
				continue
			}
			for _, q := range []struct {
				alg   digest.Algorithm
				query string
			}{
				{digest.SHA256, ""},
				{digest.SHA512, "?digest-algorithm=sha512"},
				{digest.SHA512, ""},                         // it is told only at the end
				{digest.SHA256, "?digest-algorithm=sha512"}, // and differs
			} {
				t.Run(fmt.Sprintf("%s of %d bytes as %s %s", w.name, size, q.alg, q.query), func(t *testing.T) {
					s := s.in(t)
					content := noise(uint64(100*i+10*j), size)
					d := q.alg.FromBytes(content)
					repo := fmt.Sprintf("team/way-%d-%d%s", i, j, strings.TrimPrefix(q.query, "?digest-algorithm="))
					a := s.accepted("push", w.push(s, repo, q.query, d, content), http.StatusCreated)
					s.has("push", a, "Docker-Content-Digest", d.String())
					if got := s.at(a); got != blobPath(repo, d) {
						t.Errorf("Location %q", got)
					}
					s.keepsBlob(repo, d, content)
				})
			}
		}
	}
}

func TestBlobIsPushedAgain(t *testing.T) { everywhere(t, blobIsPushedAgain) }

func blobIsPushedAgain(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 50_000)
	d := s.push("team/app", content).Digest
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			s := s.in(t)
			s.accepted("push", w.push(s, "team/app", "", d, content), http.StatusCreated)
			s.accepted("push elsewhere", w.push(s, "team/"+slug(w.name), "", d, content), http.StatusCreated)
			s.keepsBlob("team/"+slug(w.name), d, content)
			wrong := noise(2, 50_000)
			s.refused("other bytes", w.push(s, "team/other", "", d, wrong), http.StatusBadRequest, "DIGEST_INVALID")
			s.absent(blobPath("team/other", d))
		})
	}
	s.keepsBlob("team/app", d, content)
}

func slug(s string) string {
	return strings.ToLower(strings.NewReplacer(" ", "-", ",", "").Replace(s))
}

func TestUploadIsOverOnce(t *testing.T) { everywhere(t, uploadIsOverOnce) }

func uploadIsOverOnce(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 1000)
	d := digest.FromBytes(content)
	for name, end := range map[string]func(s site, at string) answer{
		"committed": func(s site, at string) answer { return s.ask(http.MethodPut, withDigest(at, d), content) },
		"cancelled": func(s site, at string) answer { return s.ask(http.MethodDelete, at, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			at := s.begin("team/"+name, "")
			s.has("status", s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent), "Range", "0-0")
			status := http.StatusCreated
			if name == "cancelled" {
				s.chunks(at, content[:300], 1)
				status = http.StatusNoContent
			}
			s.accepted("end", end(s, at), status)
			for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
				s.refused(method, s.ask(method, at, nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
			}
			s.refused("PUT", s.ask(http.MethodPut, withDigest(at, digest.FromString("x")), nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		})
	}
	s.absent(blobPath("team/cancelled", d))
	s.keepsBlob("team/committed", d, content)
}

// The answer to the first may have been lost.
func TestCommitIsSentAgain(t *testing.T) { everywhere(t, commitIsSentAgain) }

func commitIsSentAgain(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 1000)
	d := digest.FromBytes(content)
	at := s.chunks(s.begin("team/app", ""), content[:900], 1)
	for range 3 {
		a := s.ask(http.MethodPut, withDigest(at, d), content[900:], "Content-Range", span(900, 1000))
		s.has("PUT", s.accepted("PUT", a, http.StatusCreated), "Location", blobPath("team/app", d), "Docker-Content-Digest", d.String())
	}
	s.keepsBlob("team/app", d, content)
	other := strings.Replace(at, "team/app", "team/other", 1)
	s.refused("elsewhere", s.ask(http.MethodPut, withDigest(other, d), content[900:]), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	s.absent(blobPath("team/other", d))
	s.remove(blobPath("team/app", d))
	s.refused("after it was deleted", s.ask(http.MethodPut, withDigest(at, d), content[900:]), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	s.absent(blobPath("team/app", d))
}

func TestUploadBelongsToItsRepository(t *testing.T) { everywhere(t, uploadBelongsToItsRepository) }

func uploadBelongsToItsRepository(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	at := s.begin("team/app", "")
	other := strings.Replace(at, "team/app", "team/other", 1)
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		s.refused(method, s.ask(method, other, nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent)
}

func TestRangesOfAPushedBlob(t *testing.T) { everywhere(t, rangesOfAPushedBlob) }

func rangesOfAPushedBlob(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 2048)
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		whole, parts := "team/whole", "team/parts" // one part on disk, and five
		d := s.pushAs(alg, whole, content).Digest
		at := s.chunks(s.begin(parts, "?digest-algorithm="+alg.String()), noise(2, 2048), 5)
		s.accepted("push by chunks", s.ask(http.MethodPut, withDigest(at, alg.FromBytes(noise(2, 2048))), nil), http.StatusCreated)
		s.wantRanges(blobPath(whole, d), content)
		s.wantRanges(blobPath(parts, alg.FromBytes(noise(2, 2048))), noise(2, 2048))
	}
}

func (s site) wantRanges(path string, content []byte) {
	s.Helper()
	for _, q := range []struct {
		ask      string
		from, to int // of the 206; to 0: 416; to -1: 200
	}{
		{"bytes=500-1499", 500, 1500},
		{"bytes=500-", 500, 2048},
		{"bytes=-500", 1548, 2048},
		{"bytes=2000-5000", 2000, 2048},
		{"bytes=0-0", 0, 1},
		{"bytes=0-2047", 0, 2048},
		{"bytes=-5000", 0, 2048},
		{"bytes=409-1230", 409, 1231},
		{"bytes=x-y", 0, -1},
		{"items=0-9", 0, -1},
		{"bytes=500-0", 0, 0},
		{"bytes=5000-10000", 0, 0},
		{"bytes=2048-", 0, 0},
	} {
		a := s.ask(http.MethodGet, path, nil, "Range", q.ask)
		switch {
		case q.to == 0:
			s.refused(q.ask, a, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID")
			s.has(q.ask, a, "Content-Range", "bytes */2048")
		case q.to < 0:
			if a.status != http.StatusOK || string(a.body) != string(content) {
				s.Errorf("%s: status %d, %d bytes; want all", q.ask, a.status, a.n)
			}
		case a.status != http.StatusPartialContent || string(a.body) != string(content[q.from:q.to]):
			s.Errorf("%s: status %d, %d bytes", q.ask, a.status, a.n)
		default:
			s.has(q.ask, a, "Content-Range", fmt.Sprintf("bytes %d-%d/2048", q.from, q.to-1), "Content-Length", itoa(q.to-q.from))
		}
	}
}
