package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// What a client must see of a fault.
const (
	succeeds = "the first pull succeeds"
	refused  = "an error status, no byte"
	cut      = "a broken connection"
	noLie    = "anything but a whole wrong body"
)

const (
	smallBlob = 10_000   // verified before the status line
	midBlob   = 700_000  // one request
	bigBlob   = 24 << 20 // several ranges at once
)

type blobFault struct {
	name  string
	fault fakehub.Fault
	small string // what becomes of each size
	mid   string
	big   string
}

// always and few are faults of the CDN.
func always(do fakehub.Action) fakehub.Fault {
	return fakehub.Fault{Kind: fakehub.KindCDN, Do: do}
}
func few(n int, do fakehub.Action) fakehub.Fault {
	return fakehub.Fault{Kind: fakehub.KindCDN, Count: n, Do: do}
}

// at makes the registry host fail instead of the CDN.
func at(kind fakehub.Kind, f fakehub.Fault) fakehub.Fault {
	f.Kind = kind
	return f
}

func blobFaults() []blobFault {
	const linkLocal = "http://169.254.169.254/latest/meta-data/"
	return []blobFault{
		{"cut once after 5000 bytes", few(1, fakehub.Cut(5000)), succeeds, succeeds, succeeds},
		{"cut once after 500 KB", few(1, fakehub.Cut(500_000)), succeeds, succeeds, succeeds},
		{"cut three times", few(3, fakehub.Cut(3000)), succeeds, succeeds, succeeds},
		{"cut before the first byte", few(1, fakehub.Cut(0)), succeeds, succeeds, succeeds},
		{"connection dropped", few(2, fakehub.Drop()), succeeds, succeeds, succeeds},
		{"429 with Retry-After", few(1, fakehub.Status(429, "1")), succeeds, succeeds, succeeds},
		{"429 without", few(2, fakehub.Status(429, "")), succeeds, succeeds, succeeds},
		{"500 once", few(1, fakehub.Status(500, "")), succeeds, succeeds, succeeds},
		{"503 twice", few(2, fakehub.Status(503, "")), succeeds, succeeds, succeeds},
		{"503 of the registry once", at(fakehub.KindBlobGet, few(1, fakehub.Status(503, "1"))), succeeds, succeeds, succeeds},
		{"500 for ever", always(fakehub.Status(500, "")), refused, refused, refused},
		{"503 for ever", always(fakehub.Status(503, "")), refused, refused, refused},
		{"429 for ever", always(fakehub.Status(429, "3600")), refused, refused, refused},
		{"wrong bytes for ever", always(fakehub.Garbage()), refused, cut, cut},
		{"one byte wrong", always(fakehub.Flip(smallBlob - 1)), refused, cut, cut},
		{"wrong bytes once", few(1, fakehub.Garbage()), noLie, noLie, noLie},
		{"short body once", few(1, fakehub.Short(100)), noLie, noLie, noLie},
		{"short body for ever", always(fakehub.Short(100)), noLie, noLie, noLie},
		{"206 for a full GET", always(fakehub.Partial(0, -1)), noLie, noLie, noLie},
		{"another range than asked", always(fakehub.Partial(1000, 5000)), refused, refused, refused},
		{"the whole for a range", always(fakehub.Whole()), succeeds, succeeds, succeeds},
		{"a login page", always(fakehub.Page("<html>please log in</html>")), refused, noLie, noLie},
		{"silence once", few(1, fakehub.Hang()), succeeds, succeeds, succeeds},
		{"silence in the body once", few(1, fakehub.HangAfter(3000)), succeeds, succeeds, succeeds},
		{"redirect to a link-local address", at(fakehub.KindBlobGet, always(fakehub.Redirect(linkLocal))), refused, refused, refused},
	}
}

func TestBlobFaults(t *testing.T) {
	for i, f := range blobFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, fakehub.Options{}, "NEGATIVE_TTL", "1s")
			for size, want := range map[int64]string{smallBlob: f.small, midBlob: f.mid, bigBlob: f.big} {
				b := fakehub.RandomBlob(uint64(i)<<32|uint64(size), size)
				s.hub.Repo("library/app").AddBlob(b)
				s.endure(f.fault, b, want)
			}
		})
	}
}

// endure asks for a blob while upstream has a fault, then without it, then without upstream.
func (s site) endure(fault fakehub.Fault, b fakehub.Blob, want string) {
	s.Helper()
	injected := s.hub.Inject(fault)
	a := s.client.get(blobPath("library/app", b.Digest), b.Content)
	if injected.Hits() == 0 {
		s.Errorf("%d bytes: the fault did not strike", b.Size)
	}
	s.Logf("%d bytes: %s after %v", b.Size, a.outcome(), a.took.Round(time.Millisecond))
	if err := a.keeps(want, b); err != nil {
		s.Errorf("%d bytes: %v; want %s", b.Size, err, want)
	}
	if a.head > 29*time.Second {
		s.Errorf("%d bytes: the status line came after %v; containerd gives up after 30 s", b.Size, a.head)
	}
	s.hub.Heal()
	s.eventually(40*time.Second, "the blob can be pulled once the fault is over", func() bool {
		healed := s.client.get(blobPath("library/app", b.Digest), b.Content)
		if healed.lies(b.Content) {
			s.Fatalf("%d bytes: a wrong body that looks whole, after the fault", b.Size)
		}
		return healed.right(b.Content) == nil
	})
	s.hub.Down()
	s.wantBlob("library/app", b)
	if err := s.hub.Up(); err != nil {
		s.Fatal(err)
	}
}

