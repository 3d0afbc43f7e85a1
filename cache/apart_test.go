package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

// pastCache notes why blobs went past the cache.
type pastCache struct {
	*tally
	mu      sync.Mutex
	reasons []string
}

func (p *pastCache) Streamed(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reasons = append(p.reasons, reason)
}

func TestHostedAndUpstreamFillsDoNotWaitForEachOther(t *testing.T) {
	for name, kinds := range map[string][2]Repo{"hosted behind upstream": {nginx, {}}, "upstream behind hosted": {{}, nginx}} {
		for _, size := range []int{smallBlob, 16 << 20} {
			inFleet(t, fmt.Sprint(name, " ", size), func(t *testing.T, f *fleet) {
				b := randomBytes(1, size)
				stuck, well := newOrigin("", b), newOrigin("", b)
				stuck.repo, well.repo = kinds[0], kinds[1]
				stall(stuck, int64(size)/8)
				past := &pastCache{tally: &tally{counts: map[string]int{}}}
				s := f.alone(stuck, func(o *BlobOptions) { o.Events = past })
				go matchBlob(s.blobs, stuck, b, Whole) // ends at Close
				synctest.Wait()

				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				rd, err := s.blobs.Open(ctx, well, digest.FromBytes(b), Whole)
				if err != nil {
					t.Fatal(err)
				}
				defer rd.Close()
				rd.OnWait(ctx.Err)
				var got bytes.Buffer
				if _, err := rd.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), b) {
					t.Errorf("%d of %d bytes, %v", got.Len(), size, err)
				}
				if fmt.Sprint(past.reasons) != "[foreign]" {
					t.Errorf("past the cache went: %q", past.reasons)
				}
			})
		}
	}
}

// slowly is an origin whose readers wait for each of its bytes.
type slowly struct{ *fakeOrigin }

func (o slowly) FetchBlob(ctx context.Context, d digest.Digest, off, n int64) (Part, error) {
	p, err := o.fakeOrigin.FetchBlob(ctx, d, off, n)
	if err == nil {
		p.Body = slowBody{p.Body}
	}
	return p, err
}

type slowBody struct{ io.ReadCloser }

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(wakeEvery)
	return b.ReadCloser.Read(p)
}

// Whoever ignores ranges is found out by as many requests as are made at once, none of which is for more than the front of the
// blob; then it is asked for the rest, once.
func TestAnUpstreamThatIgnoresRangesIsNotAskedForEachAfterTheBucketBroke(t *testing.T) {
	b := randomBytes(1, 64<<20)
	for name, r := range map[string]Range{"whole": Whole, "the end": {60 << 20, 64 << 20}} {
		for _, slow := range []bool{false, true} {
			inFleet(t, fmt.Sprint(name, " slowly ", slow), func(t *testing.T, f *fleet) {
				from := newOrigin("library/x", b)
				from.plain = true
				f.stock(from)
				f.common.breakAfter(3<<20, false)
				s, origin := f.alone(from), Origin(from)
				if slow {
					origin = slowly{from}
				}
				if n, whole, err := matchBlob(s.blobs, origin, b, r); !whole || err != nil {
					t.Errorf("%d bytes, %v", n, err)
				}
				settled(t, s.blobs)
				const fronts = maxParallel * (firstChunk + maxParallel*chunkBytes)
				gets, _ := from.requests()
				if sent := from.gave() + from.twice; gets > maxParallel+1 || sent > fronts+int64(len(b)) {
					t.Errorf("%d requests for %d MiB", gets, sent>>20)
				}
			})
		}
	}
}

func TestAHeadThatFailsKeepsNobodyFromWhatUpstreamGives(t *testing.T) {
	other := Repo{"docker.io", "other"}
	for _, out := range []Cause{CauseFailed, CauseTimeout} {
		inFleet(t, fmt.Sprint("blob ", out), func(t *testing.T, f *fleet) {
			b := randomBytes(1, 3<<20)
			f.stock(newOrigin("library/x", b))
			from := newOrigin("library/y", b)
			from.stat = func() (int64, error) { return 0, outage(out) }
			f.alone(from).wantFrom(int64(len(b)), b, Whole)
		})
		inFleet(t, fmt.Sprint("manifest ", out), func(t *testing.T, f *fleet) {
			i, same := newImage(nginx, "1"), newImage(other, "1")
			f.alone(i.origin()).pull(i, "1")
			same.up.fail(outage(out), nil)
			f.alone(same.origin()).wantManifest(same, string(same.man.Digest))
			same.up.wantAsked(t, 1, 1)
		})
	}
}
