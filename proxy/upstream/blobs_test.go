package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/opencontainers/go-digest"
)

var (
	blobBody   = strings.Repeat("0123456789", 100)
	blobDigest = digest.FromString(blobBody)
	blobPath   = "/v2/a/b/blobs/" + blobDigest.String()
)

func serveBlob(w http.ResponseWriter, req *http.Request) {
	http.ServeContent(w, req, "", time.Time{}, strings.NewReader(blobBody))
}

// partial answers 206 with the headers given, whatever was asked.
func partial(contentRange, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(http.StatusPartialContent)
		fmt.Fprint(w, body)
	}
}

func TestFetchBlob(t *testing.T) {
	whole := cache.Part{Len: 1000, Size: 1000}
	first := cache.Part{Len: 10, Size: 1000, Ranged: true}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		off, n int64
		want   cache.Part
		body   string
		cause  cache.Cause
	}{
		"plainly":                        {serveBlob, 0, -1, whole, blobBody, ""},
		"a range":                        {serveBlob, 5, 10, cache.Part{Off: 5, Len: 10, Size: 1000, Ranged: true}, blobBody[5:15], ""},
		"a range cut off at the end":     {serveBlob, 995, 10, cache.Part{Off: 995, Len: 5, Size: 1000, Ranged: true}, blobBody[995:], ""},
		"a registry that ignores ranges": {text(blobBody[:500]), 5, 10, cache.Part{Len: 500, Size: 500}, blobBody[:500], ""},
		"total unknown":                  {partial("bytes 0-9/*", blobBody[:10]), 0, 10, cache.Part{Len: 10, Size: -1, Ranged: true}, blobBody[:10], ""},
		"an empty blob":                  {scripted(status(416), text("")), 0, 10, cache.Part{}, "", ""},
		"206 to a plain GET":             {partial("bytes 0-9/1000", blobBody[:10]), 0, -1, cache.Part{}, "", cache.CauseFailed},
		"206 with another start":         {partial("bytes 1-9/1000", blobBody[1:10]), 0, 10, cache.Part{}, "", cache.CauseFailed},
		"206 that is longer":             {partial("bytes 0-10/1000", blobBody[:11]), 0, 10, cache.Part{}, "", cache.CauseFailed},
		"206 that is shorter":            {partial("bytes 0-8/1000", blobBody[:9]), 0, 10, cache.Part{}, "", cache.CauseFailed},
		"206 without Content-Range":      {partial("", blobBody[:10]), 0, 10, cache.Part{}, "", cache.CauseFailed},
		"206 with another length":        {partial("bytes 0-9/1000", blobBody[:7]), 0, 10, cache.Part{}, "", cache.CauseFailed},
		"206 that claims nothing":        {partial("bytes */1000", ""), 0, 10, cache.Part{}, "", cache.CauseFailed},
		"exactly the range":              {partial("bytes 0-9/1000", blobBody[:10]), 0, 10, first, blobBody[:10], ""},
		"encoded": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "x")
		}, 0, -1, cache.Part{}, "", cache.CauseFailed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.mux.HandleFunc(blobPath, c.answer)
			p, err := newRegistry(t, f, nil).Repository("a/b").FetchBlob(context.Background(), blobDigest, c.off, c.n)
			if causeOf(err) != c.cause {
				t.Fatalf("got %v, want cause %q", err, c.cause)
			}
			if f.requests("/")[0].Header.Get("Accept-Encoding") != "identity" {
				t.Error("an encoding was not declined")
			}
			if err != nil {
				return
			}
			body, err := io.ReadAll(p.Body)
			p.Body.Close()
			p.Body = nil
			if err != nil || p != c.want || string(body) != c.body {
				t.Fatalf("got %+v %d bytes %v, want %+v", p, len(body), err, c.want)
			}
		})
	}
}

func TestRangeBeyondTheEnd(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc(blobPath, serveBlob)
	_, err := newRegistry(t, f, nil).Repository("a/b").FetchBlob(context.Background(), blobDigest, 1000, 10)
	var r *cache.RangeError
	if !errors.As(err, &r) || r.Size != 1000 {
		t.Fatal(err)
	}
}

func TestBlobBodyThatEndsEarlyIsAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"short of its length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, blobBody[:100])
		},
		"short of its range": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-999/1000")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, blobBody[:100])
			w.(http.Flusher).Flush() // chunked: ends cleanly, without the other 900 bytes
		},
		"a cut chunked stream": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, blobBody[:100])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.mux.HandleFunc(blobPath, answer)
			n := int64(-1)
			if strings.Contains(name, "range") {
				n = 1000
			}
			p, err := newRegistry(t, f, nil).Repository("a/b").FetchBlob(context.Background(), blobDigest, 0, n)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Body.Close()
			body, err := io.ReadAll(p.Body)
			if len(body) != 100 || !errors.Is(err, io.ErrUnexpectedEOF) || causeOf(err) != cache.CauseFailed {
				t.Fatalf("%d bytes, %v", len(body), err)
			}
		})
	}
}

