package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/bucket"
	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// crash is a server that is killed again and again, on the same data, and what its clients know of it. Or it is several on
// one bucket, one of which is killed at a time.
type crash struct {
	*testing.T
	servers []*server.Server
	bucket  *bucket.Server // nil: the server has a disk
	client  *client        // of all servers in turn
	direct  []*client      // of each
	model   *model

	layers []fakehub.Blob // that many images share
	loose  []fakehub.Blob // that no manifest names

	killed     atomic.Bool // from just before the kill until the next start
	over       atomic.Bool // the actors shall end
	collecting bool        // in this round

	mu    sync.Mutex
	open  []*upload
	count map[string]int // of answers

	acked, deleted, collected, resumed atomic.Int64
}

// What is acknowledged survives SIGKILL at any moment, and what is not is never seen in part. Whether it would survive a
// power cut is the matter of TestAcknowledgedPushesAreOnStableStorage.
func TestKillsLoseNothing(t *testing.T) {
	s := server.New(t, crashOptions())
	newCrash(t, newClient(t, s), s).rounds(full(200, 20))
}

// The others go on meanwhile, and what one of them has begun is gone on with at another.
func TestKillsOfAReplicaLoseNothing(t *testing.T) {
	t.Parallel()
	s := replicasOn(t, crashOptions())
	c := newCrash(t, s.client, s.server, s.others[0])
	c.bucket = s.bucket
	c.rounds(full(100, 4))
}

func crashOptions() server.Options {
	return server.Options{Env: map[string]string{"DEFAULT_UPSTREAM": "none", "ACCESS_LOG": "off"}}
}

func (c *crash) rounds(n int) {
	seed := crashSeed(c.T)
	c.start()
	for round := range n {
		c.round(round, rand.New(rand.NewPCG(seed, uint64(round))))
		if c.Failed() {
			c.Fatalf("in round %d", round)
		}
	}
	c.Logf("%d manifests and %d deletions were acknowledged, %d collections ended, %d uploads were resumed; answers: %v",
		c.acked.Load(), c.deleted.Load(), c.collected.Load(), c.resumed.Load(), c.count)
	for what, n := range map[string]*atomic.Int64{"manifest": &c.acked, "deletion": &c.deleted, "collection": &c.collected, "resumed upload": &c.resumed} {
		if n.Load() == 0 && (what != "resumed upload" || len(c.servers) == 1) {
			c.Errorf("there was no %s in any round", what)
		}
	}
	c.emptied()
}

func crashSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("E2E_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("E2E_SEED=%d makes the same choices again; how the requests meet is up to the machine", seed)
	return seed
}

func newCrash(t *testing.T, cl *client, servers ...*server.Server) *crash {
	t.Helper()
	c := &crash{T: t, servers: servers, client: cl, model: newModel(), count: map[string]int{}}
	for _, s := range servers {
		c.direct = append(c.direct, newClient(t, s))
	}
	for i := range 24 {
		c.layers = append(c.layers, fakehub.RandomBlob(uint64(i), int64(i*i*100)))
	}
	c.layers = append(c.layers, fakehub.RandomBlob(100, 1<<20), fakehub.RandomBlob(101, 3<<20), sha512Blob(102, 20_000))
	for i := range 4 {
		c.loose = append(c.loose, fakehub.RandomBlob(uint64(200+i), int64(2+i*50_000)))
	}
	return c
}

func sha512Blob(seed uint64, size int64) fakehub.Blob {
	b := fakehub.RandomBlob(seed, size)
	bytes := make([]byte, size)
	if _, err := b.Content.ReadAt(bytes, 0); err != nil && err != io.EOF {
		panic(err)
	}
	b.Digest = digest.SHA512.FromBytes(bytes)
	return b
}

// start starts the servers that do not run.
func (c *crash) start() {
	for _, s := range c.servers {
		if !s.Running() {
			s.Start()
		}
	}
	if b, ok := c.client.http.Transport.(*turns); ok {
		b.gone.Store(nil)
	}
	c.killed.Store(false)
	c.over.Store(false)
}

