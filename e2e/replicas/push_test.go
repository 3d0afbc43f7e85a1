package replicas

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestEachRequestOfAPushGoesToAnotherReplica(t *testing.T) {
	s := newSet(t, 2, nil)
	c := s.client()
	blob := fakehub.RandomBlob(1, 3_000_001)
	const chunk = 1 << 20
	at := c.send(context.Background(), http.MethodPost, "/v2/app/blobs/uploads/", nil).want(t, "begin", http.StatusAccepted).location(t)
	for from := int64(0); from < blob.Size; from += chunk {
		to := min(from+chunk, blob.Size)
		again := c.send(context.Background(), http.MethodPatch, at, part(blob, 0, 10), "Content-Range", "7-16")
		if again.status != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("a chunk that is not the next one: %v", again)
		}
		at = c.send(context.Background(), http.MethodPatch, at, part(blob, from, to), "Content-Range", fmt.Sprintf("%d-%d", from, to-1)).
			want(t, "send a chunk", http.StatusAccepted).location(t)
		status := c.get(at).want(t, "ask for the upload", http.StatusNoContent)
		if got, want := status.header.Get("Range"), fmt.Sprintf("0-%d", to-1); got != want {
			t.Errorf("the upload has %s, want %s", got, want)
		}
	}
	c.send(context.Background(), http.MethodPut, withDigest(at, digest.FromString("other")), nil).want(t, "close with another digest", http.StatusBadRequest)
	c.send(context.Background(), http.MethodPut, withDigest(at, blob.Digest), nil).want(t, "close", http.StatusCreated)
	for _, r := range s.replicas {
		got := newClient(t, r.Addr).get("/v2/app/blobs/"+blob.Digest.String()).want(t, "pull", http.StatusOK)
		if digest.FromBytes(got.body) != blob.Digest {
			t.Error("pulled other bytes")
		}
	}
	mount := c.send(context.Background(), http.MethodPost, "/v2/team/other/blobs/uploads/?mount="+blob.Digest.String()+"&from=app", nil)
	mount.want(t, "mount", http.StatusCreated)

	img := newImage(2, 100_000)
	c.pushImage(t, "app", "1", img)
	for range 2 { // both
		c.wantImage(t, "app", "1", img)
	}
	c.send(context.Background(), http.MethodDelete, "/v2/app/manifests/1", nil).want(t, "delete a tag", http.StatusAccepted)
	for range 2 {
		c.get("/v2/app/manifests/1").want(t, "pull a deleted tag", http.StatusNotFound)
		c.get("/v2/app/manifests/"+img.Manifest.Digest.String()).want(t, "pull its manifest", http.StatusOK)
	}
}

func TestClientsPushAndPullThroughReplicas(t *testing.T) {
	s := newSet(t, 2, nil)
	img := newImage(10, 3_000_000, 1_500_000)
	s.hub.Repo("library/base").AddImage(img, "1")
	b := sandbox.New(t, tools.Crane(), tools.Regctl())
	b.Run("regctl", "registry", "set", s.front, "--tls", "disabled", "--blob-chunk", "1048576", "--blob-max", "1048576")
	c := s.client()

	cached, one := s.ref("library/base:1"), s.ref("team/app:1")
	b.Run("crane", "copy", cached, one)
	c.wantImage(t, "team/app", "1", img)
	b.Run("crane", "validate", "--remote", one)
	b.Run("crane", "copy", one, s.ref("copied:1"))
	c.wantImage(t, "copied", "1", img)

	other := newImage(11, 2_500_000)
	s.hub.Repo("library/other").AddImage(other, "1")
	b.Run("regctl", "image", "copy", s.ref("library/other:1"), s.ref("team/chunked:1"))
	c.wantImage(t, "team/chunked", "1", other)
	for _, tag := range []string{"2", "3", "a", "B"} {
		b.Run("regctl", "image", "copy", one, s.ref("team/app:"+tag))
	}
	if tags := strings.Fields(b.Run("crane", "ls", s.ref("team/app"))); !slices.Equal(tags, []string{"1", "2", "3", "B", "a"}) {
		t.Errorf("tags: %v", tags)
	}
	b.Run("regctl", "tag", "rm", s.ref("team/app:2"))
	if tags := strings.Fields(b.Run("crane", "ls", s.ref("team/app"))); !slices.Equal(tags, []string{"1", "3", "B", "a"}) {
		t.Errorf("tags after a deletion: %v", tags)
	}
	if names := strings.Fields(b.Run("crane", "catalog", s.front)); !slices.Equal(names, []string{"copied", "team/app", "team/chunked"}) {
		t.Errorf("catalog: %v", names)
	}
	b.Run("crane", "delete", s.ref("team/app@"+img.Manifest.Digest.String()))
	if r := b.Try("crane", "manifest", one); r.Err == nil || !strings.Contains(r.All, "MANIFEST_UNKNOWN") {
		t.Errorf("what was deleted: %v\n%s", r.Err, r.All)
	}
	c.wantImage(t, "copied", "1", img)

	// A command beside running servers: one of them does it over its socket, and the others see what came of it.
	if out, code := s.replicas[1].Run("gc", "--grace", "0s"); code != 0 {
		t.Errorf("gc: %d\n%s", code, out)
	}
	c.wantImage(t, "copied", "1", img)
	c.wantImage(t, "team/chunked", "1", other)
	if out, code := s.replicas[0].Run("verify"); code != 0 {
		t.Errorf("verify: %d\n%s", code, out)
	}
}