func (a answer) outcome() string {
	if a.status == 0 {
		return "no answer"
	}
	return fmt.Sprintf("%d with %d bytes, broken off: %v", a.status, a.n, a.err != nil)
}

// keeps checks an answer against what a client must see. A whole wrong body is never right.
func (a answer) keeps(want string, b fakehub.Blob) error {
	switch {
	case a.lies(b.Content):
		return fmt.Errorf("a wrong body that looks whole: %d bytes, wrong at %d", a.n, a.wrong)
	case want == succeeds:
		return a.right(b.Content)
	case want == refused && a.status < 400:
		return fmt.Errorf("%s", a.outcome())
	case want == cut && (a.status != http.StatusOK || a.err == nil):
		return fmt.Errorf("%s", a.outcome())
	}
	return nil
}

// What a client sees when no byte can be sent.
func TestStatusWhereNoByteWasSent(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   fakehub.Kind
		do     fakehub.Action
		status []int
	}{
		{"429 on the manifest", fakehub.KindManifestHead, fakehub.Status(429, "7"), []int{503}},
		{"429 on the manifest's GET", fakehub.KindManifestGet, fakehub.Status(429, "7"), []int{503}},
		{"500 on the manifest", fakehub.KindManifestHead, fakehub.Status(500, ""), []int{502, 503}},
		{"404 on the manifest", fakehub.KindManifestHead, fakehub.Status(404, ""), []int{404}},
		{"403 on the manifest", fakehub.KindManifestHead, fakehub.Status(403, ""), []int{403}},
		{"429 on the token", fakehub.KindToken, fakehub.Status(429, "7"), []int{503}},
		{"500 on the token", fakehub.KindToken, fakehub.Status(500, ""), []int{502, 503}},
		{"silence", fakehub.KindManifestHead, fakehub.Hang(), []int{503, 504}},
		{"wrong bytes of a manifest", fakehub.KindManifestGet, fakehub.Garbage(), []int{502}},
		{"short manifest", fakehub.KindManifestGet, fakehub.Short(10), []int{502}},
		{"a page instead of a manifest", fakehub.KindManifestGet, fakehub.Page("<html>log in</html>"), []int{502}},
		{"a realm on a link-local address", "", fakehub.Challenge("http://169.254.169.254/token"), []int{403, 502}},
		{"manifest redirected to a link-local address", fakehub.KindManifestGet, fakehub.Redirect("http://169.254.169.254/x"), []int{403, 502}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, fakehub.Options{}, "NEGATIVE_TTL", "100ms")
			img := fakehub.NewImage(fakehub.Spec{Layers: []int64{1000}})
			s.hub.Repo("library/app").AddImage(img, "1")
			s.hub.Inject(fakehub.Fault{Kind: c.kind, Do: c.do})
			a := s.client.get(manifestPath("library/app", "1"), fakehub.Bytes(img.Manifest.Bytes))
			t.Logf("%d after %v: %.200s", a.status, a.took.Round(time.Millisecond), a.body)
			s.wantError(a, c.status...)
			if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if a.header.Get("Www-Authenticate") != "" {
				t.Error("upstream's challenge was handed on")
			}
			if a.took > 25*time.Second {
				t.Errorf("the answer took %v", a.took)
			}
			s.hub.Heal()
			s.eventually(40*time.Second, "the image can be pulled once the fault is over", func() bool {
				_, err := s.client.pull(t.Context(), "library/app", "1", img)
				return err == nil
			})
		})
	}
}