// round lets the actors work, kills the server or one of them, starts it again and looks at everything.
func (c *crash) round(n int, choose *rand.Rand) {
	c.collecting = choose.IntN(3) > 0
	actors := []func(*actor){(*actor).push, (*actor).push, (*actor).push, (*actor).push, (*actor).remove}
	if c.collecting {
		actors = append(actors, (*actor).collect)
	}
	var group sync.WaitGroup
	for i, act := range actors {
		a := &actor{crash: c, rand: rand.New(rand.NewPCG(choose.Uint64(), 0)), serial: uint64(1+n)<<40 + uint64(i)<<32}
		group.Go(func() { act(a) }) // ends with the server
	}
	time.Sleep(time.Duration(50+choose.IntN(950)) * time.Millisecond)
	dies := c.servers[n%len(c.servers)]
	c.killed.Store(true)
	c.over.Store(len(c.servers) == 1)
	dies.Kill()
	if b, ok := c.client.http.Transport.(*turns); ok { // the others go on, alone once that is noticed
		time.Sleep(time.Duration(choose.IntN(100)) * time.Millisecond)
		b.gone.Store(&dies.Addr)
		time.Sleep(time.Duration(choose.IntN(900)) * time.Millisecond)
		c.over.Store(true)
	}
	group.Wait()

	c.start()
	c.resumeUploads()
	for _, by := range c.direct {
		c.check(afterKill, by)
	}
	c.gc(n)
	c.gc(n + 1)
	for _, by := range c.direct {
		c.check(afterCollection, by)
	}
}

// ask sends a request. Status 0 is for a server that died before it answered.
func (c *crash) ask(method, path string, body io.Reader, size int64, header ...string) answer {
	a := c.client.send(context.Background(), method, path, body, size, header...)
	if a.status == 0 && !c.killed.Load() {
		c.Errorf("%s %s: %v, and the server was not killed", method, path, a.err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[fmt.Sprintf("%s %d", method, a.status)]++
	return a
}

// outcome is for a write that good acknowledges. Busy servers may say so.
func (c *crash) outcome(a answer, good int) outcome {
	switch a.status {
	case good:
		return acked
	case 0, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return unknown
	}
	c.Errorf("status %d, want %d: %.300s", a.status, good, a.body)
	return unknown
}

// leave keeps an upload that the kill broke off.
func (c *crash) leave(u *upload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, u)
}

// gc collects by way of one of the servers, whether that runs or not.
func (c *crash) gc(n int) {
	out, code := c.servers[n%len(c.servers)].Run("gc", "--grace", "0s")
	switch {
	case code == 0:
		c.collected.Add(1)
	case !c.killed.Load():
		c.Errorf("gc ends with %d: %s", code, out)
	}
}

// emptied deletes every manifest and collects: nothing may be left of what the kills broke off.
func (c *crash) emptied() {
	for _, f := range c.model.all("manifest") {
		c.ask(http.MethodDelete, manifestPath(f.repo, f.name), nil, 0)
	}
	for _, s := range c.servers {
		if code := s.Stop(); code != 0 {
			c.Errorf("a server ends with %d", code)
		}
	}
	c.gc(0)
	c.gc(1)
	left := c.hosted()
	if len(left) == 0 { // not even what a collection notes of itself
		c.Error("there are no hosted repositories where they should be")
	}
	for key, path := range left {
		text, err := os.ReadFile(path)
		if err != nil {
			c.Fatal(err)
		}
		if key != "run" && !strings.HasPrefix(string(text), `{"gone":`) {
			c.Errorf("%s is left: %.300q", key, text)
		}
	}
}

// hosted gives the files of all objects of hosted repositories, by their keys.
func (c *crash) hosted() map[string]string {
	files := map[string]string{}
	if c.bucket != nil {
		for key, path := range c.bucket.Objects() {
			if key, found := strings.CutPrefix(key, "hosted/"); found {
				files[key] = path
			}
		}
		return files
	}
	root := filepath.Join(c.servers[0].Data, "objects", "hosted")
	for _, path := range (site{T: c.T, server: c.servers[0]}).files(root) {
		files[strings.TrimPrefix(path, root+"/")] = path
	}
	return files
}
