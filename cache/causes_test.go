package cache

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// ends are how fills ended.
type ends struct {
	NoEvents
	mu   sync.Mutex
	seen []string
}

func (e *ends) FillEnded(o Outcome, cause Cause) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, fmt.Sprint(o, " ", cause))
}

func (e *ends) expect(t *testing.T, fact string, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.seen, want) {
		t.Errorf("%s: fills ended %q, want %q", fact, e.seen, want)
	}
}

func TestWhyFillsFail(t *testing.T) {
	b := randomBytes(1, 3<<20)
	for _, c := range []struct {
		fact string
		err  error
		want string
	}{
		{"nothing is wrong", nil, "complete "},
		{"upstream limits us", &UnavailableError{Upstream: "docker.io", Cause: CauseLimited, Err: ErrNotFound}, "failed limited"},
		{"upstream is down", fmt.Errorf("fetch: %w", &UnavailableError{Upstream: "docker.io", Cause: CauseOpen}), "failed breaker"},
		{"it is not there", fmt.Errorf("fetch: %w", ErrNotFound), "failed not-found"},
		{"we may not have it", fmt.Errorf("fetch: %w", ErrDenied), "failed denied"},
		{"nobody knows", errors.New("strange"), "failed other"},
	} {
		o := newOrigin("library/x", b)
		if c.err != nil {
			o.fail = func(int64, int64) error { return c.err }
		}
		var seen ends
		cached := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Events = &seen })
		if _, err := readBlob(t, cached, o, digest.FromBytes(b), Whole); (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v", c.fact, err)
		}
		settled(t, cached)
		seen.expect(t, c.fact, c.want)
	}
}

func TestWrongBytesAreUpstreamsOrTheDisks(t *testing.T) {
	b := randomBytes(2, 3<<20)
	o := newOrigin("library/x", b)
	var seen ends
	c := blobsAt(t, t.TempDir(), func(o *BlobOptions) { o.Events = &seen })
	o.damage = func(b []byte) []byte { b[0] ^= 1; return b }
	_, _ = readBlob(t, c, o, digest.FromBytes(b), Whole)
	settled(t, c)
	seen.expect(t, "upstream's are wrong", "corrupt corrupt")

	ours := &fill{blob: &blobFile{}}
	if got := ours.cause(FillCorrupt, ErrCorrupt); got != CauseDisk {
		t.Errorf("a file that was kept and is damaged: %q", got)
	}
	full := &fill{}
	for err, want := range map[error]Cause{errDisk: CauseDisk, errNoRoom: CauseNoRoom} {
		if got := full.cause(FillFailed, fmt.Errorf("write: %w", err)); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := full.cause(FillFailed, nil); got != CauseDisk {
		t.Errorf("a blob that cannot be kept: %q", got)
	}
}
