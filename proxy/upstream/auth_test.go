package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/cache"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// registryWithTokens is a fake whose token server accepts bob, anybody (when open), and counts its tokens: only the newest is valid.
type registryWithTokens struct {
	*fake
	issued atomic.Int64
	open   bool // anonymous callers get a token that is good for reading
	bad    bool // bob is not known
}

func newRegistryWithTokens(t *testing.T, open, bad bool) *registryWithTokens {
	r := &registryWithTokens{fake: newFake(t), open: open, bad: bad}
	r.mux.HandleFunc("/token", r.token)
	r.mux.HandleFunc("/v2/", r.resource)
	return r
}

func (r *registryWithTokens) token(w http.ResponseWriter, req *http.Request) {
	user, _, named := req.BasicAuth()
	switch {
	case named && (r.bad || user != "bob"):
		w.WriteHeader(http.StatusUnauthorized)
	case !named && !r.open:
		w.WriteHeader(http.StatusForbidden)
	default:
		fmt.Fprintf(w, `{"token":"t%d","expires_in":300}`, r.issued.Add(1))
	}
}

func (r *registryWithTokens) resource(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", r.issued.Load()) || r.issued.Load() == 0 {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, r.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	serveManifest(w, req)
}

func TestOneTokenForManyCallers(t *testing.T) {
	f := newFake(t)
	var waiting sync.WaitGroup
	waiting.Add(32)
	var first atomic.Int64
	f.mux.HandleFunc("/token", text(`{"token":"t"}`))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", func(w http.ResponseWriter, req *http.Request) {
		if first.Add(1) <= 32 { // all are refused before any gets a token
			waiting.Done()
			waiting.Wait()
		}
		guarded(f.URL+"/token", "t", serveManifest)(w, req)
	})
	r := newRegistry(t, f, nil)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.count("/token"); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	q := f.requests("/token")[0].URL.Query()
	if q.Get("service") != "test" || q.Get("scope") != "repository:a/b:pull" {
		t.Errorf("token asked with %v", q)
	}
}

func TestTokenIsUsedAgainUntilItExpires(t *testing.T) {
	f := newRegistryWithTokens(t, true, false)
	repo := newRegistry(t, f.fake, password).Repository("a/b")
	for range 3 {
		if _, err := repo.FetchManifest(context.Background(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if n, m := f.count("/token"), f.count("/v2/"); n != 1 || m != 4 {
		t.Errorf("%d token and %d registry requests for three manifests, want 1 and 4", n, m)
	}
	f.issued.Add(1) // what was issued is no longer valid
	if _, err := repo.FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
	if n := f.count("/token"); n != 2 {
		t.Errorf("%d token requests, want one more after the expiry", n)
	}
}

// Whoever fetches the token for all may leave; the others must not fail for it.
func TestCallerThatLeavesWhileFetchingTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		ctx := withExchange(context.Background(), &exchange{})
		leaving, leave := context.WithCancel(ctx)
		results := make(chan error, 2)
		go func() {
			_, err := s.Set(leaving, "host", auth.SchemeBearer, "scope", func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", fmt.Errorf("fetching: %w", ctx.Err())
			})
			results <- err
		}()
		synctest.Wait()
		go func() {
			_, err := s.Set(ctx, "host", auth.SchemeBearer, "scope", func(context.Context) (string, error) { return "t", nil })
			results <- err
		}()
		synctest.Wait() // the second waits for the first
		leave()
		for range 2 {
			if err := <-results; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if token, err := s.GetToken(ctx, "host", auth.SchemeBearer, "scope"); token != "t" || err != nil {
			t.Errorf("%q %v", token, err)
		}
	})
}