func TestBlobBodyThatStallsIsBrokenOff(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc(blobPath, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, blobBody[:100])
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	})
	r := newRegistry(t, f, func(o *Options) { o.Stall = 50 * time.Millisecond })
	p, err := r.Repository("a/b").FetchBlob(context.Background(), blobDigest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	if _, err := io.ReadAll(p.Body); causeOf(err) != cache.CauseTimeout {
		t.Fatal(err)
	}
}

func TestBodyOutlivesPatience(t *testing.T) {
	f, patience := newFake(t), 300*time.Millisecond
	later := make(chan struct{})
	f.mux.HandleFunc(blobPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.(http.Flusher).Flush()
		<-later
		fmt.Fprint(w, blobBody)
	})
	p, err := newRegistry(t, f, func(o *Options) { o.Patience = patience }).Repository("a/b").FetchBlob(context.Background(), blobDigest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	time.AfterFunc(2*patience, func() { close(later) })
	if body, err := io.ReadAll(p.Body); err != nil || string(body) != blobBody {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
}

func TestRedirectOfABlobIsRememberedUntilItExpires(t *testing.T) {
	for _, expired := range []int{400, 401, 403, 404, 410} {
		cdn, f := newFake(t), newFake(t)
		var version atomic.Int32 // the signature that the CDN takes now
		cdn.mux.HandleFunc("/signed/", func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != fmt.Sprintf("/signed/%d", version.Load()) {
				w.WriteHeader(expired)
				return
			}
			serveBlob(w, req)
		})
		f.mux.HandleFunc(blobPath, func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, fmt.Sprintf("%s/signed/%d", cdn.URL, version.Load()), http.StatusTemporaryRedirect)
		})
		repo := newRegistry(t, f, nil).Repository("a/b")
		read := func(off int64) {
			t.Helper()
			p, err := repo.FetchBlob(context.Background(), blobDigest, off, 10)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Body.Close()
			if body, err := io.ReadAll(p.Body); err != nil || string(body) != blobBody[off:off+10] {
				t.Fatalf("%q %v", body, err)
			}
		}
		read(0)
		read(10)
		if n := f.count("/v2/"); n != 1 {
			t.Errorf("%d: the registry was asked %d times for one redirect", expired, n)
		}
		version.Add(1)
		read(20)
		read(30)
		if n := f.count("/v2/"); n != 2 {
			t.Errorf("%d: the registry was asked %d times for two redirects", expired, n)
		}
	}
}

func TestStatBlob(t *testing.T) {
	onlyGET := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodHead {
				w.WriteHeader(code)
				return
			}
			serveBlob(w, req)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		size   int64
		err    error
	}{
		"HEAD":                           {serveBlob, 1000, nil},
		"HEAD without a length":          {status(200), -1, nil},
		"HEAD is not allowed":            {onlyGET(405), 1000, nil},
		"HEAD is refused, GET is signed": {onlyGET(403), 1000, nil},
		"all is refused":                 {status(403), 0, cache.ErrDenied},
		"absent":                         {status(404), 0, cache.ErrNotFound},
	} {
		f := newFake(t)
		f.mux.HandleFunc(blobPath, c.answer)
		size, err := newRegistry(t, f, nil).Repository("a/b").StatBlob(context.Background(), blobDigest)
		if size != c.size || !errors.Is(err, c.err) {
			t.Errorf("%s: got %d %v, want %d %v", name, size, err, c.size, c.err)
		}
	}
}

func TestBodiesHoldTheirSlotsAndLeaveSomeForOthers(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc(blobPath, serveBlob)
	f.mux.HandleFunc("/v2/a/b/manifests/v1", serveManifest)
	r := newRegistry(t, f, func(o *Options) { o.MaxRequests = 2 })
	repo := r.Repository("a/b")
	ctx, cancel := context.WithCancel(context.Background())
	p, err := repo.FetchBlob(ctx, blobDigest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	hasty, done := context.WithTimeout(ctx, 20*time.Millisecond)
	defer done()
	if _, err := repo.FetchBlob(hasty, blobDigest, 0, -1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second body got a slot: %v", err)
	}
	if _, err := repo.FetchManifest(ctx, "v1"); err != nil {
		t.Fatalf("a manifest waited for a body: %v", err)
	}
	p.Body.Close()
	p.Body.Close()
	if p, err = repo.FetchBlob(ctx, blobDigest, 0, -1); err != nil {
		t.Fatalf("the slot did not come back: %v", err)
	}
	cancel()
	if _, err := io.Copy(&bytes.Buffer{}, p.Body); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	p.Body.Close()
	if len(r.slots) != 0 || len(r.bodies) != 0 {
		t.Errorf("%d slots and %d bodies still held", len(r.slots), len(r.bodies))
	}
}