func TestFaultsThatPullsOutlive(t *testing.T) {
	once := func(kind fakehub.Kind, do fakehub.Action) fakehub.Fault {
		return fakehub.Fault{Kind: kind, Count: 1, Do: do}
	}
	for name, fault := range map[string]fakehub.Fault{
		"503 on a manifest HEAD":   once(fakehub.KindManifestHead, fakehub.Status(503, "")),
		"429 on a manifest HEAD":   once(fakehub.KindManifestHead, fakehub.Status(429, "1")),
		"503 on a manifest GET":    once(fakehub.KindManifestGet, fakehub.Status(503, "")),
		"a cut manifest":           once(fakehub.KindManifestGet, fakehub.Cut(100)),
		"503 of the token server":  once(fakehub.KindToken, fakehub.Status(503, "")),
		"a dropped token request":  once(fakehub.KindToken, fakehub.Drop()),
		"silence on a manifest":    once(fakehub.KindManifestHead, fakehub.Hang()),
		"silence of the tokens":    once(fakehub.KindToken, fakehub.Hang()),
		"a slow registry":          {Do: fakehub.Delay(300 * time.Millisecond)},
		"every layer cut once":     {Kind: fakehub.KindCDN, Count: 4, Do: fakehub.Cut(100_000)},
		"every connection dropped": {Count: 2, Do: fakehub.Drop()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, fakehub.Options{})
			img := fakehub.NewImage(fakehub.Spec{Layers: []int64{4 << 20, 1 << 20, 1000}})
			s.hub.Repo("library/app").AddImage(img, "1")
			injected := s.hub.Inject(fault)
			t.Logf("pulled in %v", s.wantPull("library/app", "1", img).took.Round(time.Millisecond))
			if injected.Hits() == 0 {
				t.Error("the fault did not strike")
			}
		})
	}
}

func TestResumeAfterCutsFetchesNothingAnew(t *testing.T) {
	s := newSite(t, fakehub.Options{Bandwidth: 50e6})
	b := fakehub.RandomBlob(1, full[int64](300<<20, 48<<20))
	s.hub.Repo("library/app").AddBlob(b)
	s.hub.Inject(fakehub.Fault{Kind: fakehub.KindCDN, Skip: 1, Count: 3, Do: fakehub.Cut(600_000)})
	s.wantBlob("library/app", b)
	// What was under way in the sockets of the three broken connections may be lost.
	if twice := s.hub.Served(b.Digest).Twice(); twice > 3*600_000 {
		t.Errorf("%d bytes were fetched twice", twice)
	}
	if n := s.server.Metrics().Sum("entrepot_fill_resumed_total"); n == 0 {
		t.Error("no resumption was counted")
	}
}

func TestAFifthOfAnswersFails(t *testing.T) {
	s := newSite(t, fakehub.Options{Seed: 3})
	s.hub.Inject(fakehub.Fault{Probability: 0.1, Do: fakehub.Status(429, "1")})
	s.hub.Inject(fakehub.Fault{Probability: 1.0 / 9, Do: fakehub.Status(503, "")})
	for i := range full(100, 10) {
		size := full[int64](30<<20, 3<<20)
		img := fakehub.NewImage(fakehub.Spec{Layers: []int64{size, size, 1000}, Seed: uint64(i)})
		tag := fmt.Sprint(i)
		s.hub.Repo("library/app").AddImage(img, tag)
		took := s.wantPull("library/app", tag, img).took
		t.Logf("cold pull %d took %v", i+1, took.Round(time.Millisecond))
	}
}

func TestSignedAddressesExpireDuringAFill(t *testing.T) {
	s := newSite(t, fakehub.Options{URLLife: 300 * time.Millisecond, Bandwidth: 4e6})
	b := fakehub.RandomBlob(1, full[int64](200<<20, 24<<20))
	s.hub.Repo("library/app").AddBlob(b)
	s.wantBlob("library/app", b)
	s.wantOnce(b)
}

func TestTokensExpireDuringAFill(t *testing.T) {
	for name, o := range map[string]fakehub.Options{
		"with redirects":    {URLLife: 300 * time.Millisecond},
		"without redirects": {NoRedirect: true},
	} {
		t.Run(name, func(t *testing.T) {
			o.TokenLife, o.Bandwidth = time.Second, 4e6
			s := newSite(t, o)
			b := fakehub.RandomBlob(1, full[int64](200<<20, 32<<20))
			s.hub.Repo("library/app").AddBlob(b)
			s.wantBlob("library/app", b)
			s.hub.RevokeTokens()
			another := fakehub.RandomBlob(2, 5<<20)
			s.hub.Repo("library/app").AddBlob(another)
			s.wantBlob("library/app", another)
			s.wantOnce(b, another)
		})
	}
}

func TestCDNIsDown(t *testing.T) {
	s := newSite(t, fakehub.Options{})
	b := fakehub.RandomBlob(1, 5<<20)
	s.hub.Repo("library/app").AddBlob(b)
	s.hub.Down(fakehub.CDN)
	s.wantError(s.client.get(blobPath("library/app", b.Digest), b.Content), 502, 503, 504)
	if err := s.hub.Up(fakehub.CDN); err != nil {
		t.Fatal(err)
	}
	s.eventually(40*time.Second, "the blob can be pulled when the CDN is back", func() bool {
		return s.client.get(blobPath("library/app", b.Digest), b.Content).right(b.Content) == nil
	})
}

func TestUpstreamNamesNoDigest(t *testing.T) {
	s := newSite(t, fakehub.Options{NoDigest: true})
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{1000}})
	s.hub.Repo("library/app").AddImage(img, "1")
	s.wantPull("library/app", "1", img)
}
