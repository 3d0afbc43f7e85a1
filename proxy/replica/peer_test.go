package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/upstream"
	"github.com/opencontainers/go-digest"
)

func TestFetchBlob(t *testing.T) {
	for fact, c := range map[string]struct {
		answer http.HandlerFunc
		off, n int64
		want   cache.Part
		body   string
	}{
		"plainly":                    {blob, 0, -1, cache.Part{Len: 1000, Size: 1000}, text},
		"a range":                    {blob, 5, 10, cache.Part{Off: 5, Len: 10, Size: 1000, Ranged: true}, text[5:15]},
		"a range cut off at the end": {blob, 995, 10, cache.Part{Off: 995, Len: 5, Size: 1000, Ranged: true}, text[995:]},
		"a blob of unknown size is sent from its start": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, text[:10])
			w.(http.Flusher).Flush()
			fmt.Fprint(w, text[10:])
		}, 5, 10, cache.Part{Len: -1, Size: -1}, text},
	} {
		t.Run(fact, func(t *testing.T) {
			s := serve(t, c.answer)
			part, err := s.at(t).FetchBlob(t.Context(), d, c.off, c.n)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(part.Body)
			if closed := part.Body.Close(); err != nil || closed != nil || string(b) != c.body {
				t.Errorf("%d bytes, %v, %v", len(b), err, closed)
			}
			if part.Body = nil; part != c.want {
				t.Errorf("%+v, want %+v", part, c.want)
			}
			if got := s.requests()[0]; got.URL.String() != atBlob {
				t.Errorf("asked for %s", got.URL)
			}
		})
	}
}

func TestWhatIsSentAlong(t *testing.T) {
	s := serve(t, blob)
	p := s.at(t)
	for _, n := range []int64{10, -1} {
		part, err := p.FetchBlob(t.Context(), d, 0, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, part.Body); err != nil {
			t.Fatal(err)
		}
		part.Body.Close()
	}
	for i, span := range []string{"bytes=0-9", ""} {
		h := s.requests()[i].Header
		if h.Get("Range") != span || h.Get(Header) != id || h.Get("Authorization") != "Bearer "+secret || h.Get("Accept-Encoding") != "" {
			t.Errorf("%v", h)
		}
	}
	if s.connections != 1 {
		t.Errorf("%d connections", s.connections)
	}
}

func TestWithoutUsersThereIsNoToken(t *testing.T) {
	for fact, token := range map[string]func(string, string) (string, error){
		"nobody makes them": nil,
		"they are empty":    func(string, string) (string, error) { return "", nil },
	} {
		s := serve(t, says(text))
		s.Start()
		if _, err := client(t, Options{Token: token}).At(s.URL, nginx).FetchManifest(t.Context(), d); err != nil {
			t.Fatal(fact, err)
		}
		if sent, ok := s.requests()[0].Header["Authorization"]; ok {
			t.Errorf("%s: sent %q", fact, sent)
		}
	}
}

