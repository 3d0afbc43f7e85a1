package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

// neighbour is a server as the others see it, over a connection that is given up after a second without a byte.
type neighbour struct {
	at *server
	up Upstream // of its manifests
}

var errNeighbour = errors.New("the other server")

func (n *neighbour) FetchBlob(ctx context.Context, d digest.Digest, off, size int64) (Part, error) {
	during, cancel := context.WithCancel(Alone(ctx))
	patience := time.AfterFunc(time.Second, cancel)
	defer patience.Stop()
	r := Whole
	if size >= 0 {
		r = Range{off, off + size}
	}
	rd, err := n.at.blobs.Open(during, n.at.from, d, r)
	if err != nil {
		cancel()
		return Part{}, fmt.Errorf("%w: %v", errNeighbour, err)
	}
	rd.OnWait(func() error { return fmt.Errorf("%w keeps silent", errNeighbour) })
	return Part{Body: &neighbourBody{rd, ctx, cancel}, Off: rd.Start(), Len: rd.Len(), Size: rd.Size(), Ranged: size >= 0}, nil
}

func (n *neighbour) FetchManifest(ctx context.Context, d digest.Digest) (Manifest, error) {
	ctx, cancel := context.WithTimeout(Alone(ctx), time.Second)
	defer cancel()
	a, err := n.at.manifests.Get(ctx, n.up, string(d))
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %v", errNeighbour, err)
	}
	return *a.Manifest, nil
}

type neighbourBody struct {
	*Reader
	ctx    context.Context // of whoever asks
	cancel func()
}

func (b *neighbourBody) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, b.ctx.Err()
	}
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %v", errNeighbour, err)
	}
	return n, err
}

func (b *neighbourBody) Close() error {
	defer b.cancel()
	return b.Reader.Close()
}

// gone is a server that nobody reaches.
type gone struct{}

func (gone) FetchBlob(context.Context, digest.Digest, int64, int64) (Part, error) {
	return Part{}, fmt.Errorf("%w: connection refused", errNeighbour)
}

func (gone) FetchManifest(context.Context, digest.Digest) (Manifest, error) {
	return Manifest{}, fmt.Errorf("%w: connection refused", errNeighbour)
}

// odd is a server that answers with something else than it should.
type odd struct {
	Peer
	change func(b []byte) []byte
	short  int64 // bytes of the blob after which bodies break; 0: none
}

func (p *odd) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (Part, error) {
	part, err := p.Peer.FetchBlob(ctx, d, off, n)
	if err != nil || p.change == nil && p.short == 0 {
		return part, err
	}
	var body io.Reader = part.Body
	if p.short > 0 {
		body = io.MultiReader(io.LimitReader(body, max(0, p.short-part.Off)), iotest.ErrReader(io.ErrUnexpectedEOF))
	} else {
		all, err := io.ReadAll(body)
		if err != nil {
			return Part{}, err
		}
		body = bytes.NewReader(p.change(all))
	}
	part.Body = struct {
		io.Reader
		io.Closer
	}{body, part.Body}
	return part, nil
}

// askedPeer counts how often it is asked.
type askedPeer struct {
	gone
	n atomic.Int64
}

func (p *askedPeer) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (Part, error) {
	p.n.Add(1)
	return p.gone.FetchBlob(ctx, d, off, n)
}

func (p *askedPeer) FetchManifest(ctx context.Context, d digest.Digest) (Manifest, error) {
	p.n.Add(1)
	return p.gone.FetchManifest(ctx, d)
}

type silentPeer struct{ gone }

func (silentPeer) FetchManifest(ctx context.Context, _ digest.Digest) (Manifest, error) {
	select {
	case <-time.After(time.Second):
		return Manifest{}, errors.New("no answer")
	case <-ctx.Done():
		return Manifest{}, ctx.Err()
	}
}

type wrongManifest struct{ gone }

func (wrongManifest) FetchManifest(_ context.Context, d digest.Digest) (Manifest, error) {
	return Manifest{Digest: d, Bytes: []byte("{}")}, nil
}

// lease has the record of a blob's lease name a holder, as a process leaves it that died.
func (f *fleet) lease(b []byte, holder string) {
	f.t.Helper()
	f.common.put(f.t, leaseInBucket(b), fmt.Appendf(nil, `{"holder":%q,"nonce":"x"}`, holder))
}

// holder is who has the lease of a blob; empty: nobody.
func (f *fleet) holder(b []byte) string {
	f.t.Helper()
	var record struct{ Holder string }
	text, _, err := f.common.whole.Get(context.Background(), leaseInBucket(b))
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil {
		return ""
	}
	return record.Holder
}

func (f *fleet) wantNoLease() {
	f.t.Helper()
	if keys := f.common.keys("leases/"); len(keys) > 0 {
		f.t.Errorf("left: %q", keys)
	}
}

// together has all servers pull a blob at once, and opens the gate when all of them wait.
func together(b []byte, gate chan struct{}, servers ...*server) {
	var pulls sync.WaitGroup
	for _, s := range servers {
		pulls.Go(func() {
			if n, whole, err := matchBlob(s.blobs, s.from, b, Whole); !whole || err != nil {
				s.t.Errorf("%d of %d bytes, %v", n, len(b), err)
			}
		})
	}
	synctest.Wait()
	close(gate)
	pulls.Wait()
	synctest.Wait()
}
