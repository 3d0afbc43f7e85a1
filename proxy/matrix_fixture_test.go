package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fortress is a server with users, robots, a policy, and something in every place.
type fortress struct {
	*running
	t      testing.TB
	guard  *access.Guard
	store  *mem.Store // of what is hosted
	keys   *mem.Store // of keys and robots
	secret string     // directory of the files of users and policy
	later  *atomic.Int64
	http   *http.Transport

	asked  *atomic.Int64 // calls to the store of what is hosted, to the cache, and to upstreams
	tokens map[string]string
}

var matrixUsers = []string{"alice", "bob", "carol", "gone", "pusher", "deleter"}

func (f *fortress) writeUsers(names ...string) {
	f.t.Helper()
	var text strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("password of "+name), bcrypt.MinCost)
		if err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:%s\n", name, hash)
	}
	f.write("htpasswd", text.String())
}

func (f *fortress) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.secret, name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// refresh looks twice, after which files count.
func (f *fortress) refresh() {
	f.t.Helper()
	for range 2 {
		if err := f.guard.Refresh(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fortress) now() time.Time { return time.Now().Add(time.Duration(f.later.Load())) }

func build(t *testing.T, change func(*Options)) *fortress {
	t.Helper()
	f, cached, set := found(t)
	f.http = &http.Transport{DisableCompression: true}
	t.Cleanup(f.http.CloseIdleConnections)
	f.running = start(t, cached, func(o *Options) {
		set(o)
		if change != nil {
			change(o)
		}
	})
	return f
}

// found is a fortress without its server, the cache behind it, and what makes the options of its server.
func found(t testing.TB) (*fortress, *fakeCache, func(*Options)) {
	t.Helper()
	f := &fortress{
		t: t, store: mem.New(time.Now), keys: mem.New(time.Now), secret: t.TempDir(), later: new(atomic.Int64), asked: new(atomic.Int64),
		tokens: map[string]string{},
	}
	f.writeUsers(matrixUsers...)
	f.write("policy.yaml", matrixPolicy)
	fill, cached := f.fill()
	f.guard = f.open("", f.keys)
	return f, cached, func(o *Options) {
		o.Access, o.Hosted, o.Now = f.guard, fill, f.now
		o.Names = Names{
			Default: "docker.io", Upstreams: []string{"docker.io", "gcr.io", "corp.example"}, Hosted: []string{"team", "public", "vault"},
			Hosts: map[string]string{"gcr.mirror.test": "gcr.io", "hub.mirror.test": "docker.io"}, Self: []string{"registry.test"},
		}
		o.Registries["corp.example"] = Registry{Private: true, Repository: func(name string) Repository {
			return fakeRepository{repo: cache.Repo{Registry: "corp.example", Name: name}}
		}}
		o.Public = func(context.Context, Repository, string) (bool, error) { f.asked.Add(1); return false, nil }
		o.Manifests = watchedManifests{fakeManifests{cached}, f.asked}
		o.Blobs = watchedBlobs{fakeBlobs{cached}, f.asked}
	}
}

// connect is for requests that no client library sends.
func (f *fortress) connect() *net.TCPConn {
	f.t.Helper()
	c, err := net.DialTimeout("tcp", f.addr, 10*time.Second)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// open makes a guard of the fortress' files. Its tokens are good for its service and its store's keys only.
func (f *fortress) open(service string, store *mem.Store) *access.Guard {
	f.t.Helper()
	guard, err := access.Open(f.t.Context(), access.Options{
		Htpasswd: filepath.Join(f.secret, "htpasswd"), Policy: filepath.Join(f.secret, "policy.yaml"), Service: service,
		Upstreams: []string{"docker.io", "gcr.io", "corp.example"}, Store: store, Now: f.now,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return guard
}

// fill puts something into every place that there is.
func (f *fortress) fill() (*hosted.Registry, *fakeCache) {
	f.t.Helper()
	quiet, err := hosted.New(hosted.Options{Store: f.store})
	if err != nil {
		f.t.Fatal(err)
	}
	cached := &fakeCache{
		hotManifests: map[string]*cache.Manifest{}, manifests: map[string]cache.Answer{}, hotBlobs: map[string][]byte{},
		blobs: map[string]func(cache.Range) (Content, error){}, sizes: map[string]int64{},
	}
	for _, p := range places {
		switch {
		case p.exists && p.hosted():
			f.push(quiet.Repo(p.home), p)
		case p.exists:
			m := &cache.Manifest{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(p.manifest), Bytes: p.manifestBytes}
			for _, ref := range []string{"v1", "latest", p.manifest} {
				cached.manifests[p.home+":"+ref] = cache.Answer{Manifest: m, Tier: cache.TierDisk}
			}
			cached.hotManifests[p.home+":hot"] = m
			cached.hotBlobs[p.home+"@"+p.blob] = p.blobBytes
			cached.blobs[p.home+"@"+p.blob] = ofBytes(p.blobBytes, cache.TierDisk)
			cached.sizes[p.home+"@"+p.blob] = int64(len(p.blobBytes))
		}
	}
	counted := storagetest.Around(f.store, func(_ context.Context, _ storagetest.Op, _ string, do func() error) error {
		f.asked.Add(1)
		return do()
	})
	registry, err := hosted.New(hosted.Options{Store: counted})
	if err != nil {
		f.t.Fatal(err)
	}
	return registry, cached
}

func (f *fortress) push(repo hosted.Repo, p place) {
	f.t.Helper()
	for _, b := range [][]byte{p.blobBytes, []byte("{}")} {
		if err := repo.PushBlob(f.t.Context(), digest.FromBytes(b), strings.NewReader(string(b)), int64(len(b))); err != nil {
			f.t.Fatal(err)
		}
	}
	for _, m := range []struct {
		bytes []byte
		tags  []string
	}{{p.manifestBytes, []string{"v1", p.marker}}, {p.referrerBytes, nil}} {
		push := hosted.ManifestPush{Tags: m.tags, Digest: digest.FromBytes(m.bytes), MediaType: ocispec.MediaTypeImageManifest, Bytes: m.bytes}
		if _, err := repo.PutManifest(f.t.Context(), push); err != nil {
			f.t.Fatal(err)
		}
	}
}

// everything is the whole of a store, to tell whether anything in it has changed.
func (f *fortress) everything() string {
	f.t.Helper()
	var all strings.Builder
	for info, err := range f.store.List(f.t.Context(), "", "") {
		if err != nil {
			f.t.Fatal(err)
		}
		r, _, err := f.store.Open(f.t.Context(), info.Key, 0, -1)
		if err != nil {
			f.t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %q\n", info.Key, b)
	}
	return all.String()
}

// reply is an answer, and how often something was asked for it.
type reply struct {
	*http.Response
	body  string
	asked int64
}

// ask sends a request as it is, and waits until the server is done with it.
func (f *fortress) ask(method, target, body string, header ...string) reply {
	f.t.Helper()
	req, err := http.NewRequest(method, "http://"+f.addr, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	before := f.asked.Load()
	res, err := f.http.RoundTrip(req)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, target, err)
	}
	<-f.answered
	return reply{res, string(b), f.asked.Load() - before}
}

// text is all that a client can see of an answer.
func (r reply) text() string {
	var all strings.Builder
	header := r.Header.Clone()
	header.Del("Date")
	_ = header.Write(&all) // to a string
	return fmt.Sprintf("%d\n%s\n%s", r.StatusCode, &all, r.body)
}

// token asks for one as a client does; user is empty for nobody in particular.
func (f *fortress) token(user, password string, scopes ...string) string {
	f.t.Helper()
	key := fmt.Sprint(user, "\x00", password, "\x00", scopes, f.later.Load())
	if token := f.tokens[key]; token != "" {
		return token
	}
	var header []string
	if user != "" {
		header = []string{"Authorization", basicAuth(user, password)}
	}
	r := f.ask("GET", "/token?"+url.Values{"service": {"entrepot"}, "scope": scopes}.Encode(), "", header...)
	if r.StatusCode != 200 {
		f.t.Fatalf("a token of %q: %s", user, r.text())
	}
	var answer tokenAnswer
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		f.t.Fatal(err)
	}
	f.tokens[key] = answer.Token
	return answer.Token
}

func digestOf(b []byte) string { return digest.FromBytes(b).String() }
