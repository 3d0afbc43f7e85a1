package proxy

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// far is a store that counts how often the bytes of blobs are read, and may be gone or give others.
type far struct {
	reads     atomic.Int64
	gone      atomic.Bool
	objects   storage.Store
	withHooks storage.Store
}

func newFar() *far {
	f := &far{objects: mem.New(time.Now)}
	f.withHooks = storagetest.Around(f.objects, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
		switch {
		case f.gone.Load():
			return storage.ErrUnavailable
		case op == storagetest.Open && strings.HasPrefix(key, "parts/"):
			f.reads.Add(1)
		}
		return do()
	})
	return f
}

// startFar starts a server whose hosted repositories are in a store that is far, and has copies made.
func startFar(t *testing.T, f *far) *running {
	t.Helper()
	cached, _ := withCache(t)
	return startOver(t, f.withHooks, func(o *Options) {
		o.Blobs, o.Registries, o.Copies = cached.Blobs, cached.Registries, true
	})
}

func TestHostedBlobsOfAFarStoreAreReadOnce(t *testing.T) {
	f := newFar()
	s := startFar(t, f)
	for _, size := range []int{0, 100, 900 << 10} { // an empty one, and such as memory and disk keep
		content := randomBytes(t, size)
		d := s.pushBlob(t, "team/img", "", content).Digest.String()
		before := f.reads.Load()
		for range 3 {
			res, body := s.do(t, "GET", "/v2/team/img/blobs/"+d)
			if res.StatusCode != 200 || body != string(content) || res.Header.Get("Docker-Content-Digest") != d {
				t.Fatalf("%d bytes: got %d with %d bytes", size, res.StatusCode, len(body))
			}
		}
		if size > 100 {
			if res, body := s.do(t, "GET", "/v2/team/img/blobs/"+d, "Range", "bytes=50-59"); res.StatusCode != 206 || body != string(content[50:60]) {
				t.Errorf("a range: got %d %q", res.StatusCode, body)
			}
		}
		if n := f.reads.Load() - before; n > 1 {
			t.Errorf("%d bytes were read %d times", size, n)
		}
	}
}

func TestACopyIsForWhomTheBlobIs(t *testing.T) {
	f := newFar()
	s := startFar(t, f)
	content := randomBytes(t, 300<<10)
	d := s.pushBlob(t, "team/img", "", content).Digest.String()
	status := func(fact, repo string, want int) {
		t.Helper()
		if res, body := s.do(t, "GET", "/v2/"+repo+"/blobs/"+d); res.StatusCode != want || want == 200 && body != string(content) {
			t.Errorf("%s: got %d with %d bytes, want %d", fact, res.StatusCode, len(body), want)
		}
	}
	status("the repository it was pushed to", "team/img", 200)
	status("another one", "team/other", 404)
	status("one of an upstream, which does not have it", "library/img", 404)
	f.gone.Store(true)
	status("while the store is gone, nobody knows who may have it", "team/img", 503)
	f.gone.Store(false)
	status("when it is back", "team/img", 200)
	s.expect(t, 202, http.MethodDelete, "/v2/team/img/blobs/"+d, nil)
	status("once it is deleted", "team/img", 404)
}

func TestWrongBytesOfAFarStoreAreNotServed(t *testing.T) {
	f := newFar()
	s := startFar(t, f)
	content := randomBytes(t, 40<<10)
	d := s.pushBlob(t, "team/img", "", content)
	for info, err := range f.objects.List(t.Context(), "parts/", "") {
		if err != nil {
			t.Fatal(err)
		}
		content[7]++
		if err := f.objects.Put(t.Context(), info.Key, bytes.NewReader(content), int64(len(content))); err != nil {
			t.Fatal(err)
		}
	}
	if res, body := s.do(t, "GET", "/v2/team/img/blobs/"+d.Digest.String()); res.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d with %d bytes, %t", res.StatusCode, len(body), digest.FromString(body) == d.Digest)
	}
}
