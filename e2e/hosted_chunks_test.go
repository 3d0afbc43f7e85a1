package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/opencontainers/go-digest"
)

func TestChunkOutOfOrder(t *testing.T) { everywhere(t, chunkOutOfOrder) }

func chunkOutOfOrder(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 3000)
	d := digest.FromBytes(content)
	for name, q := range map[string]struct{ have, from, to int }{
		"the first one begins later":     {0, 1, 1000},
		"a gap":                          {1000, 1001, 2000},
		"a gap of a chunk":               {1000, 2000, 3000},
		"the same chunk again":           {1000, 0, 1000},
		"it overlaps the one before":     {1000, 999, 2000},
		"all from the beginning":         {1000, 0, 3000},
		"beyond what a blob can have":    {1000, 1 << 60, 1<<60 + 1000},
		"after the end of a whole blob":  {3000, 3001, 3002},
		"the last byte of a whole again": {3000, 2999, 3000},
	} {
		for _, method := range []string{http.MethodPatch, http.MethodPut} {
			t.Run(name+" by "+method, func(t *testing.T) {
				s := s.in(t)
				at := s.chunks(s.begin("team/"+slug(name+method), ""), content[:q.have], 1)
				body := make([]byte, q.to-q.from)
				path := at
				if method == http.MethodPut {
					path = withDigest(at, d)
				}
				a := s.ask(method, path, body, "Content-Range", span(q.from, q.to))
				s.refused("the chunk", a, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
				s.has("the chunk", a, "Range", span(0, max(q.have, 1)), "Content-Range", "")
				status := s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent)
				s.has("status", status, "Range", span(0, max(q.have, 1)))
				a = s.ask(http.MethodPut, withDigest(s.at(status), d), content[q.have:])
				s.accepted("the rest", a, http.StatusCreated)
				s.keepsBlob("team/"+slug(name+method), d, content)
			})
		}
	}
}

func TestMalformedContentRange(t *testing.T) { everywhere(t, malformedContentRange) }

func malformedContentRange(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 100)
	at := s.chunks(s.begin("team/app", ""), content[:10], 1)
	for _, header := range []string{"x", "-", "10-", "-19", "19-10", "10-19-20", "10 - 19", "+10-19", "10-0x13", "bytes=10-19", "10-99999999999999999999", "10,19"} {
		a := s.ask(http.MethodPatch, at, content[10:20], "Content-Range", header)
		s.refused(header, a, http.StatusBadRequest, "BLOB_UPLOAD_INVALID")
	}
	for _, header := range []string{"10-18", "10-20", "10-10", "10-1000000"} {
		s.refused(header, s.ask(http.MethodPatch, at, content[10:20], "Content-Range", header), http.StatusBadRequest, "SIZE_INVALID")
		s.refused(header+" without a length", s.askStream(http.MethodPatch, at, content[10:20], "Content-Range", header), http.StatusBadRequest, "SIZE_INVALID")
	}
	s.has("status", s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent), "Range", "0-9")
	for _, header := range []string{"bytes 10-19", "bytes 10-19/100", "bytes 10-19/*"} { // as HTTP spells it
		to := map[string]int{"bytes 10-19": 10, "bytes 10-19/100": 20, "bytes 10-19/*": 30}[header]
		a := s.ask(http.MethodPatch, at, content[to:to+10], "Content-Range", strings.Replace(header, "10-19", span(to, to+10), 1))
		s.accepted(header, a, http.StatusAccepted)
	}
	d := digest.FromBytes(content)
	s.accepted("the rest", s.ask(http.MethodPut, withDigest(at, d), content[40:]), http.StatusCreated)
	s.keepsBlob("team/app", d, content)
}

// Both have sent half of their chunk before either sends the rest.
func TestTwoRacingChunks(t *testing.T) { everywhere(t, twoRacingChunks) }

func twoRacingChunks(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for round := range 20 {
		repo := fmt.Sprintf("team/app-%d", round)
		head := noise(uint64(round), 1000)
		at := s.chunks(s.begin(repo, ""), head, 1)
		tails := [][]byte{noise(uint64(1000+round), 40_000), noise(uint64(2000+round), 40_000)}
		statuses := s.race(at, tails)
		won := -1
		for i, status := range statuses {
			if status == http.StatusAccepted {
				won = i
			}
		}
		if statuses[0]+statuses[1] != http.StatusAccepted+http.StatusRequestedRangeNotSatisfiable {
			t.Fatalf("the answers are %v; want one 202 and one 416", statuses)
		}
		content := append(head, tails[won]...)
		status := s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent)
		s.has("status", status, "Range", span(0, len(content)))
		d := digest.FromBytes(content)
		s.accepted("commit", s.ask(http.MethodPut, withDigest(at, d), nil), http.StatusCreated)
		s.keepsBlob(repo, d, content)
	}
}

// race sends both as the chunk after the first 1000 bytes.
func (s site) race(at string, tails [][]byte) [2]int {
	var statuses [2]int
	var group errgroup.Group
	var writers [2]*io.PipeWriter
	for i, tail := range tails {
		r, w := io.Pipe()
		writers[i] = w
		group.Go(func() error {
			a := s.client.send(s.Context(), http.MethodPatch, at, r, int64(len(tail)), "Content-Range", span(1000, 1000+len(tail)))
			statuses[i] = a.status
			r.Close() // an early answer leaves the writer alone
			return a.err
		})
	}
	for _, half := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)/2] }, func(b []byte) []byte { return b[len(b)/2:] },
	} {
		for i, tail := range tails {
			io.Copy(writers[i], bytes.NewReader(half(tail))) // fails where the answer came early
		}
	}
	for _, w := range writers {
		w.Close()
	}
	if err := group.Wait(); err != nil {
		s.Fatal(err)
	}
	return statuses
}

func TestManySmallChunksAreOneBlob(t *testing.T) { everywhere(t, manySmallChunksAreOneBlob) }

func manySmallChunksAreOneBlob(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 200_000)
	d := digest.SHA512.FromBytes(content)
	chunks := 300
	if s.bucket != nil { // where each of them takes a dozen requests
		chunks = 60
	}
	at := s.chunks(s.begin("team/app", "?digest-algorithm=sha512"), content, chunks)
	s.accepted("commit", s.ask(http.MethodPut, withDigest(at, d), nil), http.StatusCreated)
	s.keepsBlob("team/app", d, content)
}
