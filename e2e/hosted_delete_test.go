package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

func (s site) remove(path string) {
	s.Helper()
	a := s.accepted("DELETE "+path, s.ask(http.MethodDelete, path, nil), http.StatusAccepted)
	if len(a.body) != 0 {
		s.Errorf("DELETE %s: %s", path, a.body)
	}
}

func TestDeletedTag(t *testing.T) { everywhere(t, deletedTag) }

func deletedTag(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m := s.pushImage("team/app", "one", 1)
	s.accepted("a second tag", s.put("team/app", "two", m), http.StatusCreated)
	s.remove(manifestPath("team/app", "one"))
	s.absent(manifestPath("team/app", "one"))
	s.refused("again", s.ask(http.MethodDelete, manifestPath("team/app", "one"), nil), http.StatusNotFound, "MANIFEST_UNKNOWN")
	s.keeps(manifestPath("team/app", "two"), m.Digest, m.Bytes)
	s.remove(manifestPath("team/app", "two"))
	s.keeps(manifestPath("team/app", m.Digest.String()), m.Digest, m.Bytes) // untagged, and kept
	s.accepted("the tag again", s.put("team/app", "one", m), http.StatusCreated)
	s.keeps(manifestPath("team/app", "one"), m.Digest, m.Bytes)
}

func TestDeletedManifest(t *testing.T) { everywhere(t, deletedManifest) }

func deletedManifest(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m, other := s.pushImage("team/app", "one", 1), s.pushImage("team/app", "other", 2)
	for _, tag := range []string{"two", "three"} {
		s.accepted("another tag", s.put("team/app", tag, m), http.StatusCreated)
	}
	path := manifestPath("team/app", m.Digest.String())
	s.remove(path)
	s.absent(path, manifestPath("team/app", "one"), manifestPath("team/app", "two"), manifestPath("team/app", "three"))
	s.refused("again", s.ask(http.MethodDelete, path, nil), http.StatusNotFound, "MANIFEST_UNKNOWN")
	s.refused("elsewhere", s.ask(http.MethodDelete, manifestPath("team/none", m.Digest.String()), nil), http.StatusNotFound, "MANIFEST_UNKNOWN")
	if tags, _ := s.list("/v2/team/app/tags/list"); !slices.Equal(tags, []string{"other"}) {
		t.Errorf("the tags are %v", tags)
	}
	s.keeps(manifestPath("team/app", "other"), other.Digest, other.Bytes)
	s.accepted("push again", s.put("team/app", "one", m), http.StatusCreated)
	s.keeps(path, m.Digest, m.Bytes)
	s.absent(manifestPath("team/app", "two"))
}

func TestDeletedBlob(t *testing.T) { everywhere(t, deletedBlob) }

func deletedBlob(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		content := noise(1, 5000)
		d := s.pushAs(alg, "team/app", content).Digest
		mount := uploadsPath("team/other") + "?from=team/app&mount=" + d.String()
		s.accepted("mount", s.ask(http.MethodPost, mount, nil), http.StatusCreated)
		s.remove(blobPath("team/app", d))
		s.absent(blobPath("team/app", d))
		s.refused("again", s.ask(http.MethodDelete, blobPath("team/app", d), nil), http.StatusNotFound, "BLOB_UNKNOWN")
		s.keepsBlob("team/other", d, content)
		s.refused("a manifest that needs it", s.put("team/app", "latest", manifestOf(s.push("team/app", []byte("{}")), described(d, content))), http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
		s.accepted("mount without from", s.ask(http.MethodPost, uploadsPath("team/app")+"?mount="+d.String(), nil), http.StatusCreated)
		s.keepsBlob("team/app", d, content)
		s.remove(blobPath("team/app", d))
		s.remove(blobPath("team/other", d))
		s.absent(blobPath("team/app", d), blobPath("team/other", d))
		s.accepted("nothing to mount", s.ask(http.MethodPost, uploadsPath("team/third")+"?mount="+d.String(), nil), http.StatusAccepted)
		s.pushAs(alg, "team/app", content)
		s.keepsBlob("team/app", d, content)
	}
}

