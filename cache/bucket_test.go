package cache

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage/storagetest"
)

// diskTiers are the ways in which a blob of several MiB is served: kept, streamed because it does not fit, and streamed
// because nothing is kept.
var diskTiers = map[string]func(*BlobOptions){
	"with a disk":       func(o *BlobOptions) {},
	"with a small disk": func(o *BlobOptions) { o.Size = 1 << 20 },
	"without a disk":    func(o *BlobOptions) { o.Size = 0 },
}

// stock has the bucket hold an origin's blobs, as another server leaves them there.
func (f *fleet) stock(from *fakeOrigin) {
	f.t.Helper()
	for d, b := range from.content {
		f.common.put(f.t, "cache/"+bucketBlob(d), b)
		f.common.put(f.t, "cache/"+seenKey(from.repo, d), encodeRecord(seenRecord{Size: int64(len(b))}))
	}
}

func TestABlobOfAnotherServerIsReadFromTheBucket(t *testing.T) {
	for tier, disk := range diskTiers {
		for repo, heads := range map[string]int{"library/x": 0, "library/y": 1} {
			inFleet(t, fmt.Sprint(tier, " ", repo), func(t *testing.T, f *fleet) {
				blobs := [][]byte{randomBytes(1, 0), randomBytes(1, 10), randomBytes(1, smallBlob), randomBytes(1, 3<<20)}
				first := f.alone(newOrigin("library/x", blobs...))
				for _, b := range blobs {
					first.want(b, Whole)
				}
				synctest.Wait()
				s := f.alone(newOrigin(repo, blobs...), disk)
				for _, b := range blobs {
					if len(b) > 100 {
						s.want(b, Range{int64(len(b)) - 50, int64(len(b)) - 10})
					}
					s.want(b, Whole)
				}
				if gets, stats := s.from.requests(); gets != 0 || stats != heads*len(blobs) {
					t.Errorf("upstream saw %d GET and %d HEAD, want %d HEAD for each of %d", gets, stats, heads, len(blobs))
				}
			})
		}
	}
}

func TestARangeInTheMiddleComesFromTheBucketFirst(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(2, 12<<20)
		f.stock(newOrigin("library/x", b))
		s := f.alone(newOrigin("library/x", b))
		f.common.stuck = func(at int64) bool { return at >= firstChunk && at < 9<<20 }
		if tier := s.want(b, Range{9 << 20, 9<<20 + 1000}); tier != TierS3 {
			t.Errorf("tier %s", tier)
		}
		if gets, _ := s.from.requests(); gets != 0 {
			t.Errorf("upstream was asked %d times", gets)
		}
	})
}

func TestWhatARepositoryIsNotKnownToHaveIsNotServedFromTheBucket(t *testing.T) {
	for tier, disk := range diskTiers {
		for _, answer := range []error{ErrNotFound, ErrDenied, outage(CauseTimeout)} {
			inFleet(t, fmt.Sprint(tier, " ", answer), func(t *testing.T, f *fleet) {
				b := randomBytes(3, 3<<20)
				f.stock(newOrigin("library/x", b))
				s := f.alone(newOrigin("corp/other", b), disk)
				s.from.stat = func() (int64, error) { return 0, answer }
				s.from.fail = func(int64, int64) error { return answer }
				for _, r := range []Range{Whole, {100, 200}, {-10, -1}} {
					if got, err := readBlob(t, s.blobs, s.from, digest.FromBytes(b), r); !errors.Is(err, answer) || len(got) > 0 {
						t.Errorf("%v: %d bytes, %v", r, len(got), err)
					}
				}
				if gets, _ := s.from.requests(); gets != 0 && !IsOutage(answer) {
					t.Errorf("upstream was asked %d times after its answer", gets)
				}
				if n := s.events.count("failed"); n != 0 {
					t.Error("the bucket is blamed")
				}
			})
		}
	}
}

