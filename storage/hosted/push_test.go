package hosted

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/entrepot/entrepot/storage"
	"github.com/opencontainers/go-digest"
)

func TestBlobOfOneRequest(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		for _, n := range []int{0, 1, 100, 300 << 10} {
			b, d := random(n)
			s.pushBlob("team/app", b)
			got, err := s.readBlob("team/app", d)
			if err != nil || !bytes.Equal(got, b) {
				t.Errorf("blob of %d bytes reads as %d, %v", n, len(got), err)
			}
		}
		if left := s.keys(uploadFolder); len(left) != 0 {
			t.Errorf("uploads stay: %v", left)
		}
	})
}

func TestBlobIsOnlyInItsRepository(t *testing.T) {
	s := newSite(t)
	b, d := random(10)
	s.pushBlob("a", b)
	_, err := s.Repo("b").Blob(t.Context(), d)
	s.wantError("blob of another repository", err, ErrBlobUnknown)
}

func TestBlobPushedTwiceIsStoredOnce(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		b, d := random(5000)
		s.pushBlob("a", b)
		s.pushBlob("a", b)
		s.pushBlob("b", b)
		s.wantBlob("a", d)
		s.wantBlob("b", d)
		if parts := s.keys(partFolder); len(parts) != 1 {
			t.Errorf("%d parts, want 1", len(parts))
		}
	})
}

func TestKnownBlobHasToBeSent(t *testing.T) {
	s := newSite(t)
	b, d := random(5000)
	s.pushBlob("a", b)
	for name, sent := range map[string][]byte{"nothing": nil, "half": b[:2500], "other bytes": bytes.ToUpper(append([]byte("x"), b[1:]...))} {
		err := s.Repo("b").PushBlob(t.Context(), d, bytes.NewReader(sent), int64(len(sent)))
		s.wantError(name, err, ErrDigestMismatch)
		_, err = s.Repo("b").Blob(t.Context(), d)
		s.wantError("after "+name, err, ErrBlobUnknown)
	}
}

func TestChunks(t *testing.T) {
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for _, final := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			t.Run(string(alg)+" as "+string(final), func(t *testing.T) {
				onEveryStore(t, func(t *testing.T, s *site) { testChunks(t, s, alg, final) })
			})
		}
	}
}

func testChunks(t *testing.T, s *site, alg, final digest.Algorithm) {
	b, _ := random(1000)
	d := final.FromBytes(b)
	r := s.Repo("team/app")
	id, err := r.StartUpload(t.Context(), alg)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for _, end := range []int64{1, 1, 400, 999} {
		got, err := r.AppendUpload(t.Context(), id, at, bytes.NewReader(b[at:end]), end-at)
		if err != nil || got != end {
			t.Fatalf("append up to %d gives %d, %v", end, got, err)
		}
		if status, err := r.UploadEnd(t.Context(), id); status != end || err != nil {
			t.Fatalf("status is %d, %v; want %d", status, err, end)
		}
		at = end
	}
	_, err = r.AppendUpload(t.Context(), id, 5, strings.NewReader("x"), 1)
	var offset *OffsetError
	if !errors.As(err, &offset) || offset.End != 999 {
		t.Errorf("chunk at 5: %v, want an OffsetError at 999", err)
	}
	if err := r.CommitUpload(t.Context(), id, 999, bytes.NewReader(b[999:]), 1, final.FromString("other")); !errors.Is(err, ErrDigestMismatch) {
		t.Errorf("commit with another digest: %v", err)
	}
	if err := r.CommitUpload(t.Context(), id, 999, bytes.NewReader(b[999:]), 1, d); err != nil {
		t.Fatalf("commit: %v", err)
	}
	s.wantBlob("team/app", d)
	_, err = r.UploadEnd(t.Context(), id)
	s.wantError("status after the commit", err, ErrUploadUnknown)
	if parts := s.keys(partFolder); len(parts) != 4 {
		t.Errorf("%d parts, want 4", len(parts))
	}
}

func TestUploadBelongsToItsRepository(t *testing.T) {
	s := newSite(t)
	id, err := s.Repo("a").StartUpload(t.Context(), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Repo("b").UploadEnd(t.Context(), id)
	s.wantError("status in another repository", err, ErrUploadUnknown)
	_, err = s.Repo("b").AppendUpload(t.Context(), id, 0, strings.NewReader("x"), 1)
	s.wantError("chunk in another repository", err, ErrUploadUnknown)
	s.wantError("cancel in another repository", s.Repo("b").CancelUpload(t.Context(), id), ErrUploadUnknown)
}

func TestChunkThatFailsLeavesTheUpload(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		broken := errors.New("cable cut")
		r := s.Repo("a")
		id, err := r.StartUpload(t.Context(), digest.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.AppendUpload(t.Context(), id, 0, strings.NewReader("hello "), 6); err != nil {
			t.Fatal(err)
		}
		cut := io.MultiReader(strings.NewReader("wor"), iotest.ErrReader(broken))
		_, err = r.AppendUpload(t.Context(), id, 6, cut, 5)
		s.wantError("cut chunk", err, broken)
		_, err = r.AppendUpload(t.Context(), id, 6, strings.NewReader("world!!!"), 5)
		s.wantError("chunk longer than announced", err, storage.ErrSize)
		if parts := s.keys(partFolder); len(parts) != 1 {
			t.Errorf("%d parts, want 1", len(parts))
		}
		if err := r.CommitUpload(t.Context(), id, -1, strings.NewReader("world"), -1, digest.FromString("hello world")); err != nil {
			t.Errorf("commit after that: %v", err)
		}
	})
}

