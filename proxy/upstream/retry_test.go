package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
)

func limited(retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "Too many requests\n")
	}
}

// hangup closes the connection without an answer.
func hangup(w http.ResponseWriter, _ *http.Request) {
	conn, _, _ := w.(http.Hijacker).Hijack()
	conn.Close()
}

func TestWhatMayPassIsAskedAgain(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"429": status(429), "429 with Retry-After": limited("0"), "429 with nonsense": limited("soon"),
		"500": status(500), "502": status(502), "503": status(503), "504": status(504), "520": status(520),
		"no answer": hangup,
	} {
		f := newFake(t)
		f.mux.HandleFunc("/v2/a/b/manifests/v1", scripted(fault, fault, serveManifest))
		_, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(context.Background(), "v1")
		if err != nil || f.count("/v2/") != 3 {
			t.Errorf("%s: %v after %d requests", name, err, f.count("/v2/"))
		}
	}
}

func TestRetryAfterBeyondPatienceFailsAtOnce(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/v2/a/b/manifests/v1", limited("60"))
	_, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(context.Background(), "v1")
	var u *cache.UnavailableError
	if !errors.As(err, &u) || u.Cause != cache.CauseLimited || u.RetryAfter != time.Minute || f.count("/v2/") != 1 {
		t.Fatalf("%v after %d requests", err, f.count("/v2/"))
	}
}

// A caller that has something stale to serve gives little time; it must get its answer then, and the upstream no bad name.
func TestCallersDeadlineEndsRetries(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/v2/a/b/manifests/v1", limited("3"))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(ctx, "v1")
	if causeOf(err) != cache.CauseLimited || ctx.Err() != nil || f.count("/v2/") != 1 {
		t.Fatalf("%v after %d requests", err, f.count("/v2/"))
	}
}

func TestWhoHasAStaleAnswerIsToldOfTheFirstFailure(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{"429": status(429), "503": status(503), "no answer": hangup} {
		f := newFake(t)
		f.mux.HandleFunc("/v2/a/b/manifests/v1", fault)
		_, err := newRegistry(t, f, nil).Repository("a/b").ResolveManifest(cache.TryOnce(context.Background()), "v1")
		if !cache.IsOutage(err) || f.count("/v2/") != 1 {
			t.Errorf("%s: %v after %d requests", name, err, f.count("/v2/"))
		}
	}
}

func TestHangingUpstreamFailsWithinPatience(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/", func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	r := newRegistry(t, f, func(o *Options) { o.Patience = time.Second })
	_, err := r.Repository("a/b").FetchManifest(context.Background(), "v1")
	if causeOf(err) != cache.CauseTimeout || f.count("/") < 2 {
		t.Fatalf("%v after %d attempts, want a second one within patience", err, f.count("/"))
	}
}

func TestCallerThatLeavesIsNoOutage(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(context.Background())
	f.mux.HandleFunc("/", func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	})
	_, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(ctx, "v1")
	if !errors.Is(err, context.Canceled) || cache.IsOutage(err) {
		t.Fatal(err)
	}
}

// Every fifth answer of everything (registry, token server, CDN) is a 429 or a 503, and nobody notices: neither a caller nor the breaker.
func TestFifthOfAnswersFailing(t *testing.T) {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(1, 2))
	flaky := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			mu.Lock()
			n := dice.IntN(10)
			mu.Unlock()
			switch n {
			case 0:
				w.WriteHeader(429)
			case 1:
				w.WriteHeader(503)
			default:
				next(w, req)
			}
		}
	}
	cdn, f := newFake(t), newFake(t)
	cdn.mux.HandleFunc("/", flaky(serveBlob))
	f.mux.HandleFunc("/token", flaky(text(`{"token":"t"}`)))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", flaky(guarded(f.URL+"/token", "t", serveManifest)))
	f.mux.HandleFunc(blobPath, flaky(guarded(f.URL+"/token", "t", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, cdn.URL+"/x", http.StatusFound)
	})))
	r := newRegistry(t, f, func(o *Options) { o.Patience = 10 * time.Second })
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			repo := r.Repository("a/b")
			if _, err := repo.FetchManifest(context.Background(), "v1"); err != nil {
				t.Error(err)
			}
			p, err := repo.FetchBlob(context.Background(), blobDigest, 0, 10)
			if err != nil {
				t.Error(err)
				return
			}
			p.Body.Close()
		})
	}
	wg.Wait()
}

// What a retry carries may have expired while it waited: a token, or the address that a redirect signed.
func TestWhatExpiredDuringARetryIsFetchedAnew(t *testing.T) {
	cdn, f := newFake(t), newFake(t)
	cdn.mux.HandleFunc("/", scripted(status(503), status(403), serveBlob))
	f.mux.HandleFunc(blobPath, func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, cdn.URL+"/x", http.StatusTemporaryRedirect)
	})
	f.mux.HandleFunc("/token", text(`{"token":"t"}`))
	expired := guarded(f.URL+"/token", "later", nil)
	f.mux.HandleFunc("/v2/a/b/manifests/v1", scripted(expired, status(503), expired, guarded(f.URL+"/token", "t", serveManifest)))
	repo := newRegistry(t, f, nil).Repository("a/b")
	p, err := repo.FetchBlob(context.Background(), blobDigest, 0, 10)
	if err != nil || f.count(blobPath) != 2 {
		t.Fatalf("%v after %d redirects", err, f.count(blobPath))
	}
	p.Body.Close()
	if _, err := repo.FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
}

