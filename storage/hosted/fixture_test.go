package hosted

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// site is a registry over a store in memory.
type site struct {
	*Registry
	t     *testing.T
	clock *clock
	store storage.Store
}

func newSite(t *testing.T, change ...func(*Options)) *site {
	t.Helper()
	c := newClock()
	return newSiteOver(t, c, mem.New(c.Now), change...)
}

func newSiteOver(t *testing.T, c *clock, s storage.Store, change ...func(*Options)) *site {
	t.Helper()
	o := Options{Store: s, Grace: time.Hour, Ahead: 3, Now: c.Now}
	for _, f := range change {
		f(&o)
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &site{Registry: g, t: t, clock: c, store: s}
}

// onEveryStore runs a test over each kind of store that the product has.
func onEveryStore(t *testing.T, f func(t *testing.T, s *site)) {
	t.Run("mem", func(t *testing.T) { f(t, newSite(t)) })
	t.Run("disk", func(t *testing.T) {
		d, err := disk.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		f(t, newSiteOver(t, newClock(), storage.Under(d, "hosted")))
	})
}

// random gives bytes that no other call gives, and their digest.
func random(n int) ([]byte, digest.Digest) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b, digest.FromBytes(b)
}

// imageOf gives an image manifest of the blobs.
func imageOf(blobs ...[]byte) []byte {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i, b := range blobs {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(b), Size: int64(len(b))}
		if i == 0 {
			d.MediaType = ocispec.MediaTypeImageConfig
			m.Config = d
			continue
		}
		m.Layers = append(m.Layers, d)
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *site) pushBlob(repo string, b []byte) digest.Digest {
	s.t.Helper()
	d := digest.FromBytes(b)
	if err := s.Repo(repo).PushBlob(s.t.Context(), d, bytes.NewReader(b), int64(len(b))); err != nil {
		s.t.Fatalf("push blob: %v", err)
	}
	return d
}

func (s *site) pushManifest(repo string, b []byte, tags ...string) digest.Digest {
	s.t.Helper()
	p, err := s.Repo(repo).PutManifest(s.t.Context(), ManifestPush{Bytes: b, Tags: tags})
	if err != nil {
		s.t.Fatalf("push manifest: %v", err)
	}
	return p.Digest
}

// pushImage pushes an image of two random blobs.
func (s *site) pushImage(repo string, tags ...string) (manifest digest.Digest, blobs []digest.Digest) {
	s.t.Helper()
	config, _ := random(100)
	layer, _ := random(1000)
	blobs = []digest.Digest{s.pushBlob(repo, config), s.pushBlob(repo, layer)}
	return s.pushManifest(repo, imageOf(config, layer), tags...), blobs
}

// readBlob reads a whole blob and checks its digest.
func (s *site) readBlob(repo string, d digest.Digest) ([]byte, error) {
	blob, err := s.Repo(repo).Blob(s.t.Context(), d)
	if err != nil {
		return nil, err
	}
	r, err := blob.Open(s.t.Context(), 0, blob.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil && d.Algorithm().FromBytes(b) != d {
		err = fmt.Errorf("%d bytes do not have digest %s", len(b), d)
	}
	return b, err
}

func (s *site) wantBlob(repo string, d digest.Digest) {
	s.t.Helper()
	if _, err := s.readBlob(repo, d); err != nil {
		s.t.Errorf("blob %.19s of %s: %v", d, repo, err)
	}
}

func (s *site) wantError(doing string, got, want error) {
	s.t.Helper()
	if !errors.Is(got, want) {
		s.t.Errorf("%s: error is %v, want %v", doing, got, want)
	}
}

// collect runs a full collection.
func (s *site) collect() CollectReport {
	s.t.Helper()
	report, err := s.Collect(s.t.Context(), CollectOptions{Grace: -1, Full: true})
	if err != nil {
		s.t.Fatalf("collect: %v", err)
	}
	return report
}

// keys lists what the store has in a folder, tombstones left out.
func (s *site) keys(folder string) (keys []string) {
	s.t.Helper()
	for info, err := range s.store.List(context.Background(), folder, "") {
		if err != nil {
			s.t.Fatal(err)
		}
		if !hasEnded(info) || strings.HasPrefix(info.Key, partFolder) {
			keys = append(keys, info.Key)
		}
	}
	return keys
}