func TestCancelledUploadLeavesNothing(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		r := s.Repo("a")
		id, err := r.StartUpload(t.Context(), digest.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.AppendUpload(t.Context(), id, 0, strings.NewReader("hello"), 5); err != nil {
			t.Fatal(err)
		}
		if err := r.CancelUpload(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if left := append(s.keys(partFolder), s.keys(uploadFolder)...); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		s.wantError("cancel again", r.CancelUpload(t.Context(), id), ErrUploadUnknown)
	})
}

func TestMount(t *testing.T) {
	s := newSite(t)
	b, d := random(100)
	s.pushBlob("a", b)
	_, err := s.Repo("c").MountBlob(t.Context(), d, "b")
	s.wantError("mount from where it is not", err, ErrBlobUnknown)
	if size, err := s.Repo("to").MountBlob(t.Context(), d, "a"); err != nil || size != 100 {
		t.Errorf("mount: %d, %v", size, err)
	}
	s.wantBlob("to", d)
	if err := s.Repo("a").DeleteBlob(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	_, err = s.Repo("a").Blob(t.Context(), d)
	s.wantError("deleted here, mounted elsewhere", err, ErrBlobUnknown)
	s.wantBlob("to", d)
	s.wantError("delete again", s.Repo("a").DeleteBlob(t.Context(), d), ErrBlobUnknown)
}

func TestMountFromWhatMayBeRead(t *testing.T) {
	s := newSite(t)
	b, d := random(100)
	for _, name := range []string{"other", "team/app", "team/app/x"} {
		s.pushBlob(name, b)
	}
	for i, c := range []struct {
		name string
		may  func(string) bool
		want error
	}{
		{"all", nil, nil},
		{"one, by its real name", func(name string) bool { return name == "team/app" }, nil},
		{"none", func(string) bool { return false }, ErrBlobUnknown},
		{"another one", func(name string) bool { return name == "team" || name == "team!app" }, ErrBlobUnknown},
	} {
		to := fmt.Sprint("to", i)
		size, err := s.Repo(to).MountAny(t.Context(), d, c.may)
		s.wantError(c.name, err, c.want)
		_, err = s.readBlob(to, d)
		s.wantError(c.name+", read", err, c.want)
		if c.want == nil && size != 100 {
			t.Errorf("%s: size is %d, want 100", c.name, size)
		}
	}
	_, d = random(1)
	_, err := s.Repo("to").MountAny(t.Context(), d, nil)
	s.wantError("what is nowhere", err, ErrBlobUnknown)
}

// A digest that everybody holds does not make a mount that finds nothing long.
func TestMountLooksAtSoManyHolders(t *testing.T) {
	s := newSite(t)
	b, d := random(100)
	s.pushBlob("r0000", b)
	for i := range mostHolders {
		if err := s.Repo(fmt.Sprintf("r%04d", i+1)).hold(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for only, want := range map[string]error{"r0999": nil, "r1000": ErrBlobUnknown} {
		asked := 0
		_, err := s.Repo("to-"+only).MountAny(t.Context(), d, func(name string) bool { asked++; return name == only })
		s.wantError(only, err, want)
		if asked != mostHolders {
			t.Errorf("%s: asked about %d repositories, want %d", only, asked, mostHolders)
		}
	}
}

func TestRangesOfAllParts(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		b, d := random(10)
		r := s.Repo("a")
		id, err := r.StartUpload(t.Context(), digest.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			if _, err := r.AppendUpload(t.Context(), id, -1, bytes.NewReader(b[i:i+1]), -1); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.CommitUpload(t.Context(), id, -1, strings.NewReader(""), 0, d); err != nil {
			t.Fatal(err)
		}
		blob, err := r.Blob(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		for start := range int64(len(b)) + 1 {
			for end := start; end <= int64(len(b)); end++ {
				in, err := blob.Open(t.Context(), start, end)
				if err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				_, err = in.WriteTo(&out)
				if err != nil || !bytes.Equal(out.Bytes(), b[start:end]) {
					t.Errorf("%d to %d: %x, %v", start, end, out.Bytes(), err)
				}
				in.Close()
			}
		}
	})
}
