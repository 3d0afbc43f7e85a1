package replicas

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// stranger is a process that a lease in the bucket names, and that is no replica.
type stranger struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

func newStranger(t *testing.T, answer func(own string, w http.ResponseWriter, r *http.Request)) *stranger {
	s := &stranger{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Clone(context.Background()))
		s.mu.Unlock()
		answer(s.URL, w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *stranger) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// strangers answer what they are asked for, each in its own way. size is that of what is asked for.
func strangers(size func(path string) int64) map[string]func(own string, w http.ResponseWriter, r *http.Request) {
	garbage := func(w http.ResponseWriter, path string, status int, n int64) {
		w.Header().Set("Content-Length", fmt.Sprint(n))
		w.Header().Set("Docker-Content-Digest", path[strings.LastIndexByte(path, '/')+1:])
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.WriteHeader(status)
		_, _ = w.Write(bytes.Repeat([]byte("x"), int(n))) // who asks may have gone
	}
	redirect := func(to string) func(string, http.ResponseWriter, *http.Request) {
		return func(own string, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				garbage(w, r.URL.Path, http.StatusOK, 1000)
				return
			}
			w.Header().Set("Location", strings.ReplaceAll(to, "OWN", own))
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
	return map[string]func(string, http.ResponseWriter, *http.Request){
		"wrong bytes": func(_ string, w http.ResponseWriter, r *http.Request) {
			garbage(w, r.URL.Path, http.StatusOK, size(r.URL.Path))
		},
		"fewer bytes": func(_ string, w http.ResponseWriter, r *http.Request) {
			garbage(w, r.URL.Path, http.StatusOK, size(r.URL.Path)/2)
		},
		"more bytes": func(_ string, w http.ResponseWriter, r *http.Request) {
			garbage(w, r.URL.Path, http.StatusOK, size(r.URL.Path)*2)
		},
		"no bytes":      func(_ string, w http.ResponseWriter, r *http.Request) { garbage(w, r.URL.Path, http.StatusOK, 0) },
		"wrong ranges":  func(_ string, w http.ResponseWriter, r *http.Request) { ranged(w, r, size(r.URL.Path), garbage) },
		"silence":       func(_ string, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half, silence": func(_ string, w http.ResponseWriter, r *http.Request) { half(w, r, size(r.URL.Path)) },
		"endless":       func(_ string, w http.ResponseWriter, r *http.Request) { endless(w, r) },
		"not found":     func(_ string, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"forbidden":     func(_ string, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"a challenge": func(own string, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Www-Authenticate", `Bearer realm="`+own+`/token",service="entrepot",scope="repository:closed/other:pull,push"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"a redirect":               redirect("OWN/elsewhere"),
		"a redirect to link-local": redirect("http://169.254.169.254/latest/meta-data/"),
	}
}

func ranged(w http.ResponseWriter, r *http.Request, size int64, garbage func(http.ResponseWriter, string, int, int64)) {
	var from, to int64
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n != 2 {
		garbage(w, r.URL.Path, http.StatusOK, size)
		return
	}
	to = min(to, size-1)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
	garbage(w, r.URL.Path, http.StatusPartialContent, to-from+1)
}

func half(w http.ResponseWriter, r *http.Request, size int64) {
	w.Header().Set("Content-Length", fmt.Sprint(size))
	_, _ = w.Write(make([]byte, size/2))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

// leaseOf is a lease's key and record as replicas write them, with the digest and the holder to be put in.
type leaseOf struct{ key, record, digest, holder string }

func (s *set) learnLease(t *testing.T, c *client, authorization string) leaseOf {
	t.Helper()
	bait := fakehub.RandomBlob(77, 3_000_000)
	s.hub.Repo("closed/bait").AddBlob(bait)
	s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = steady })
	defer s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = 0 })
	reads := read(t.Context(), t, s.replicas[0], "/v2/closed/bait/blobs/"+bait.Digest.String(), "Authorization", authorization)
	reads.wantBytes(t, 1)
	for key := range s.gateway.Objects() {
		if strings.HasPrefix(key, fillLeases) && strings.Contains(key, bait.Digest.Encoded()) {
			return leaseOf{key, s.gateway.lease(bait.Digest), bait.Digest.Encoded(), s.replicas[0].URL}
		}
	}
	t.Fatal("nobody has the lease of what is fetched")
	return leaseOf{}
}

// forge writes a lease that names another holder.
func (l leaseOf) forge(t *testing.T, g *gateway, d digest.Digest, holder string) {
	t.Helper()
	replace := strings.NewReplacer(l.digest, d.Encoded(), l.holder, holder)
	l.write(t, g, d, replace.Replace(l.record))
}

func (l leaseOf) write(t *testing.T, g *gateway, d digest.Digest, record string) {
	t.Helper()
	if err := g.store(t).Put(t.Context(), strings.ReplaceAll(l.key, l.digest, d.Encoded()), strings.NewReader(record), int64(len(record))); err != nil {
		t.Fatal(err)
	}
}

func TestStrangersInTheBucket(t *testing.T) {
	t.Parallel()
	s := newSet(t, 1, withUsers(t))
	c := newClient(t, s.replicas[0].Addr)
	lease := s.learnLease(t, c, c.bearer(t, basic, "closed/bait"))
	sizes := map[string]int64{}
	answers, releases := strangers(func(path string) int64 { return sizes[path[strings.LastIndexByte(path, '/')+1:]] }), map[string]release{}
	for name := range answers {
		i := len(releases)
		r := s.newRelease(fmt.Sprintf("closed/app-%d", i), 700+uint64(i), 4_000, 300_000, 5_000_000)
		for _, b := range r.image.Blobs() {
			sizes[b.Digest.String()] = b.Size
		}
		for _, m := range r.manifests() {
			sizes[m.Digest.String()] = m.Size
		}
		releases[name] = r
	}
	for name, r := range releases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.meet(t, lease, r, newStranger(t, answers[name]))
		})
	}
	t.Cleanup(func() { wantNoSecrets(t, s.replicas...) })
}

