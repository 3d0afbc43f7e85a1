package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/replica"
	"github.com/opencontainers/go-digest"
)

// contexts are those that the cache was asked with.
type contexts struct {
	mu  sync.Mutex
	all []context.Context
}

func (c *contexts) add(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, ctx)
}

type markedManifests struct {
	fakeManifests
	seen *contexts
}

func (m markedManifests) Hot(cache.Repo, string) (*cache.Manifest, bool) { return nil, false }

func (m markedManifests) Get(ctx context.Context, up cache.Upstream, ref string) (cache.Answer, error) {
	m.seen.add(ctx)
	return m.fakeManifests.Get(ctx, up, ref)
}

// Resolve knows no size, so that the manifest is asked for too.
func (m markedManifests) Resolve(ctx context.Context, up cache.Upstream, ref string) (cache.Descriptor, cache.Tier, string, error) {
	m.seen.add(ctx)
	d, tier, warning, err := m.fakeManifests.Resolve(ctx, up, ref)
	d.Size = -1
	return d, tier, warning, err
}

type markedBlobs struct {
	fakeBlobs
	seen *contexts
}

func (b markedBlobs) Hot(cache.Repo, digest.Digest) ([]byte, bool) { return nil, false }

func (b markedBlobs) Stat(ctx context.Context, from cache.Origin, d digest.Digest) (int64, cache.Tier, error) {
	b.seen.add(ctx)
	return b.fakeBlobs.Stat(ctx, from, d)
}

func (b markedBlobs) Open(ctx context.Context, from cache.Origin, d digest.Digest, r cache.Range) (Content, error) {
	b.seen.add(ctx)
	return b.fakeBlobs.Open(ctx, from, d, r)
}

// marked starts a server of that ID, and gives the contexts of what is asked of its cache.
func marked(t *testing.T, id string, log io.Writer) (*running, *contexts) {
	t.Helper()
	seen := new(contexts)
	f := filled()
	return start(t, f, func(o *Options) {
		o.Manifests, o.Blobs = markedManifests{fakeManifests{f}, seen}, markedBlobs{fakeBlobs{f}, seen}
		o.ReplicaID, o.AccessLog, o.Log = id, AccessLogOn, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}), seen
}

var askedOfTheCache = []struct{ method, path string }{
	{"GET", "/v2/library/nginx/manifests/" + sha512}, {"HEAD", "/v2/library/nginx/manifests/" + sha512},
	{"GET", "/v2/library/nginx/blobs/" + sha512}, {"HEAD", "/v2/library/nginx/blobs/" + sha512},
}

func TestWhatAnotherServerAsksForIsAskedOfNoThird(t *testing.T) {
	for _, c := range []struct {
		fact, id string
		header   []string
		alone    bool
	}{
		{"another server", "a", []string{replica.Header, "b"}, true},
		{"another server, whose ID begins as ours", "a", []string{replica.Header, "aa"}, true},
		{"the longest ID", "a", []string{replica.Header, strings.Repeat("b", 64)}, true},
		{"a client", "a", nil, false},
		{"an empty ID", "a", []string{replica.Header, ""}, false},
		{"an ID that is too long", "a", []string{replica.Header, strings.Repeat("b", 65)}, false},
		{"an ID with a blank", "a", []string{replica.Header, "b c"}, false},
		{"an ID that is not ASCII", "a", []string{replica.Header, "\xc3\xa9"}, false},
		{"a server that no other one asks", "", []string{replica.Header, "b"}, false},
	} {
		server, seen := marked(t, c.id, io.Discard)
		for _, r := range askedOfTheCache {
			server.do(t, r.method, r.path, c.header...)
		}
		server.do(t, "GET", "/v2/library/nginx/manifests/"+sha512) // the next call is one of its own
		if len(seen.all) != len(askedOfTheCache)+2 {               // HEAD of a manifest of unknown size is two
			t.Fatalf("%s: the cache was asked %d times", c.fact, len(seen.all))
		}
		last := len(seen.all) - 1
		for i, ctx := range seen.all {
			if got := reflect.DeepEqual(ctx, cache.Alone(server.ctx)); got != (c.alone && i < last) || !got && ctx != server.ctx {
				t.Errorf("%s: question %d: alone %v", c.fact, i, got)
			}
		}
	}
}

