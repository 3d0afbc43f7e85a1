package proxy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

// linkable is a cache whose blobs are files.
type linkable struct {
	fakeBlobs
	files map[string]string // by registry/name@digest
	err   error
	asked []string
}

func (l *linkable) Link(_ context.Context, repo cache.Repo, d digest.Digest, link func(string, int64) error) (bool, error) {
	key := repo.String() + "@" + d.String()
	l.asked = append(l.asked, key)
	path, ok := l.files[key]
	if !ok || l.err != nil {
		return false, l.err
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if err := link(path, info.Size()); err != nil {
		return false, err
	}
	return true, nil
}

func TestMounts(t *testing.T) {
	cached := []byte("a layer of the cache")
	d := digest.FromBytes(cached)
	dir := t.TempDir()
	path := filepath.Join(dir, "blob")
	if err := os.WriteFile(path, cached, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, store := range stores(t) {
		l := &linkable{fakeBlobs: fakeBlobs{filled()}, files: map[string]string{"docker.io/library/nginx@" + d.String(): path, "gcr.io/p/i@" + d.String(): path}}
		s := startOver(t, store, func(o *Options) {
			o.Blobs = l
			private := o.Registries["gcr.io"]
			private.Private = true
			o.Registries["gcr.io"] = private
		})
		pushed := s.pushBlob(t, "team/a", "", []byte("pushed")).Digest
		for _, c := range []struct {
			fact, repo, query string
			digest            digest.Digest
			status            int
		}{
			{"from a repository that has not got it", "team/b", "&from=team/none", pushed, 202},
			{"from an upstream that has not got it", "team/b", "&from=library/nginx", pushed, 202},
			{"from a repository", "team/b", "&from=team/a", pushed, 201},
			{"as crane asks", "team/c", "&from=team%2Fa&origin=127.0.0.1%3A5000", pushed, 201},
			{"from any", "team/d", "", pushed, 201},
			{"from itself", "team/a", "&from=team/a", pushed, 201},
			{"again", "team/b", "&from=team/a", pushed, 201},
			{"without from, what only the cache has", "team/e", "", d, 202},
			{"from another of the upstream's repositories", "team/e", "&from=library/alpine", d, 202},
			{"from an unknown upstream", "team/e", "&from=quay.io/a/b", d, 202},
			{"from one that is private", "team/e", "&from=gcr.io/p/i", d, 202},
			{"from the cache", "team/f", "&from=library/nginx", d, 201},
			{"from the cache by prefix", "team/g", "&from=docker.io/nginx", d, 201},
			{"and on from there", "team/h", "&from=team/f", d, 201},
		} {
			header := s.expect(t, c.status, "POST", "/v2/"+c.repo+"/blobs/uploads/?mount="+strings.Replace(string(c.digest), ":", "%3A", 1)+c.query, nil)
			location := header.Get("Location")
			blob := "/v2/" + c.repo + "/blobs/" + c.digest.String()
			if c.status == 202 {
				s.expect(t, 204, "GET", location, nil)
				s.expect(t, 404, "GET", blob, nil)
				continue
			}
			if location != blob || header.Get("Docker-Content-Digest") != c.digest.String() {
				t.Errorf("%s, %s: got %v", name, c.fact, header)
			}
			want := map[digest.Digest]string{pushed: "pushed", d: string(cached)}[c.digest]
			if _, got := s.do(t, "GET", blob); got != want {
				t.Errorf("%s, %s: got %q", name, c.fact, got)
			}
		}
		for _, asked := range l.asked {
			if strings.HasPrefix(asked, "gcr.io/") {
				t.Errorf("%s: a private repository's blob was asked for", name)
			}
		}
		if got := l.questions(); len(got) > 0 {
			t.Errorf("%s: a mount asked upstream: %q", name, got)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, cached) {
		t.Errorf("the cache's file is %q now, %v", got, err)
	}
}

func TestAMountThatFailsIsAnUpload(t *testing.T) {
	l := &linkable{fakeBlobs: fakeBlobs{filled()}, err: errors.New("disk on fire")}
	s := startPush(t, func(o *Options) { o.Blobs = l })
	location := s.expect(t, 202, "POST", "/v2/team/img/blobs/uploads/?mount="+sha512+"&from=library/nginx", nil).Get("Location")
	blob := []byte("anything")
	d := digest.SHA512.FromBytes(blob).String()
	s.expect(t, 201, "PUT", location+"?digest="+d, bytes.NewReader(blob))
}

func TestWhatIsTooLargeToCopyIsUploaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blob")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(copyLimit+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	d, err := digest.FromReader(&zeros{copyLimit + 1})
	if err != nil {
		t.Fatal(err)
	}
	l := &linkable{fakeBlobs: fakeBlobs{filled()}, files: map[string]string{"docker.io/library/nginx@" + d.String(): path}}
	s := startPush(t, func(o *Options) { o.Blobs = l })
	s.expect(t, 202, "POST", "/v2/team/img/blobs/uploads/?mount="+d.String()+"&from=library/nginx", nil)
	if len(l.asked) != 1 {
		t.Errorf("asked %q", l.asked)
	}
}