// meet pulls an image whose every fetch a stranger holds, and looks at what the stranger was told.
func (s *set) meet(t *testing.T, lease leaseOf, r release, evil *stranger) {
	t.Helper()
	c := newClient(t, s.replicas[0].Addr)
	login := []string{"Authorization", c.bearer(t, basic, r.repo)}
	for _, m := range r.manifests() {
		lease.forge(t, s.gateway, m.Digest, evil.URL)
	}
	for _, b := range r.image.Blobs() {
		lease.forge(t, s.gateway, b.Digest, evil.URL)
	}
	for _, l := range r.image.Layers[1:] { // what is not verified before its first byte may be cut
		f := c.fetch(context.Background(), r.blobPath(l.Digest), nil, login...)
		if f.err == nil && (f.status != http.StatusOK || f.digest != l.Digest) {
			t.Errorf("%d bytes: %s", l.Size, f)
		}
		t.Logf("%d bytes: %s", l.Size, f)
	}
	t.Logf("the pull: %v", c.wantPull(t, r, login...))
	asked := evil.requests()
	if len(asked) == 0 {
		t.Error("the stranger was asked nothing")
	}
	for _, q := range asked {
		if !strings.HasPrefix(q.URL.Path, "/v2/docker.io/"+r.repo+"/") || q.Method != http.MethodGet {
			t.Errorf("the stranger was asked %s %s", q.Method, q.URL)
		}
		if q.Header.Get("Cookie") != "" || q.Header.Get("Authorization") == login[1] {
			t.Errorf("the stranger was told what is the client's: %v", q.Header)
		}
		s.wantTokenOf(t, q.Header.Get("Authorization"), r.repo, "/v2/docker.io/closed/bait/blobs/sha256:"+lease.digest)
	}
}

// wantTokenOf wants a token that pulls this repository and does nothing else. elsewhere is what another one has.
func (s *set) wantTokenOf(t *testing.T, authorization, repo, elsewhere string) {
	t.Helper()
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	parts := strings.Split(token, ".")
	var claims struct {
		Access []struct {
			Type, Name string
			Actions    []string
		}
		Exp, Iat int64
	}
	if !ok || len(parts) != 3 {
		t.Errorf("no token: %.20s", authorization)
		return
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil || len(claims.Access) != 1 || claims.Access[0].Name != "docker.io/"+repo && claims.Access[0].Name != repo || !slices.Equal(claims.Access[0].Actions, []string{"pull"}) {
		t.Errorf("the token is for %s: %v", text, err)
	}
	if life := claims.Exp - claims.Iat; life <= 0 || life > 300 {
		t.Errorf("the token lives for %d s", life)
	}
	c, replay := newClient(t, s.replicas[0].Addr), []string{"Authorization", authorization}
	for _, path := range []string{elsewhere, "/v2/closed/bait/tags/list", "/v2/_catalog"} {
		if f := c.fetch(context.Background(), path, nil, replay...); f.status != http.StatusUnauthorized {
			t.Errorf("the token opens %s: %s", path, f)
		}
	}
	a := c.send(context.Background(), http.MethodPost, "/v2/app/blobs/uploads/", nil, replay...)
	if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		t.Errorf("the token pushes: %v", a)
	}
}

// A lease can be anything: whoever writes to the bucket may have written it.
func TestLeasesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s := newSet(t, 1, withUsers(t))
	c := newClient(t, s.replicas[0].Addr)
	lease := s.learnLease(t, c, c.bearer(t, basic, "closed/bait"))
	i := 0
	for name, record := range map[string]string{
		"nothing": "", "no JSON": "{", "null": "null", "another kind": `["a"]`, "long": strings.Repeat("x", 2<<20),
		"a file":          strings.ReplaceAll(lease.record, lease.holder, "file:///etc/passwd"),
		"a link-local":    strings.ReplaceAll(lease.record, lease.holder, "http://169.254.169.254"),
		"no host":         strings.ReplaceAll(lease.record, lease.holder, "http://"),
		"no address":      strings.ReplaceAll(lease.record, lease.holder, ""),
		"a closed port":   strings.ReplaceAll(lease.record, lease.holder, "http://127.0.0.1:1"),
		"a password":      strings.ReplaceAll(lease.record, lease.holder, "http://somebody:else@127.0.0.1:1"),
		"a path of HTTP":  strings.ReplaceAll(lease.record, lease.holder, "http://127.0.0.1:1/a b\\r\\nX: y"),
		"the server self": lease.record,
	} {
		i++
		r := s.newRelease(fmt.Sprintf("closed/app-%d", i), 750+uint64(i), 4_000, 1_500_000)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range r.manifests() {
				lease.write(t, s.gateway, m.Digest, record)
			}
			for _, b := range r.image.Blobs() {
				lease.write(t, s.gateway, b.Digest, record)
			}
			took := c.wantPull(t, r, "Authorization", c.bearer(t, basic, r.repo))
			t.Logf("%v", took)
			if took > patience {
				t.Errorf("the pull took %v", took)
			}
		})
	}
	t.Cleanup(func() { wantNoSecrets(t, s.replicas...) })
}
