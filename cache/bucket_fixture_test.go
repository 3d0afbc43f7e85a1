package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

var errGoneBucket = fmt.Errorf("connection refused: %w", storage.ErrUnavailable)

// errLost has an operation take effect, and its answer lost.
var errLost = errors.New("the answer is lost")

// commons is a bucket that notes what it is asked, and misbehaves on demand.
type commons struct {
	storage.Store            // with what it does wrong
	whole         *mem.Store // what is there

	mu     sync.Mutex // guards all below
	asked  []string   // operation and key
	fault  func(ctx context.Context, op storagetest.Op, key string) error
	left   int64 // bytes of blobs that it gives until it breaks; negative: all
	silent bool  // where it should break, it keeps silent
	given  extents
	stuck  func(at int64) bool // nil, or which bytes never come
}

func newCommons() *commons {
	s := &commons{whole: mem.New(time.Now), left: -1}
	s.Store = storagetest.Around(s.whole, s.hook)
	return s
}

func (s *commons) hook(ctx context.Context, op storagetest.Op, key string, do func() error) error {
	s.mu.Lock()
	if op != storagetest.Read {
		s.asked = append(s.asked, string(op)+" "+key)
	}
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return do()
	}
	err := fault(ctx, op, key)
	switch err {
	case nil:
		return do()
	case errLost:
		_ = do()
		return errGoneBucket
	}
	return err
}

// fail sets what goes wrong from now on; nil: nothing.
func (s *commons) fail(fault func(ctx context.Context, op storagetest.Op, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// breakAfter has it give n more bytes of blobs, and then none, with an error or without a word.
func (s *commons) breakAfter(n int64, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.silent = n, silent
}

// count is how often it was asked since it was last forgotten: operations that begin with what, a prefix of "<op> <key>".
func (s *commons) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if strings.HasPrefix(a, what) {
			n++
		}
	}
	return n
}

func (s *commons) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.given = nil, nil
}

func (s *commons) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, info, err := s.Store.Open(ctx, key, off, n)
	if err != nil {
		return nil, info, err
	}
	return &commonsBody{body, ctx, s, off}, info, nil
}

type commonsBody struct {
	io.ReadCloser
	ctx context.Context
	s   *commons
	at  int64
}

func (b *commonsBody) Read(p []byte) (int, error) {
	b.s.mu.Lock()
	left, silent := b.s.left, b.s.silent
	if left > 0 {
		p = p[:min(int64(len(p)), left)]
		b.s.left -= int64(len(p))
	}
	b.s.mu.Unlock()
	switch {
	case b.ctx.Err() != nil:
		return 0, b.ctx.Err()
	case left == 0 && silent, b.s.stuck != nil && b.s.stuck(b.at):
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	case left == 0:
		return 0, errGoneBucket
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), 50_000)])
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.given.add(b.at, b.at+int64(n))
	b.at += int64(n)
	return n, err
}

// keys lists what is there.
func (s *commons) keys(prefix string) (keys []string) {
	for info := range s.whole.List(context.Background(), prefix, "") {
		keys = append(keys, info.Key)
	}
	return keys
}

func (s *commons) put(t *testing.T, key string, b []byte) {
	t.Helper()
	if err := s.whole.Put(t.Context(), key, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

// holds reports whether a blob is there, with the right bytes.
func (s *commons) holds(b []byte) bool {
	got, _, err := s.whole.Get(context.Background(), blobInBucket(b))
	return err == nil && bytes.Equal(got, b)
}

func blobInBucket(b []byte) string { return "cache/" + bucketBlob(digest.FromBytes(b)) }

func leaseInBucket(b []byte) string { return "leases/" + digestKey(digest.FromBytes(b)) }

// onlyLeases is a bucket that has no blobs to give.
type onlyLeases struct{ storage.Store }

func (onlyLeases) Open(_ context.Context, key string, _, _ int64) (io.ReadCloser, storage.Info, error) {
	return nil, storage.Info{}, fmt.Errorf("open %s: %w", key, storage.ErrNotFound)
}
