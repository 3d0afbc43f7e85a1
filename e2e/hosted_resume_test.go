package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// ends are the ways in which a server goes away.
var ends = map[string]func(*server.Server){
	"stop": func(s *server.Server) { s.Stop() },
	"kill": (*server.Server).Kill,
}

func TestUploadGoesOnAfterARestart(t *testing.T) { everywhere(t, uploadGoesOnAfterARestart) }

func uploadGoesOnAfterARestart(t *testing.T, newRegistry hosting) {
	t.Parallel()
	for name, end := range ends {
		for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			t.Run(name+" "+alg.String(), func(t *testing.T) {
				t.Parallel()
				s := newRegistry(t)
				content := noise(1, 300_001)
				d := alg.FromBytes(content)
				at := s.begin("team/app", "?digest-algorithm="+alg.String())
				for from := 0; from < len(content); { // a restart after each chunk
					to := min(from+100_000, len(content))
					s.accepted("chunk", s.ask(http.MethodPatch, at, content[from:to], "Content-Range", span(from, to)), http.StatusAccepted)
					s.restart(end)
					a := s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent)
					s.has("status", a, "Range", span(0, to))
					s.refused("the chunk again", s.ask(http.MethodPatch, at, content[from:to], "Content-Range", span(from, to)), http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
					from, at = uploaded(a), s.at(a)
				}
				s.accepted("commit", s.ask(http.MethodPut, withDigest(at, d), nil), http.StatusCreated)
				s.restart(end)
				s.keepsBlob("team/app", d, content)
			})
		}
	}
}

// uploaded is how many bytes an answer says that the upload has. A Range of 0-0 may be none.
func uploaded(a answer) int {
	var last int
	fmt.Sscanf(a.header.Get("Range"), "0-%d", &last)
	return last + 1
}

// What status names is what the server has; what it was about to get may be lost, and is sent again.
func TestKillWithinAChunk(t *testing.T) { everywhere(t, killWithinAChunk) }

func killWithinAChunk(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	content := noise(1, 3_000_000)
	d := digest.FromBytes(content)
	at := s.chunks(s.begin("team/app", ""), content[:1_000_000], 1)
	r, w := io.Pipe()
	done := make(chan answer, 1)
	go func() { // ends with the server
		done <- s.client.send(s.Context(), http.MethodPatch, at, r, 2_000_000, "Content-Range", span(1_000_000, 3_000_000))
	}()
	if _, err := w.Write(content[1_000_000:2_500_000]); err != nil {
		t.Fatal(err)
	}
	s.each((*server.Server).Kill)
	w.CloseWithError(io.ErrUnexpectedEOF) // the client waits for its body even now
	if a := <-done; a.status/100 == 2 {
		t.Errorf("half a chunk was answered by %d", a.status)
	}
	s.each((*server.Server).Start)
	a := s.accepted("status", s.ask(http.MethodGet, at, nil), http.StatusNoContent)
	s.has("status", a, "Range", span(0, 1_000_000))
	s.absent(blobPath("team/app", d))
	s.accepted("the rest", s.ask(http.MethodPut, withDigest(s.at(a), d), content[uploaded(a):], "Content-Range", span(uploaded(a), len(content))), http.StatusCreated)
	s.keepsBlob("team/app", d, content)
	for range 3 {
		s.collect()
	}
	if used := s.usage(); used > 1<<20 {
		t.Errorf("%d bytes are left of a part that nothing names, or of a blob that no manifest names", used)
	}
}

func TestRestartKeepsEverything(t *testing.T) { everywhere(t, restartKeepsEverything) }

func restartKeepsEverything(t *testing.T, newRegistry hosting) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRegistry(t)
			img := fakehub.NewImage(fakehub.Spec{Layers: []int64{3 << 20, 1000}, Algorithm: digest.SHA512})
			for _, b := range img.Blobs() {
				if err := s.client.pushBlob(s.Context(), "team/app", b); err != nil {
					t.Fatal(err)
				}
			}
			s.accepted("push", s.put("team/app", img.Manifest.Digest.String()+"?tag=512", img.Manifest), http.StatusCreated)
			m := s.pushImage("team/app", "latest", 1)
			artifact := fakehub.NewArtifact(m.Descriptor, exampleType, []byte("signed"))
			for _, b := range artifact.Blobs() {
				if err := s.client.pushBlob(s.Context(), "team/app", b); err != nil {
					t.Fatal(err)
				}
			}
			s.accepted("push an artifact", s.put("team/app", artifact.Manifest.Digest.String(), artifact.Manifest), http.StatusCreated)
			gone := s.pushImage("team/gone", "latest", 2)
			s.remove(manifestPath("team/gone", gone.Digest.String()))
			for range 2 {
				s.restart(end)
				s.wantPull("team/app", "512", img)
				s.keeps(manifestPath("team/app", "latest"), m.Digest, m.Bytes)
				if tags, _ := s.list("/v2/team/app/tags/list"); !slices.Equal(tags, []string{"512", "latest"}) {
					t.Errorf("the tags are %v", tags)
				}
				if names, _ := s.list("/v2/_catalog"); !slices.Contains(names, "team/app") {
					t.Errorf("the catalog is %v", names)
				}
				found, _ := s.referrers("team/app", m.Digest, "?artifactType="+strings.ReplaceAll(exampleType, "+", "%2B"))
				if len(found) != 1 || found[0].Digest != artifact.Manifest.Digest {
					t.Errorf("the referrers are %v", found)
				}
				s.absent(manifestPath("team/gone", "latest"), manifestPath("team/gone", gone.Digest.String()))
			}
		})
	}
}