func TestATokenIsForTheRepository(t *testing.T) {
	s := serve(t, says(text))
	s.Start()
	c := client(t, Options{Token: func(registry, name string) (string, error) { return registry + "+" + name, nil }})
	if _, err := c.At(s.URL, nginx).FetchManifest(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := s.requests()[0].Header.Get("Authorization"); got != "Bearer docker.io+library/nginx" {
		t.Error(got)
	}
	broken := errors.New("no keys")
	c = client(t, Options{Token: func(string, string) (string, error) { return "", broken }})
	if _, err := c.At(s.URL, nginx).FetchManifest(t.Context(), d); !errors.Is(err, broken) || len(s.requests()) != 1 {
		t.Errorf("%v after %d requests", err, len(s.requests()))
	}
}

func TestARegistryWithAPortIsSaidByNS(t *testing.T) {
	for registry, want := range map[string]string{
		"127.0.0.1:7301": "/v2/library/nginx/manifests/" + d.String() + "?ns=127.0.0.1%3A7301",
		"[::1]:7301":     "/v2/library/nginx/manifests/" + d.String() + "?ns=%5B%3A%3A1%5D%3A7301",
		"gcr.io":         "/v2/gcr.io/library/nginx/manifests/" + d.String(),
	} {
		s := serve(t, says(text))
		s.Start()
		if _, err := client(t, Options{}).At(s.URL, cache.Repo{Registry: registry, Name: nginx.Name}).FetchManifest(t.Context(), d); err != nil {
			t.Error(err)
		}
		if got := s.requests()[0].URL.String(); got != want {
			t.Errorf("asked for %s, want %s", got, want)
		}
	}
}

func TestOverTLS(t *testing.T) {
	s := serve(t, says(text))
	s.EnableHTTP2 = true
	s.StartTLS()
	if _, err := client(t, Options{Roots: trusting(s.Server)}).At(s.URL, nginx).FetchManifest(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := s.requests()[0].Proto; got != "HTTP/1.1" {
		t.Errorf("%s: parallel ranges would share a connection's share of the line", got)
	}
	if _, err := client(t, Options{}).At(s.URL, nginx).FetchManifest(t.Context(), d); err == nil || len(s.requests()) != 1 {
		t.Errorf("a certificate of nobody: %v", err)
	}
}

func TestAnswersThatAreNoPartAreErrors(t *testing.T) {
	elsewhere := serve(t, blob)
	elsewhere.Start()
	for fact, c := range map[string]struct {
		answer http.HandlerFunc
		n      int64
		says   string
	}{
		"206 to a plain GET":        {partial("bytes 0-9/1000", text[:10]), -1, "a part (206) where the whole was asked for"},
		"206 with another start":    {partial("bytes 1-9/1000", text[:9]), 10, "bytes 0-9 were asked for"},
		"206 that is longer":        {partial("bytes 0-10/1000", text[:11]), 10, "bytes 0-9 were asked for"},
		"206 that is shorter":       {partial("bytes 0-8/1000", text[:9]), 10, "bytes 0-9 were asked for"},
		"206 without Content-Range": {partial("", text[:10]), 10, "without saying which"},
		"206 with another length":   {partial("bytes 0-9/1000", text[:7]), 10, "with 7 bytes"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+atBlob, http.StatusTemporaryRedirect)
		}, -1, "it answered 307 Temporary Redirect"},
		"401":     {status(401, `{"errors":[]}`), -1, `it answered 401 Unauthorized: "{\"errors\":[]}"`},
		"404":     {status(404, ""), -1, `it answered 404 Not Found: ""`},
		"416":     {status(416, ""), -1, `it answered 416 `},
		"421":     {status(421, ""), -1, `it answered 421 Misdirected Request`},
		"500":     {status(500, "a\x00b\x1b[2J\n"), -1, `it answered 500 Internal Server Error: "a\x00b\x1b[2J\n"`},
		"204":     {status(204, ""), -1, "it answered 204"},
		"a novel": {status(500, strings.Repeat("é", 10_000)), -1, `"` + strings.Repeat("é", shownBody/2) + `"`},
		"encoded": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, text)
		}, -1, "encoded"},
		"what repeats the token": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			fmt.Fprint(w, strings.Repeat(" ", shownBody-20), r.Header.Get("Authorization"))
		}, -1, "Bearer TOKEN"},
		"what repeats the token as its status": {func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", r.Header.Get("Authorization"))
				conn.Close()
			}
		}, -1, "malformed"},
	} {
		t.Run(fact, func(t *testing.T) {
			part, err := serve(t, c.answer).at(t).FetchBlob(t.Context(), d, 0, c.n)
			if err == nil {
				part.Body.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), d.String()+" of docker.io/library/nginx from http://127.0.0.1:") {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), secret[:10]) {
				t.Errorf("repeats the token: %v", err)
			}
			if errors.Is(err, cache.ErrNotFound) || errors.Is(err, cache.ErrDenied) || errors.Is(err, cache.ErrCorrupt) || cache.IsOutage(err) {
				t.Errorf("only an upstream says that: %v", err)
			}
		})
	}
	if n := len(elsewhere.requests()); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func TestBodiesThatEndEarlyAreErrors(t *testing.T) {
	for fact, answer := range map[string]http.HandlerFunc{
		"short of its length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, text[:100])
		},
		"short of its range": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-999/1000")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, text[:100])
			w.(http.Flusher).Flush() // in chunks, which end well
		},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, text[:100])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(fact, func(t *testing.T) {
			n := int64(-1)
			if fact == "short of its range" {
				n = 1000
			}
			part, err := serve(t, answer).at(t).FetchBlob(t.Context(), d, 0, n)
			if err != nil {
				t.Fatal(err)
			}
			defer part.Body.Close()
			if b, err := io.ReadAll(part.Body); len(b) != 100 || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
}

func TestARangeEndsWhereItSays(t *testing.T) {
	part, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-9/1000")
		w.WriteHeader(http.StatusPartialContent)
		w.(http.Flusher).Flush() // or it would have a length that gives it away
		fmt.Fprint(w, text)
	}).at(t).FetchBlob(t.Context(), d, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer part.Body.Close()
	if b, err := io.ReadAll(part.Body); err != nil || string(b) != text[:10] {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestFetchManifest(t *testing.T) {
	const index = "application/vnd.oci.image.index.v1+json"
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", index)
		fmt.Fprint(w, text)
	})
	p := s.at(t)
	m, err := p.FetchManifest(t.Context(), d)
	if err != nil || m.MediaType != index || m.Digest != d || string(m.Bytes) != text {
		t.Errorf("%s %s %d bytes, %v", m.MediaType, m.Digest, len(m.Bytes), err)
	}
	if m, err := p.FetchManifest(t.Context(), digest.SHA512.FromString(text)); err != nil || m.Digest.Algorithm() != digest.SHA512 {
		t.Errorf("sha512: %s, %v", m.Digest, err)
	}
	if r := s.requests()[0]; r.Method != "GET" || r.URL.String() != "/v2/docker.io/library/nginx/manifests/"+d.String() || r.Header.Get(Header) != id {
		t.Errorf("%s %s by %q", r.Method, r.URL, r.Header.Get(Header))
	}
}

