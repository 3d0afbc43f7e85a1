package hosted

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

var errRead = errors.New("somebody reads it")

func TestUploadBelongsToWhoeverBeganIt(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		for _, owner := range []string{"alice", "robot+ci", ""} {
			for _, other := range []string{"bob", "alic", "Alice", "robot+alice", "alice", ""} {
				if other != owner {
					testUploadOf(t, s, owner, other)
				}
			}
		}
	})
}

// testUploadOf tries all that can be done with an upload as somebody else, and then goes on with it as its owner.
func testUploadOf(t *testing.T, s *site, owner, other string) {
	ctx, mine, theirs := t.Context(), s.Repo("r").For(owner), s.Repo("r").For(other)
	b, d := random(100)
	id, err := mine.StartUpload(ctx, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mine.AppendUpload(ctx, id, 0, bytes.NewReader(b[:50]), 50); err != nil {
		t.Fatal(err)
	}
	unread := iotest.ErrReader(errRead)
	end, err := theirs.UploadEnd(ctx, id)
	if end != 0 {
		t.Errorf("%q reads of an upload of %q that it ends at %d", other, owner, end)
	}
	s.wantError("status", err, ErrUploadUnknown)
	_, err = theirs.AppendUpload(ctx, id, 50, strings.NewReader("x"), 1)
	s.wantError("chunk", err, ErrUploadUnknown)
	_, err = theirs.AppendUpload(ctx, id, -1, strings.NewReader(""), 0)
	s.wantError("empty chunk", err, ErrUploadUnknown)
	s.wantError("commit of the rest", theirs.CommitUpload(ctx, id, 50, bytes.NewReader(b[50:]), 50, d), ErrUploadUnknown)
	s.wantError("commit of another body", theirs.CommitUpload(ctx, id, 0, unread, -1, d), ErrUploadUnknown)
	s.wantError("cancel", theirs.CancelUpload(ctx, id), ErrUploadUnknown)

	if end, err := mine.UploadEnd(ctx, id); end != 50 || err != nil {
		t.Errorf("after all that %q did, the upload of %q ends at %d, %v", other, owner, end, err)
	}
	if err := mine.CommitUpload(ctx, id, 50, bytes.NewReader(b[50:]), 50, d); err != nil {
		t.Errorf("commit by %q: %v", owner, err)
	}
	s.wantBlob("r", d)
}

// A record of a version that knew no owners is an upload of nobody's.
func TestUploadThatHasNoOwner(t *testing.T) {
	s := newSite(t)
	const id = "0123456789ABCDEFGHIJKLMNOP"
	record := `{"nonce":"` + nonce() + `","repo":"r","algorithm":"sha256","end":0}`
	if _, err := s.store.PutIf(t.Context(), uploadKey(id), []byte(record), storage.Absent); err != nil {
		t.Fatal(err)
	}
	_, err := s.Repo("r").For("alice").UploadEnd(t.Context(), id)
	s.wantError("status for alice", err, ErrUploadUnknown)
	b, d := random(100)
	if err := s.Repo("r").CommitUpload(t.Context(), id, 0, bytes.NewReader(b), 100, d); err != nil {
		t.Errorf("commit: %v", err)
	}
	s.wantBlob("r", d)
}

func TestPushInOneRequestHasAnOwner(t *testing.T) {
	s := newSite(t)
	b, d := random(100)
	if err := s.Repo("r").For("alice").PushBlob(t.Context(), d, bytes.NewReader(b), 100); err != nil {
		t.Fatal(err)
	}
	s.wantBlob("r", d)
}

// What a commit that is sent again is told depends on the repository alone: not on whether there is such an upload, and
// whose it is.
func TestCommitThatIsSentAgainTellsNothingOfUploads(t *testing.T) {
	s := newSite(t)
	ctx, alice, bob := t.Context(), s.Repo("r").For("alice"), s.Repo("r").For("bob")
	b, here := random(100)
	done, err := alice.StartUpload(ctx, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.CommitUpload(ctx, done, 0, bytes.NewReader(b), 100, here); err != nil {
		t.Fatal(err)
	}
	underWay, err := alice.StartUpload(ctx, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, d := random(100)
	s.pushBlob("other", elsewhere)
	_, nowhere := random(100)
	for _, id := range []string{done, underWay, nonce()} {
		commit := func(d digest.Digest) error {
			return bob.CommitUpload(ctx, id, -1, iotest.ErrReader(errRead), -1, d)
		}
		s.wantError("what the repository has", commit(here), nil)
		s.wantError("what another one has", commit(d), ErrUploadUnknown)
		s.wantError("what none has", commit(nowhere), ErrUploadUnknown)
	}
	_, err = bob.Blob(ctx, d)
	s.wantError("what another one has, read", err, ErrBlobUnknown)
	if _, err := alice.UploadEnd(ctx, underWay); err != nil {
		t.Errorf("the upload that is under way: %v", err)
	}
}