// states records the breaker's changes.
type states struct {
	NoEvents
	mu  sync.Mutex
	all []string
}

func (s *states) BreakerChanged(_, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, state)
}

func TestDeadUpstreamIsNotAskedForAWhile(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	l.Close()
	var seen states
	r, err := New(Options{Host: "dead.example", URL: dead, Patience: time.Second, Events: &seen})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	repo := r.Repository("a/b")
	if _, err := repo.ResolveManifest(context.Background(), "v1"); !cache.IsOutage(err) {
		t.Fatal(err)
	}
	_, err = repo.ResolveManifest(context.Background(), "v1")
	var u *cache.UnavailableError
	if !errors.As(err, &u) || u.Cause != cache.CauseOpen || u.RetryAfter <= 0 {
		t.Fatalf("got %v, want an open breaker", err)
	}
	if len(seen.all) != 1 || seen.all[0] != "open" {
		t.Errorf("breaker went %v", seen.all)
	}
}

func TestBreaker(t *testing.T) {
	now := func() time.Time { return time.Unix(0, 0) }
	down := &failure{cause: cache.CauseFailed, err: errors.New("503")}
	silent := &failure{cause: cache.CauseTimeout, silent: true, err: errors.New("nothing")}
	limit := &failure{cause: cache.CauseLimited, err: errors.New("429")}
	hasty := &failure{cause: cache.CauseTimeout, hasty: true, err: context.DeadlineExceeded}
	for name, c := range map[string]struct {
		outcomes []error
		times    int
		open     bool
	}{
		"ten failures in a row":             {[]error{down}, 10, true},
		"nine failures in a row":            {[]error{down}, 9, false},
		"an answer between":                 {[]error{down, down, down, down, nil}, 20, false},
		"four without an answer":            {[]error{silent}, 4, true},
		"three without an answer":           {[]error{silent}, 3, false},
		"a failing answer between silences": {[]error{silent, silent, silent, down, nil}, 5, false},
		"rate limited":                      {[]error{limit}, 50, false},
		"callers in a hurry":                {[]error{hasty}, 50, false},
		"callers that leave":                {[]error{context.Canceled}, 50, false},
	} {
		state := "closed"
		b := newBreaker("x", time.Hour, now, func(s string) { state = s })
		for i := range c.times {
			done, err := b.allow()
			if err != nil {
				t.Fatalf("%s: closed to request %d", name, i)
			}
			done(c.outcomes[i%len(c.outcomes)])
		}
		if (state == "open") != c.open {
			t.Errorf("%s: %s", name, state)
		}
	}
}

func TestBreakerClosesAfterOneGoodProbe(t *testing.T) {
	opened := make(chan struct{})
	b := newBreaker("x", time.Millisecond, time.Now, func(s string) {
		if s == "open" {
			close(opened)
		}
	})
	for range maxSilent {
		done, _ := b.allow()
		done(&failure{silent: true, err: errors.New("nothing")})
	}
	<-opened
	for {
		if done, err := b.allow(); err == nil {
			done(nil)
			break
		}
	}
	done, err := b.allow()
	if err != nil {
		t.Fatal(err)
	}
	done(nil)
}

// roundTrip is a RoundTripper of one function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestWaitIsCutShort(t *testing.T) {
	down := &failure{cause: cache.CauseFailed, again: true, err: errors.New("503")}
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		cause error
		want  error
	}{
		"the caller leaves":          {nil, context.Canceled},
		"the caller says why":        {gone, context.Canceled},
		"the call's patience is out": {errPatience, down},
	} {
		ctx, cancel := context.WithCancelCause(withExchange(context.Background(), &exchange{kind: KindBlob}))
		ctx = context.WithValue(ctx, callKey{}, &call{deadline: time.Now().Add(time.Hour)})
		asked := 0
		r := &retrier{now: time.Now, random: rand.Float64, retried: func(Kind) {}, next: roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			cancel(c.cause)
			return nil, down
		})}
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://x", nil)
		if _, err := r.RoundTrip(req); !errors.Is(err, c.want) || asked != 1 {
			t.Errorf("%s: got %v after %d requests, want %v", name, err, asked, c.want)
		}
	}
}

func TestBackoffGrowsToABound(t *testing.T) {
	ctx := context.WithValue(context.Background(), callKey{}, &call{deadline: time.Unix(100, 0)})
	f := &failure{again: true}
	for _, c := range []struct {
		n      int
		random float64
		want   time.Duration
	}{{0, 0, 50 * time.Millisecond}, {0, 0.5, 37500 * time.Microsecond}, {3, 0, 400 * time.Millisecond}, {6, 0, maxBackoff}, {1000, 0, maxBackoff}} {
		r := &retrier{now: func() time.Time { return time.Unix(0, 0) }, random: func() float64 { return c.random }}
		if got, ok := r.wait(ctx, c.n, f); got != c.want || !ok {
			t.Errorf("%d: got %v %v, want %v", c.n, got, ok, c.want)
		}
	}
}