func TestDeletionsThatAreSwitchedOff(t *testing.T) {
	t.Parallel()
	for _, q := range []struct {
		setting                string
		tags, manifests, blobs bool
	}{
		{"none", false, false, false},
		{"tags", true, false, false},
		{"manifests", false, true, false},
		{"blobs", false, false, true},
		{"tags,blobs", true, false, true},
		{"tags,manifests,blobs", true, true, true},
	} {
		t.Run(q.setting, func(t *testing.T) {
			t.Parallel()
			s := newRegistry(t, "DELETE", q.setting)
			m, content := s.pushImage("team/app", "latest", 1), noise(9, 100)
			blob := blobPath("team/app", s.push("team/app", content).Digest)
			tag, manifest := manifestPath("team/app", "latest"), manifestPath("team/app", m.Digest.String())
			for _, one := range []struct {
				path string
				on   bool
			}{{tag, q.tags}, {manifest, q.manifests}, {blob, q.blobs}} {
				a := s.ask(http.MethodDelete, one.path, nil)
				if one.on {
					s.accepted(one.path, a, http.StatusAccepted)
					s.absent(one.path)
					continue
				}
				s.refused(one.path, a, http.StatusMethodNotAllowed, "UNSUPPORTED")
				if allow := a.header.Get("Allow"); strings.Contains(allow, "DELETE") || !strings.Contains(allow, "GET") {
					t.Errorf("Allow %q", allow)
				}
				if one.path != tag || !q.manifests {
					s.accepted("it is still there", s.ask(http.MethodGet, one.path, nil), http.StatusOK)
				}
			}
			s.accepted("an upload may be cancelled", s.ask(http.MethodDelete, s.begin("team/app", ""), nil), http.StatusNoContent)
		})
	}
}

func TestReadOnlyTakesNoChange(t *testing.T) { everywhere(t, readOnlyTakesNoChange) }

func readOnlyTakesNoChange(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m, content := s.pushImage("team/app", "latest", 1), noise(9, 100)
	d := s.push("team/app", content).Digest
	upload := s.chunks(s.begin("team/app", ""), content[:50], 1)
	s.restart(func(r *server.Server) { r.Stop(); r.Set("READ_ONLY", "true") })
	for _, q := range []struct{ method, path string }{
		{http.MethodPost, uploadsPath("team/app")},
		{http.MethodPost, withDigest(uploadsPath("team/app"), d)},
		{http.MethodPost, uploadsPath("team/other") + "?from=team/app&mount=" + d.String()},
		{http.MethodPatch, upload},
		{http.MethodPut, withDigest(upload, d)},
		{http.MethodGet, upload},
		{http.MethodHead, upload},
		{http.MethodDelete, upload},
		{http.MethodPut, manifestPath("team/app", "latest")},
		{http.MethodPut, manifestPath("team/app", m.Digest.String())},
		{http.MethodPut, manifestPath("team/app", m.Digest.String()) + "?tag=x"},
		{http.MethodDelete, manifestPath("team/app", "latest")},
		{http.MethodDelete, manifestPath("team/app", m.Digest.String())},
		{http.MethodDelete, blobPath("team/app", d)},
	} {
		a := s.ask(q.method, q.path, m.Bytes, "Content-Type", m.MediaType)
		if q.method == http.MethodHead {
			s.accepted("HEAD of an upload", a, http.StatusMethodNotAllowed)
			continue
		}
		s.refused(q.method+" "+q.path, a, http.StatusMethodNotAllowed, "UNSUPPORTED")
	}
	s.keeps(manifestPath("team/app", "latest"), m.Digest, m.Bytes)
	s.keepsBlob("team/app", d, content)
	if tags, _ := s.list("/v2/team/app/tags/list"); !slices.Equal(tags, []string{"latest"}) {
		t.Errorf("the tags are %v", tags)
	}
	s.restart(func(r *server.Server) { r.Stop(); r.Set("READ_ONLY", "false") })
	status := s.accepted("the upload goes on", s.ask(http.MethodGet, upload, nil), http.StatusNoContent)
	s.has("the upload goes on", status, "Range", "0-49")
}

// A manifest whose push was acknowledged after every deletion is there with all of its blobs, whatever else went on.
func TestDeletionsAndPushesAtTheSameTime(t *testing.T) {
	everywhere(t, deletionsAndPushesAtTheSameTime)
}