// The last line of defence: a session with our credential sends nothing to another host.
func TestCredentialedSessionIsForTheRegistryOnly(t *testing.T) {
	other, f := newFake(t), newFake(t)
	r := newRegistry(t, f, password)
	r.guard.private.Store(true) // or the dial would be refused in any case
	req, _ := http.NewRequest(http.MethodGet, other.URL+"/x", nil)
	ctx := context.WithValue(context.Background(), callKey{}, &call{deadline: time.Now()})
	_, err := r.own.send(ctx, req, &exchange{kind: KindBlob})
	var refused *refusal
	if !errors.As(err, &refused) || other.count("/") != 0 {
		t.Fatal(err)
	}
}

// An expired credential for ghcr.io is refused at the token server; public images must go on.
func TestRefusedCredentialIsTriedAnonymously(t *testing.T) {
	f := newRegistryWithTokens(t, true, true)
	r := newRegistry(t, f.fake, password)
	for range 3 {
		if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	named := 0
	for _, req := range f.requests("/token") {
		if _, _, ok := req.BasicAuth(); ok {
			named++
		}
	}
	if named != 2 { // once for the repository, once to find out that it is refused as such
		t.Errorf("a credential known to be refused was sent %d times, want 2", named)
	}
}

func TestCredentialRefusedForEverythingIsAnOutage(t *testing.T) {
	f := newRegistryWithTokens(t, false, true)
	var seen refusals
	r := newRegistry(t, f.fake, func(o *Options) { password(o); o.Events = &seen })
	for range 2 {
		_, err := r.Repository("a/b").FetchManifest(context.Background(), "v1")
		if causeOf(err) != cache.CauseCredential || !strings.Contains(err.Error(), "bob") || strings.Contains(err.Error(), "s3cret") {
			t.Fatal(err)
		}
	}
	if len(seen.all) != 1 || !seen.all[0] {
		t.Errorf("events %v, want one", seen.all)
	}
}

func TestCredentialIsTriedAgainAfterAMinute(t *testing.T) {
	f := newRegistryWithTokens(t, false, true)
	var now atomic.Int64
	var seen refusals
	r := newRegistry(t, f.fake, func(o *Options) {
		password(o)
		o.Events, o.Now = &seen, func() time.Time { return time.Unix(now.Load(), 0) }
	})
	repo := r.Repository("a/b")
	if _, err := repo.FetchManifest(context.Background(), "v1"); causeOf(err) != cache.CauseCredential {
		t.Fatal(err)
	}
	f.bad = false // no request is under way
	now.Add(61)
	if _, err := repo.FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
	if len(seen.all) != 2 || seen.all[1] {
		t.Errorf("events %v, want refused and then accepted", seen.all)
	}
}

type refusals struct {
	NoEvents
	all []bool
}

func (s *refusals) CredentialRefused(_ string, refused bool) { s.all = append(s.all, refused) }

// ghcr.io answers 403 at its token server for a package that is private or missing.
func TestAnonymousRefusalByTheTokenServerIsADenial(t *testing.T) {
	f := newRegistryWithTokens(t, false, false)
	_, err := newRegistry(t, f.fake, nil).Repository("a/b").FetchManifest(context.Background(), "v1")
	if !errors.Is(err, cache.ErrDenied) || cache.IsOutage(err) || !strings.Contains(err.Error(), "test.example") {
		t.Fatal(err)
	}
}

func TestRepositoryThatTheCredentialMayNotReadIsADenial(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/token", text(`{"token":"t"}`))
	f.mux.HandleFunc("/v2/{$}", guarded(f.URL+"/token", "t", status(200)))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", guarded(f.URL+"/token", "t", status(403)))
	_, err := newRegistry(t, f, password).Repository("a/b").FetchManifest(context.Background(), "v1")
	if !errors.Is(err, cache.ErrDenied) || cache.IsOutage(err) || !strings.Contains(err.Error(), "bob") {
		t.Fatal(err)
	}
}

func TestTokenServerThatFailsIsAnOutage(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"no JSON": text("<html>"), "an endless token": text(`{"token":"` + strings.Repeat("x", 1<<20) + `"}`),
		"no token": text(`{}`), "404": status(404), "a redirect": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "/elsewhere", http.StatusTemporaryRedirect)
		},
	} {
		f := newFake(t)
		f.mux.HandleFunc("/token", answer)
		f.mux.HandleFunc("/v2/a/b/manifests/v1", guarded(f.URL+"/token", "t", serveManifest))
		_, err := newRegistry(t, f, nil).Repository("a/b").FetchManifest(context.Background(), "v1")
		if causeOf(err) != cache.CauseFailed || f.count("/elsewhere") != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBasic(t *testing.T) {
	challenged := func(w http.ResponseWriter, req *http.Request) {
		if user, pass, _ := req.BasicAuth(); user == "bob" && pass == "s3cret" {
			serveManifest(w, req)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	for mode, want := range map[string]int{"": 2, "basic": 1} {
		f := newFake(t)
		f.mux.HandleFunc("/v2/a/b/manifests/v1", challenged)
		r := newRegistry(t, f, func(o *Options) { password(o); o.Auth = mode })
		if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil || f.count("/v2/") != want {
			t.Errorf("auth %q: %v after %d requests, want %d", mode, err, f.count("/v2/"), want)
		}
		if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil || f.count("/v2/") != want+1 {
			t.Errorf("auth %q: %v, %d requests in all", mode, err, f.count("/v2/"))
		}
	}
}

func TestIdentityTokenIsExchangedByOAuth2(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/token", scripted(status(503), func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost && req.FormValue("refresh_token") == "r3fresh" && req.FormValue("scope") == "repository:a/b:pull" {
			fmt.Fprint(w, `{"access_token":"t"}`)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", guarded(f.URL+"/token", "t", serveManifest))
	r := newRegistry(t, f, func(o *Options) { o.IdentityToken = "r3fresh" })
	if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
}

func TestReadableAnonymously(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/token", func(w http.ResponseWriter, req *http.Request) {
		if _, _, named := req.BasicAuth(); named {
			t.Error("the credential was sent")
		}
		fmt.Fprint(w, `{"token":"t"}`)
	})
	f.mux.HandleFunc("/v2/public/manifests/v1", guarded(f.URL+"/token", "t", serveManifest))
	f.mux.HandleFunc("/v2/public/blobs/"+blobDigest.String(), guarded(f.URL+"/token", "t", serveBlob))
	f.mux.HandleFunc("/v2/private/", guarded(f.URL+"/token", "t", status(403)))
	f.mux.HandleFunc("/v2/refused/", status(401))
	f.mux.HandleFunc("/v2/down/", status(501))
	r := newRegistry(t, f, password)
	for name, c := range map[string]struct {
		repo, ref string
		want      bool
		outage    bool
	}{
		"a tag": {"public", "v1", true, false}, "a blob": {"public", blobDigest.String(), true, false},
		"missing": {"public", "v2", false, false}, "403": {"private", "v1", false, false},
		"401": {"refused", blobDigest.String(), false, false}, "outage": {"down", "v1", false, true},
	} {
		got, err := r.Repository(c.repo).ReadableAnonymously(context.Background(), c.ref)
		if got != c.want || cache.IsOutage(err) != c.outage || !c.outage && err != nil {
			t.Errorf("%s: got %v %v", name, got, err)
		}
	}
}

func TestTokensAreBounded(t *testing.T) {
	s := newTokens()
	ctx := withExchange(context.Background(), &exchange{})
	for i := range maxTokens + 10 {
		_, err := s.Set(ctx, "host", auth.SchemeBearer, fmt.Sprint(i), func(context.Context) (string, error) { return "t", nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.fetched); n > maxTokens {
		t.Errorf("%d tokens kept", n)
	}
	if _, err := s.GetToken(ctx, "host", auth.SchemeBearer, fmt.Sprint(maxTokens+9)); err != nil {
		t.Error("the newest token is gone")
	}
}
