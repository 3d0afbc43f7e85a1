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

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// crash is a server that is killed again and again, on the same data, and what its clients know of it.
type crash struct {
	*testing.T
	server *server.Server
	client *client
	model  *model

	layers []fakehub.Blob // that many images share
	loose  []fakehub.Blob // that no manifest names

	killed     atomic.Bool // from just before the kill until the next start
	collecting bool        // in this round

	mu    sync.Mutex
	open  []*upload
	count map[string]int // of answers

	acked, deleted, collected, resumed atomic.Int64
}

// What is acknowledged survives SIGKILL at any moment, and what is not is never seen in part. Whether it would survive a
// power cut is the matter of TestAcknowledgedPushesAreOnStableStorage.
func TestKillsLoseNothing(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("E2E_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("E2E_SEED=%d makes the same choices again; how the requests meet is up to the machine", seed)
	c := newCrash(t)
	c.start()
	for round := range full(200, 20) {
		c.round(round, rand.New(rand.NewPCG(seed, uint64(round))))
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d manifests and %d deletions were acknowledged, %d collections ended, %d uploads were resumed; answers: %v",
		c.acked.Load(), c.deleted.Load(), c.collected.Load(), c.resumed.Load(), c.count)
	for what, n := range map[string]*atomic.Int64{"manifest": &c.acked, "deletion": &c.deleted, "collection": &c.collected, "resumed upload": &c.resumed} {
		if n.Load() == 0 {
			t.Errorf("there was no %s in any round", what)
		}
	}
	c.emptied()
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	s := server.New(t, server.Options{Env: map[string]string{"DEFAULT_UPSTREAM": "none", "ACCESS_LOG": "off"}})
	c := &crash{T: t, server: s, client: newClient(t, s), model: newModel(), count: map[string]int{}}
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

func (c *crash) start() {
	c.server.Start()
	c.killed.Store(false)
}

// round lets the actors work, kills the server, starts it again and looks at everything.
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
	c.killed.Store(true)
	c.server.Kill()
	group.Wait()

	c.start()
	c.resumeUploads()
	c.check(afterKill)
	c.gc()
	c.gc()
	c.check(afterCollection)
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

func (c *crash) gc() {
	out, code := c.server.Run("gc", "--grace", "0s")
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
	if code := c.server.Stop(); code != 0 {
		c.Errorf("the server ends with %d", code)
	}
	c.gc()
	c.gc()
	hosted := filepath.Join(c.server.Data, "objects", "hosted")
	left := site{T: c.T, server: c.server}.files(hosted)
	if len(left) == 0 { // not even what a collection notes of itself
		c.Errorf("%s is not where hosted repositories are", hosted)
	}
	for _, path := range left {
		text, err := os.ReadFile(path)
		if err != nil {
			c.Fatal(err)
		}
		if path != filepath.Join(hosted, "run") && !strings.HasPrefix(string(text), `{"gone":`) {
			c.Errorf("%s is left: %.300q", path, text)
		}
	}
}