func TestManifestsThatAreNotTheOneAskedFor(t *testing.T) {
	large := strings.Repeat(" ", upstream.MaxManifest+1)
	for fact, c := range map[string]struct {
		answer http.HandlerFunc
		of     digest.Digest
		says   string
	}{
		"other bytes": {says(text + "x"), d, "other bytes"},
		"a part":      {partial("bytes 0-999/1000", text), d, "206"},
		"too large":   {says(large), digest.FromString(large), "more than"},
		"too large, and it does not say so": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			fmt.Fprint(w, large)
		}, digest.FromString(large), "more than"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, text[:100])
		}, d, "unexpected EOF"},
		"none": {status(404, ""), d, "404"},
	} {
		if _, err := serve(t, c.answer).at(t).FetchManifest(t.Context(), c.of); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", fact, err)
		}
	}
	largest := large[1:]
	if m, err := serve(t, says(largest)).at(t).FetchManifest(t.Context(), digest.FromString(largest)); err != nil || len(m.Bytes) != upstream.MaxManifest {
		t.Errorf("the largest: %v", err)
	}
}

func TestNothingIsAskedForWhatIsNone(t *testing.T) {
	s := serve(t, blob)
	p := s.at(t)
	for _, c := range []struct{ off, n int64 }{{0, 0}, {-1, 10}, {1, -1}} {
		if _, err := p.FetchBlob(t.Context(), d, c.off, c.n); err == nil {
			t.Errorf("%d bytes at %d", c.n, c.off)
		}
	}
	for _, of := range []digest.Digest{"", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e", "latest"} {
		if _, err := p.FetchManifest(t.Context(), of); err == nil {
			t.Errorf("of %q", of)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.FetchBlob(ended, d, 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: %v", err)
	}
	if n := len(s.requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}