// silence answers nothing until whoever asks gives up.
func silence(ctx context.Context, _ storagetest.Op, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func refusal(context.Context, storagetest.Op, string) error { return errGoneBucket }

func only(op storagetest.Op, fault func(context.Context, storagetest.Op, string) error) func(context.Context, storagetest.Op, string) error {
	return func(ctx context.Context, o storagetest.Op, key string) error {
		if o == op {
			return fault(ctx, o, key)
		}
		return nil
	}
}

func TestABucketThatFailsCostsNoPullAndNoByteTwice(t *testing.T) {
	const size = 3 << 20
	for name, fail := range map[string]func(s *commons){
		"refuses everything":            func(s *commons) { s.fail(refusal) },
		"keeps silent":                  func(s *commons) { s.fail(silence) },
		"refuses blobs":                 func(s *commons) { s.fail(only(storagetest.Open, refusal)) },
		"keeps silent about blobs":      func(s *commons) { s.fail(only(storagetest.Open, silence)) },
		"breaks before a byte":          func(s *commons) { s.breakAfter(0, false) },
		"falls silent before a byte":    func(s *commons) { s.breakAfter(0, true) },
		"breaks in the first chunk":     func(s *commons) { s.breakAfter(700_000, false) },
		"breaks in the middle":          func(s *commons) { s.breakAfter(2<<20, false) },
		"falls silent in the middle":    func(s *commons) { s.breakAfter(2<<20, true) },
		"breaks before the last byte":   func(s *commons) { s.breakAfter(size-1, false) },
		"is silent about the last byte": func(s *commons) { s.breakAfter(size-1, true) },
	} {
		for _, tier := range []string{"with a disk", "without a disk"} {
			inFleet(t, name+" "+tier, func(t *testing.T, f *fleet) {
				b := randomBytes(4, size)
				f.stock(newOrigin("library/x", b))
				s := f.alone(newOrigin("library/x", b), diskTiers[tier])
				fail(f.common)
				s.want(b, Whole)
				synctest.Wait()
				from := s.from.gave()
				if borrowed := f.common.given.bytes(); borrowed+from != size || s.from.twice > 0 {
					t.Errorf("%d bytes from the bucket and %d from upstream make %d, %d twice", borrowed, from, size, s.from.twice)
				}
				if s.events.count("failed") == 0 {
					t.Error("nobody hears of it")
				}
				if s.from.open != 0 {
					t.Errorf("%d answers were not closed", s.from.open)
				}
			})
		}
	}
}

func TestABucketThatFailedRestsForAWhile(t *testing.T) {
	for name, fault := range map[string]func(context.Context, storagetest.Op, string) error{"refused": refusal, "silent": silence} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			from := newOrigin("library/x", randomBytes(5, 10), randomBytes(6, 10), randomBytes(7, 10))
			f.stock(from)
			s := f.alone(from, diskTiers["without a disk"])
			f.common.fail(fault)
			s.want(randomBytes(5, 10), Whole)
			f.common.fail(nil)
			f.common.forget()
			time.Sleep(bucketRest - time.Millisecond)
			s.want(randomBytes(6, 10), Whole)
			if n := f.common.count("open") + f.common.count("get") + f.common.count("stat"); n != 0 {
				t.Errorf("it was asked %d times at once: %q", n, f.common.asked)
			}
			time.Sleep(bucketRest)
			before, _ := from.requests()
			s.want(randomBytes(7, 10), Whole)
			if gets, _ := from.requests(); gets != before {
				t.Error("it was not asked again")
			}
		})
	}
}

func TestACallerWhoLeavesIsNoFailureOfTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(8, 3<<20)
		f.stock(newOrigin("library/x", b))
		s := f.alone(newOrigin("library/x", b), diskTiers["without a disk"])
		for _, n := range []int64{0, 1 << 20} {
			f.common.breakAfter(n, true)
			ctx, cancel := context.WithTimeout(t.Context(), bucketPatience/2)
			if rd, err := s.blobs.Open(ctx, s.from, digest.FromBytes(b), Whole); err == nil {
				rd.WriteTo(&matching{want: b})
				rd.Close()
			}
			cancel()
		}
		f.common.breakAfter(-1, false)
		s.wantFrom(0, b, Whole)
		if n := s.events.count("failed"); n != 0 {
			t.Errorf("it failed %d times", n)
		}
	})
}

func TestASlowReaderIsNoSilenceOfTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		b := randomBytes(9, 3<<20)
		f.stock(newOrigin("library/x", b))
		s := f.alone(newOrigin("library/x", b), diskTiers["without a disk"])
		rd, err := s.blobs.Open(t.Context(), s.from, digest.FromBytes(b), Whole)
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		m := &matching{want: b}
		for buf := make([]byte, 1<<20); len(m.want) > 0 && err == nil; time.Sleep(2 * bucketPatience) {
			var n int
			n, err = rd.Read(buf)
			m.Write(buf[:n])
		}
		if m.wrong || err != nil || s.from.gave() > 0 {
			t.Errorf("wrong: %v, %v, %d bytes from upstream", m.wrong, err, s.from.gave())
		}
	})
}
