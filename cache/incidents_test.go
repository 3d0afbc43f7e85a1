package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// CVE-2024-39897: a cache served any blob it had by its digest, whatever the repository that was asked.
func TestCVE_2024_39897_AFillIsFollowedByRepositoriesThatHaveTheBlobOnly(t *testing.T) {
	for _, disk := range []int64{1 << 30, 0} {
		t.Run(fmt.Sprint("disk ", disk), func(t *testing.T) {
			b := randomBytes(7, 3<<20)
			theirs, other := newOrigin("corp/secret", b), newOrigin("corp/other")
			theirs.gate = make(chan struct{})
			dir := t.TempDir()
			c := blobsAt(t, dir, func(o *BlobOptions) { o.Size = disk })
			d := digest.FromBytes(b)
			done := make(chan error)
			go func() { _, err := readBlob(t, c, theirs, d, Whole); done <- err }() // ends once the gate is open
			for gets := 0; gets == 0; gets, _ = theirs.requests() {
				time.Sleep(time.Millisecond)
			}
			wantNothing(t, "while it is filled", c, other, d)
			close(theirs.gate)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			settled(t, c)
			wantNothing(t, "once it is here", c, other, d)
			c.Close()
			wantNothing(t, "after a restart", blobsAt(t, dir, func(o *BlobOptions) { o.Size = disk }), other, d)
			if gets, _ := other.requests(); disk > 0 && gets > 0 { // without a disk nothing but its own registry can give it
				t.Errorf("the other repository was sent %d GETs", gets)
			}
		})
	}
}

// wantNothing asks for a blob of another repository in every way there is.
func wantNothing(t *testing.T, when string, c *Blobs, from *fakeOrigin, d digest.Digest) {
	t.Helper()
	for _, r := range []Range{Whole, {0, 10}, {1 << 20, -1}, {-10, -1}} {
		if got, err := readBlob(t, c, from, d, r); !errors.Is(err, ErrNotFound) || len(got) > 0 {
			t.Errorf("%s: %v gives %d bytes, %v", when, r, len(got), err)
		}
	}
	if size, _, err := c.Stat(context.Background(), from, d); !errors.Is(err, ErrNotFound) {
		t.Errorf("%s: HEAD gives %d, %v", when, size, err)
	}
	if got, ok := c.Hot(from.repo, d); ok {
		t.Errorf("%s: memory gives %d bytes", when, len(got))
	}
	linked, err := c.Link(context.Background(), from.repo, d, func(string, int64) error { return nil })
	if linked {
		t.Errorf("%s: it can be mounted, %v", when, err)
	}
}

// CVE-2024-39897, of manifests: by digest too, from memory and from disk.
func TestCVE_2024_39897_AManifestIsServedToRepositoriesThatHaveItOnly(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory)
			theirs, other := newFakeManifests(Repo{"gcr.io", "corp/secret"}), newFakeManifests(Repo{"gcr.io", "corp/other"})
			man := theirs.push("latest", "1")
			o.wantGet(theirs, "latest", man)
			for _, ref := range []string{string(man.Digest), "latest"} {
				o.wantGetError(other, ref, ErrNotFound)
				if _, ok := o.manifests.Hot(other.repo, ref); ok {
					t.Errorf("memory has %s of another repository", ref)
				}
				if _, _, _, err := o.manifests.Resolve(t.Context(), other, ref); !errors.Is(err, ErrNotFound) {
					t.Errorf("HEAD of %s: %v", ref, err)
				}
			}
		})
	}
}

// A registry's proxy served its copy of a tag whatever was wrong upstream: what was deleted, or forbidden, lived on.
func TestProxyTagService_ADenialOrA404EndsTheCopyOfATag(t *testing.T) {
	for _, c := range []struct {
		answer error
		served bool
	}{
		{ErrNotFound, false}, {ErrDenied, false},
		{&UnavailableError{Upstream: "docker.io", Cause: CauseTimeout, Err: errors.New("time-out")}, true},
		{&UnavailableError{Upstream: "docker.io", Cause: CauseLimited, Err: errors.New("429")}, true},
		{&UnavailableError{Upstream: "docker.io", Cause: CauseFailed, Err: errors.New("503")}, true},
	} {
		t.Run(c.answer.Error(), func(t *testing.T) {
			o := newOffice(t, 1<<20)
			up := newFakeManifests(nginx)
			man := up.push("latest", "1")
			o.wantGet(up, "latest", man)
			o.clock.advance(time.Minute)
			up.fail(c.answer, c.answer)
			a, err := o.manifests.Get(t.Context(), up, "latest")
			switch {
			case c.served && (err != nil || a.Manifest.Digest != man.Digest || a.Warning == ""):
				t.Errorf("an outage gives %+v, %v; want the copy and a warning", a, err)
			case !c.served && !errors.Is(err, c.answer):
				t.Errorf("got %+v, %v", a, err)
			}
			if _, ok := o.manifests.Hot(nginx, "latest"); ok && !c.served {
				t.Error("memory still has it")
			}
		})
	}
}

// What does not have its digest is never stored, whatever it looks like, and no reader takes it for the whole blob.
func TestCachePoisoning_NothingIsKeptUnderADigestItDoesNotHave(t *testing.T) {
	b := randomBytes(9, 3<<20)
	for name, damage := range map[string]func([]byte) []byte{
		"other bytes":   func(b []byte) []byte { return bytes.Repeat([]byte{'x'}, len(b)) },
		"one bit":       func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"too short":     func(b []byte) []byte { return b[:len(b)-1] },
		"an error page": func([]byte) []byte { return []byte("<html>" + strings.Repeat("sorry ", 10) + "</html>") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := newOrigin("library/x", b)
			o.plain, o.damage = true, damage
			c := blobsAt(t, dir)
			if n, whole, err := matchBlob(c, o, b, Whole); err == nil && !whole {
				t.Errorf("%d wrong bytes end well", n)
			}
			settled(t, c)
			d := digest.FromBytes(b)
			if linked, err := c.Link(context.Background(), o.repo, d, func(string, int64) error { return nil }); linked {
				t.Errorf("it is kept: %v", err)
			}
			if _, ok := c.Hot(o.repo, d); ok {
				t.Error("it is in memory")
			}
		})
	}
}

// CVE-2020-15157: a layer's own addresses led to wherever the manifest's author wanted, with credentials. Nothing follows them.
func TestCVE_2020_15157_AddressesInDescriptorsAreNotFollowed(t *testing.T) {
	layer, foreign := randomBytes(1, 2<<20), randomBytes(2, 2<<20)
	o := newOrigin("library/x", layer, foreign)
	c := blobsAt(t, t.TempDir(), func(b *BlobOptions) { b.Prefetch = true })
	c.hints.Note(o.repo, &Manifest{Bytes: fmt.Appendf(nil, `{"layers":[{"digest":%q,"size":%d},{"digest":%q,"size":%d,"urls":["http://169.254.169.254/x"]}]}`,
		digest.FromBytes(layer), len(layer), digest.FromBytes(foreign), len(foreign))})
	wantBlob(t, c, o, layer, Whole)
	settled(t, c)
	c.Close()
	if got := len(c.disk.index) + len(c.disk.idle); got != 1 {
		t.Errorf("%d blobs were fetched, want the one without addresses of its own", got)
	}
}
