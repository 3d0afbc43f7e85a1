package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// wantPart fails the test unless the answer is a 206 with the n bytes from off on.
func (s site) wantPart(a answer, b fakehub.Blob, off, n int64) {
	s.Helper()
	span := fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, b.Size)
	if a.err != nil || a.status != http.StatusPartialContent || a.header.Get("Content-Range") != span || a.n != n || a.wrong >= 0 {
		s.Errorf("status %d, %q, %d bytes, wrong at %d, %v; want 206 with %q", a.status, a.header.Get("Content-Range"), a.n, a.wrong, a.err, span)
	}
}

func TestColdRangeAndFooterOfABigBlob(t *testing.T) {
	o := likeHub()
	s := newSite(t, o)
	big := fakehub.RandomBlob(1, full[int64](500<<20, 96<<20))
	small := fakehub.RandomBlob(2, 1000)
	s.hub.Repo("library/app").AddBlob(big, small)
	s.wantBlob("library/app", small) // the token is there
	path := blobPath("library/app", big.Digest)

	off, n := big.Size/2+12345, int64(1<<20)
	part := s.client.get(path, big.Content, "Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	s.wantPart(part, big, off, n)
	footer := s.client.get(path, big.Content, "Range", "bytes=-20480")
	s.wantPart(footer, big, big.Size-20480, 20480)
	t.Logf("1 MiB in the middle: first byte %v, whole %v; the last 20 KiB: %v, %v", part.first, part.took, footer.first, footer.took)
	// Two round trips are 60 ms, 1 MiB at 25 MB/s is 42 ms.
	if limit := full(200*time.Millisecond, time.Second); part.took > limit || footer.took > limit {
		t.Errorf("cold ranges took %v and %v, more than %v", part.took, footer.took, limit)
	}

	s.eventually(2*time.Minute, "the rest of the blob is fetched", func() bool { return s.hub.Served(big.Digest).Unique() == big.Size })
	s.wantBlob("library/app", big)
	s.wantOnce(big)
	s.hub.Down()
	s.wantBlob("library/app", big)
}

func TestRangesOfWarmAndColdBlobs(t *testing.T) {
	const size = 300_000
	cases := []struct {
		header string
		off, n int64 // n 0: no such range
	}{
		{"bytes=0-0", 0, 1},
		{"bytes=0-99", 0, 100},
		{"bytes=1000-", 1000, size - 1000},
		{"bytes=0-", 0, size},
		{"bytes=-1", size - 1, 1},
		{"bytes=-299999", 1, size - 1},
		{"bytes=-999999", 0, size},
		{"bytes=299999-300000", size - 1, 1}, // one past the end, as regctl asks
		{"bytes=299999-999999", size - 1, 1},
		{"bytes=300000-", 0, 0},
		{"bytes=300000-300001", 0, 0},
		{"bytes=-0", 0, 0},
	}
	s := newSite(t, fakehub.Options{})
	for i, c := range cases {
		t.Run(c.header, func(t *testing.T) {
			s := s
			s.T = t
			b := fakehub.RandomBlob(uint64(i), size)
			s.hub.Repo("library/app").AddBlob(b)
			for _, warmth := range []string{"cold", "warm"} {
				a := s.client.get(blobPath("library/app", b.Digest), b.Content, "Range", c.header)
				if c.n > 0 {
					s.wantPart(a, b, c.off, c.n)
				} else {
					s.wantError(a, http.StatusRequestedRangeNotSatisfiable)
					if got, want := a.header.Get("Content-Range"), fmt.Sprintf("bytes */%d", size); got != want {
						t.Errorf("%s: 416 with Content-Range %q, want %q", warmth, got, want)
					}
				}
				s.wantBlob("library/app", b)
			}
			s.wantOnce(b)
		})
	}
}

func TestOddRangeHeadersGetTheWholeBlob(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	b := fakehub.RandomBlob(1, 100_000)
	s.hub.Repo("library/app").AddBlob(b)
	for _, header := range []string{"bytes=0-1,5-6", "pages=1-2", "bytes=x-", "bytes"} {
		a := s.client.get(blobPath("library/app", b.Digest), b.Content, "Range", header)
		if err := a.right(b.Content); err != nil {
			t.Errorf("%s: %v; want 200 and the whole blob", header, err)
		}
	}
}

func TestParallelRangesOfOneColdBlobAreFetchedOnce(t *testing.T) {
	s := newSite(t, likeHub())
	b := fakehub.RandomBlob(1, full[int64](314_572_801, 104_857_601)) // parts that end between the fill's own stretches
	s.hub.Repo("library/app").AddBlob(b)
	const parts = 8
	var group errgroup.Group
	for i := range int64(parts) {
		group.Go(func() error { // as containerd does with parallel layer fetch
			off, end := i*b.Size/parts, (i+1)*b.Size/parts
			a := s.client.get(blobPath("library/app", b.Digest), b.Content, "Range", fmt.Sprintf("bytes=%d-%d", off, end-1))
			s.wantPart(a, b, off, end-off)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	s.wantBlob("library/app", b)
	s.wantOnce(b)
}

func TestUpstreamWithoutRangesStillGivesThem(t *testing.T) {
	s := newSite(t, fakehub.Options{NoRanges: true})
	b := fakehub.RandomBlob(1, 20<<20)
	s.hub.Repo("library/app").AddBlob(b)
	off := b.Size / 2
	a := s.client.get(blobPath("library/app", b.Digest), b.Content, "Range", fmt.Sprintf("bytes=%d-%d", off, off+999))
	s.wantPart(a, b, off, 1000)
	s.wantBlob("library/app", b)
	s.wantOnce(b)
}

func TestHeadOfAColdBlobStartsNoFill(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	b := fakehub.RandomBlob(1, 5<<20)
	s.hub.Repo("library/app").AddBlob(b)
	a := s.client.do(t.Context(), http.MethodHead, blobPath("library/app", b.Digest), nil)
	if a.status != 200 || a.header.Get("Content-Length") != fmt.Sprint(b.Size) || a.header.Get("Docker-Content-Digest") != b.Digest.String() {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	if served := s.hub.Served(b.Digest); served.Bytes != 0 {
		t.Errorf("upstream sent %d bytes for a HEAD", served.Bytes)
	}
}
