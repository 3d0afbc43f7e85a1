package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestPushCrane(t *testing.T) {
	h := newHosting(t)
	b := sandbox.New(t, tools.Crane())
	img := newPushImage(t, 10)
	one, two := h.ref("team/crane:1"), h.ref("copied:1")

	b.Run("crane", "push", writeLayout(t, b, img.Manifest, img), one)
	p := h.wantSame(t, "team/crane", "1", img)
	h.wantUploaded(t, p.blobs()...)
	if got := strings.TrimSpace(b.Run("crane", "digest", one)); got != p.digest.String() {
		t.Errorf("crane digest says %s, want %s", got, p.digest)
	}
	h.testCrane(t, b, one, p)
	h.testSkopeo(t, b, one, p)

	h.reset()
	b.Run("crane", "copy", one, two)
	h.wantMounted(t, p.blobs()...)
	h.wantUploaded(t)
	h.wantSame(t, "copied", "1", img)

	b.Run("crane", "tag", one, "stable")
	wantLines(t, b.Run("crane", "ls", h.ref("team/crane")), "1", "stable")
	wantLines(t, b.Run("crane", "catalog", h.addr), "copied", "team/crane")

	b.Run("crane", "delete", h.ref("team/crane@"+p.digest.String()))
	h.wantGone(t, "team/crane", "1")
	h.wantGone(t, "team/crane", p.digest.String())
	if r := b.Try("crane", "manifest", one); r.Err == nil || !strings.Contains(r.All, "MANIFEST_UNKNOWN") {
		t.Errorf("crane of a deleted image: %v\n%s", r.Err, r.All)
	}
	h.wantSame(t, "copied", "1", img)
}