func TestARequestThatComesBackIsRefused(t *testing.T) {
	var log shared
	server, seen := marked(t, "replica-1", &log)
	for _, r := range append(askedOfTheCache, []struct{ method, path string }{{"GET", "/v2/"}, {"GET", "/v2/team/app/tags/list"}, {"PUT", "/v2/team/app/manifests/v1"}}...) {
		got, body := server.do(t, r.method, r.path, replica.Header, "replica-1")
		if got.StatusCode != 421 || r.method != "HEAD" && !strings.Contains(body, "an ADVERTISE_URL leads to") {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.StatusCode, body)
		}
	}
	if len(seen.all) > 0 {
		t.Errorf("%d questions", len(seen.all))
	}
	for _, id := range []string{"r3plica", "bl4nk \xff", strings.Repeat("l0ng", 100)} {
		server.do(t, "GET", "/v2/library/nginx/manifests/none", replica.Header, id)
	}
	if err := server.Shutdown(t.Context()); err != nil || log.String() == "" {
		t.Fatalf("%v, %q", err, log.String())
	}
	for _, id := range []string{"replica-1", "r3plica", "bl4nk", "l0ng"} {
		if strings.Contains(log.String(), id) {
			t.Errorf("%s is logged: %s", id, log.String())
		}
	}
}

func TestIDsOfReplicas(t *testing.T) {
	for id, good := range map[string]bool{"": true, "a": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "a b": false, "a\n": false, "é": false} {
		o := options(filled())
		o.ReplicaID = id
		if _, err := New(o); (err == nil) != good {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// One server reads at another what only its credential, its policy's friends or its rules for clients would give.
func TestAReplicaReadsAtAnother(t *testing.T) {
	f := build(t, func(o *Options) { o.ReplicaID = "a" })
	ofB := replica.New(replica.Options{ID: "b", Token: f.guard.ReplicaToken})
	defer ofB.Close()
	for _, spelled := range []string{"library/nginx", "hidden/app", "gcr.io/corp/app", "docker.io/gcr.io/corp/chain", "corp.example/ours/app", "team2/xmrig"} {
		p := placeOf(spelled)
		registry, name, _ := strings.Cut(p.home, "/")
		at := ofB.At("http://"+f.addr, cache.Repo{Registry: registry, Name: name})
		m, err := at.FetchManifest(t.Context(), digest.Digest(p.manifest))
		if err != nil || string(m.Bytes) != string(p.manifestBytes) || m.MediaType != "application/vnd.oci.image.manifest.v1+json" {
			t.Errorf("%s: %s %v", spelled, m.MediaType, err)
		}
		part, err := at.FetchBlob(t.Context(), digest.Digest(p.blob), 5, 7)
		if err != nil {
			t.Errorf("%s: %v", spelled, err)
			continue
		}
		b, err := io.ReadAll(part.Body)
		part.Body.Close()
		if err != nil || string(b) != string(p.blobBytes[5:12]) || !part.Ranged || part.Size != int64(len(p.blobBytes)) {
			t.Errorf("%s: %q of %+v, %v", spelled, b, part, err)
		}
	}
	ofA := replica.New(replica.Options{ID: "a", Token: f.guard.ReplicaToken})
	defer ofA.Close()
	p := placeOf("library/nginx")
	for fact, c := range map[string]struct {
		client *replica.Client
		repo   cache.Repo
		status int
	}{
		"itself":                       {ofA, cache.Repo{Registry: "docker.io", Name: "library/nginx"}, 421},
		"what is hosted":               {ofB, cache.Repo{Registry: "team", Name: "app"}, 401},
		"a foreign registry":           {ofB, cache.Repo{Registry: "quay.io", Name: "library/nginx"}, 404},
		"what is not there":            {ofB, cache.Repo{Registry: "docker.io", Name: "library/absen"}, 404},
		"a registry with another port": {ofB, cache.Repo{Registry: "docker.io:443", Name: "library/nginx"}, 404},
	} {
		if _, err := c.client.At("http://"+f.addr, c.repo).FetchManifest(t.Context(), digest.Digest(p.manifest)); err == nil || !strings.Contains(err.Error(), fmt.Sprint("it answered ", c.status)) {
			t.Errorf("%s: %v", fact, err)
		}
	}
}

func TestAReplicaReadsFromARegistryWithAPort(t *testing.T) {
	f, d := filled(), digest.FromString("{}")
	f.manifests["127.0.0.1:7301/library/x:"+d.String()] = cache.Answer{Manifest: &cache.Manifest{MediaType: dockerManifest, Digest: d, Bytes: []byte("{}")}}
	server := start(t, f, func(o *Options) {
		o.Names.Upstreams = append(o.Names.Upstreams, "127.0.0.1:7301")
		o.Registries["127.0.0.1:7301"] = Registry{Repository: func(name string) Repository {
			return fakeRepository{repo: cache.Repo{Registry: "127.0.0.1:7301", Name: name}}
		}}
	})
	c := replica.New(replica.Options{ID: "b"})
	defer c.Close()
	if m, err := c.At("http://"+server.addr, cache.Repo{Registry: "127.0.0.1:7301", Name: "library/x"}).FetchManifest(t.Context(), d); err != nil || string(m.Bytes) != "{}" {
		t.Errorf("%q, %v", m.Bytes, err)
	}
}