func deletionsAndPushesAtTheSameTime(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	config, layer := []byte("{}"), noise(1, 1000)
	m := manifestOf(s.push("team/app", config), s.push("team/app", layer))
	manifest, blob := manifestPath("team/app", m.Digest.String()), blobPath("team/app", digest.FromBytes(layer))
	stop := make(chan struct{})
	var group errgroup.Group
	for _, path := range []string{manifest, manifestPath("team/app", "latest"), blob} {
		group.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				a := s.client.send(s.Context(), http.MethodDelete, path, nil, 0)
				if a.err != nil || a.status != http.StatusAccepted && a.status != http.StatusNotFound && a.status != http.StatusServiceUnavailable {
					return fmt.Errorf("DELETE %s: status %d, %v: %s", path, a.status, a.err, a.body)
				}
			}
		})
	}
	for range 50 {
		s.push("team/app", layer)
		a := s.put("team/app", "latest", m)
		switch a.status {
		case http.StatusCreated, http.StatusServiceUnavailable:
		default:
			s.refused("push", a, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
		}
		if got := s.ask(http.MethodGet, manifestPath("team/app", "latest"), nil); got.status == http.StatusOK && !bytes.Equal(got.body, m.Bytes) {
			t.Fatalf("the tag leads to %.200s", got.body)
		}
	}
	close(stop)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	s.push("team/app", layer)
	s.accepted("push in peace", s.put("team/app", "latest", m), http.StatusCreated)
	s.keeps(manifestPath("team/app", "latest"), m.Digest, m.Bytes)
	s.keepsBlob("team/app", digest.FromBytes(layer), layer)
}

func TestBlobDeletedWhileItIsPulled(t *testing.T) { everywhere(t, blobDeletedWhileItIsPulled) }

func blobDeletedWhileItIsPulled(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for name, parts := range map[string]int{"pushed at once": 1, "pushed by chunks": 8} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			content := noise(uint64(parts), 24<<20)
			d := digest.FromBytes(content)
			at := s.chunks(s.begin("team/app", ""), content, parts)
			s.accepted("commit", s.ask(http.MethodPut, withDigest(at, d), nil), http.StatusCreated)
			resp, err := s.client.http.Get(s.client.base + blobPath("team/app", d))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			read := make([]byte, 1<<20)
			if _, err := io.ReadFull(resp.Body, read); err != nil {
				t.Fatal(err)
			}
			s.remove(blobPath("team/app", d))
			s.absent(blobPath("team/app", d))
			for range 3 { // condemn it, end it, delete its bytes
				s.collect()
			}
			rest, err := io.ReadAll(resp.Body)
			if got := append(read, rest...); !bytes.HasPrefix(content, got) || err == nil && len(got) != len(content) {
				t.Errorf("a wrong answer of %d bytes that ends with %v", len(got), err)
			} else {
				t.Logf("%d of %d bytes came, and then %v", len(got), len(content), err)
			}
			s.absent(blobPath("team/app", d))
		})
	}
	s.eventually(10*time.Second, "the bytes are gone", func() bool { return s.usage() < 1<<20 })
}

// collect collects everything that no manifest names, whenever it was pushed.
func (s site) collect() string {
	s.Helper()
	out, code := s.server.Run("gc", "--grace", "0s")
	if code != 0 {
		s.Fatalf("gc ends with %d: %s", code, out)
	}
	return out
}

func TestManifestKeepsItsBlobsFromCollection(t *testing.T) {
	everywhere(t, manifestKeepsItsBlobsFromCollection)
}

func manifestKeepsItsBlobsFromCollection(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m := s.pushImage("team/app", "latest", 1)
	untagged := s.pushImage("team/app", "sha256:", 2)
	loose := s.push("team/app", noise(3, 1000)).Digest
	at := s.chunks(s.begin("team/app", ""), noise(4, 1000), 1)
	for range 3 {
		s.collect()
	}
	s.absent(blobPath("team/app", loose))
	s.refused("an upload", s.ask(http.MethodGet, at, nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	s.keeps(manifestPath("team/app", "latest"), m.Digest, m.Bytes)
	s.keeps(manifestPath("team/app", untagged.Digest.String()), untagged.Digest, untagged.Bytes)
	for seed := range uint64(2) {
		content := noise(seed+1, 100)
		s.keepsBlob("team/app", digest.FromBytes(content), content)
	}
	s.push("team/app", noise(3, 1000))
	s.wantBlob("team/app", fakehub.NewBlob("", fakehub.Bytes(noise(3, 1000))))
}
