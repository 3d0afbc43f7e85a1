package hosted

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
)

// presigning gives URLs that hold the key, or fails.
type presigning struct {
	storage.Store
	err error
}

func (p *presigning) Presign(_ context.Context, key string, life time.Duration) (string, error) {
	if p.err != nil {
		return "", p.err
	}
	return key + " for " + life.String(), nil
}

// presign asks for a URL of a blob that the repository has.
func (s *site) presign(repo string, d digest.Digest) (string, error) {
	s.t.Helper()
	b, err := s.Repo(repo).Blob(s.t.Context(), d)
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Presign(s.t.Context(), time.Minute)
}

func TestABlobOfOnePartIsPresigned(t *testing.T) {
	c := newClock()
	store := &presigning{Store: mem.New(c.Now)}
	s := newSiteOver(t, c, store)
	content, _ := random(1000)
	d := s.pushBlob("app", content)
	parts := s.keys(partFolder)
	if url, err := s.presign("app", d); err != nil || len(parts) != 1 || url != parts[0]+" for 1m0s" {
		t.Errorf("of the part %v: %q, %v", parts, url, err)
	}
	store.err = storage.ErrUnavailable
	url, err := s.presign("app", d)
	s.wantError("a store that is gone", err, storage.ErrUnavailable)
	if url != "" || !strings.Contains(err.Error(), d.String()) {
		t.Errorf("%q, %v", url, err)
	}
}

func TestABlobOfSeveralPartsIsNot(t *testing.T) {
	c := newClock()
	s := newSiteOver(t, c, &presigning{Store: mem.New(c.Now)})
	content, d := random(1000)
	repo := s.Repo("app")
	id, err := repo.StartUpload(t.Context(), d.Algorithm())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.AppendUpload(t.Context(), id, 0, bytes.NewReader(content[:400]), 400); err != nil {
		t.Fatal(err)
	}
	if err := repo.CommitUpload(t.Context(), id, 400, bytes.NewReader(content[400:]), 600, d); err != nil {
		t.Fatal(err)
	}
	url, err := s.presign("app", d)
	s.wantError("two parts", err, storage.ErrUnable)
	if url != "" {
		t.Errorf("a URL of some of it: %s", url)
	}
}

func TestNoStoreOfThisMachinePresigns(t *testing.T) {
	onEveryStore(t, func(t *testing.T, s *site) {
		content, _ := random(1000)
		_, err := s.presign("app", s.pushBlob("app", content))
		s.wantError("presign", err, storage.ErrUnable)
	})
}
