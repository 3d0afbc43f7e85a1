package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage/storagetest"
)

// troubles fail an operation now and then, in every way there is.
func troubles(seed uint64) func(context.Context, storagetest.Op, string) error {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, seed))
	return func(ctx context.Context, op storagetest.Op, key string) error {
		mu.Lock()
		n := rng.IntN(40)
		mu.Unlock()
		switch n {
		case 0, 1:
			return errGoneBucket
		case 2:
			return errLost
		case 3:
			return silence(ctx, op, key)
		case 4, 5, 6, 7:
			time.Sleep(time.Duration(n) * 300 * time.Millisecond)
		}
		return nil
	}
}

// Whatever a bucket does to several servers that pull the same: every pull is right, nothing wrong comes to the bucket, and once
// it is well again all that upstream gave is there and no lease is left.
func TestEveryPullIsRightWhateverTheBucketDoes(t *testing.T) {
	for seed := range uint64(8) {
		inFleet(t, fmt.Sprint(seed), func(t *testing.T, f *fleet) {
			i := newImage(nginx, "1")
			blobs := [][]byte{i.layer, randomBytes(seed, smallBlob+1), randomBytes(seed+100, firstChunk+100_000)}
			var servers []*server
			for n, name := range []string{"a", "b", "c"} {
				from := newOrigin("", blobs...)
				from.repo = nginx
				s := f.named(name, from, func(o *BlobOptions) { o.Size = int64(2-n) << 30 }) // the last one keeps nothing
				f.peers[name] = &neighbour{at: s, up: i.up}
				servers = append(servers, s)
			}
			f.common.fail(troubles(seed))
			var clients sync.WaitGroup
			for _, s := range servers {
				for range 2 {
					clients.Go(func() {
						if a, err := s.manifests.Get(t.Context(), i.up, "1"); err != nil || string(a.Manifest.Bytes) != string(i.man.Bytes) {
							t.Errorf("the manifest: %v", err)
						}
						for _, b := range blobs {
							if n, whole, err := matchBlob(s.blobs, s.from, b, Whole); !whole || err != nil {
								t.Errorf("%d of %d bytes, right and whole: %v, %v", n, len(b), whole, err)
							}
						}
					})
				}
			}
			clients.Wait()
			f.common.fail(nil)
			time.Sleep(persistence)
			synctest.Wait()
			for _, s := range servers {
				if s.from.open != 0 || len(s.blobs.alone) > 0 {
					t.Errorf("%d answers were not closed; upstream is blamed for %v", s.from.open, s.blobs.alone)
				}
			}
			for _, key := range f.common.keys("cache/blobs/") {
				b, _, _ := f.common.whole.Get(t.Context(), key)
				if d := digest.FromBytes(b); "cache/"+bucketBlob(d) != key {
					t.Errorf("%s has other bytes", key)
				}
			}
			time.Sleep(staleLease)
			if _, err := servers[0].bucket.Sweep(t.Context(), 0); err != nil {
				t.Error(err)
			}
			f.wantNoLease()
		})
	}
}
