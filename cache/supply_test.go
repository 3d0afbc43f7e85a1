package cache

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage/storagetest"
)

func TestWrongBytesInTheBucketAreNeverServedAndReplaced(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"flipped":   func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"empty":     func([]byte) []byte { return nil },
		"extended":  func(b []byte) []byte { return append(bytes.Clone(b), 'x') },
	} {
		for _, known := range []bool{true, false} {
			for _, size := range []int{10, smallBlob, 3 << 20} {
				for _, tier := range []string{"with a disk", "without a disk"} {
					inFleet(t, fmt.Sprint(name, " ", size, " known ", known, " ", tier), func(t *testing.T, f *fleet) {
						b := randomBytes(1, size)
						from := newOrigin("library/x", b)
						f.stock(from)
						bad := damage(b)
						f.common.put(t, blobInBucket(b), bad)
						if !known {
							f.common.put(t, "cache/"+seenKey(from.repo, digest.FromBytes(b)), encodeRecord(seenRecord{Size: -1}))
						}
						s := f.alone(from, diskTiers[tier])
						n, whole, err := matchBlob(s.blobs, from, b, Whole)
						if !whole && (err == nil || n >= int64(size)) {
							t.Errorf("%d bytes, %v: wrong bytes look complete", n, err)
						}
						if found := known && name != "flipped"; !whole && (max(size, len(bad)) <= smallBlob || found) {
							t.Errorf("the first pull failed: %v", err)
						}
						synctest.Wait()
						s.want(b, Whole) // at once: upstream is not to blame
						synctest.Wait()
						if len(s.blobs.alone) > 0 {
							t.Error("upstream is blamed")
						}
						if there := len(f.common.keys(blobInBucket(b))) > 0; there != (s.blobs.disk != nil) || there && !f.common.holds(b) {
							t.Errorf("in the bucket: %v, right: %v", there, f.common.holds(b))
						}
						if from.open != 0 {
							t.Errorf("%d answers were not closed", from.open)
						}
					})
				}
			}
		}
	}
}

func TestSmallWrongBytesInTheBucketAreNobodysAnswer(t *testing.T) {
	for _, tier := range []string{"with a disk", "without a disk"} {
		inFleet(t, tier, func(t *testing.T, f *fleet) {
			b := randomBytes(1, smallBlob)
			f.stock(newOrigin("library/x", b))
			f.common.put(t, blobInBucket(b), make([]byte, len(b)))
			s := f.alone(newOrigin("library/x", b), diskTiers[tier])
			gate := make(chan struct{})
			f.common.fail(only(storagetest.Open, func(context.Context, storagetest.Op, string) error { <-gate; return nil }))
			together(b, gate, s, s, s, s, s, s, s, s)
			if n := s.from.twice; n > 0 && s.blobs.disk != nil {
				t.Errorf("upstream gave %d bytes twice", n)
			}
		})
	}
}

func TestWrongBytesOfUpstreamAreStillItsFault(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(2, 3<<20)
		s := f.alone(newOrigin("library/x", b))
		s.from.damage = func(b []byte) []byte { b[0] ^= 1; return b }
		for range 3 {
			if _, whole, err := matchBlob(s.blobs, s.from, b, Whole); whole || err == nil {
				t.Error("wrong bytes are served")
			}
			synctest.Wait()
		}
		if s.events.count("fill corrupt") != 1 || !s.blobs.alone[digest.FromBytes(b)] {
			t.Errorf("it is asked again at once: %v", s.events.counts)
		}
		if keys := f.common.keys("cache/blobs/"); len(keys) > 0 {
			t.Errorf("the bucket has %q", keys)
		}
	})
}

// A registry that names a wrong size must not cost anybody else the blob: as on the disk.
func TestASizeThatARegistryMisstatesRemovesNothingFromTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(3, 3<<20)
		f.stock(newOrigin("library/x", b))
		liar := newOrigin("library/liar", b)
		liar.stat = func() (int64, error) { return 5, nil }
		s := f.alone(liar, diskTiers["without a disk"])
		s.want(b, Whole)
		if !f.common.holds(b) {
			t.Error("the bucket has lost the blob")
		}
	})
}

// stall has an origin give n bytes of each answer and nothing more.
func stall(o *fakeOrigin, n int64) { o.silent, o.cut = true, func(int64) int64 { return n } }

func TestHeadIsAnsweredFromTheBucketWhileUpstreamIsOut(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(8, 10)
		f.stock(newOrigin("library/x", b))
		for repo, want := range map[string]error{"library/x": nil, "library/y": outage(CauseTimeout)} {
			s := f.alone(newOrigin(repo, b))
			s.from.stat = func() (int64, error) { return 0, outage(CauseTimeout) }
			size, tier, err := s.blobs.Stat(t.Context(), s.from, digest.FromBytes(b))
			if IsOutage(err) != (want != nil) || err == nil && (size != 10 || tier != TierS3) {
				t.Errorf("%s: %d bytes of tier %s, %v", repo, size, tier, err)
			}
		}
	})
}
