package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// CVE-2026-33540: a proxy sent its upstream password to any realm named in WWW-Authenticate.
func TestCVE_2026_33540_CredentialsGoToNoForeignRealm(t *testing.T) {
	evil := newFake(t)
	evil.mux.HandleFunc("/", text(`{"token":"t"}`))
	for name, realm := range map[string]string{
		"another host":              evil.URL + "/token",
		"https on our own port":     "https://169.254.169.254/token",
		"an IPv6 metadata service":  "http://[fd00:ec2::254]/token",
		"metadata, IPv4 in IPv6":    "http://[::ffff:169.254.169.254]/token",
		"with a user name":          strings.Replace(evil.URL, "http://", "http://x:y@", 1) + "/token",
		"another scheme":            "ftp://" + evil.host() + "/token",
		"no realm":                  "",
		"a path on nobody's server": "/token",
	} {
		f := newFake(t)
		f.mux.HandleFunc("/v2/", guarded(realm, "never", serveManifest))
		var log bytes.Buffer
		r := newRegistry(t, f, func(o *Options) { password(o); o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		_, err := r.Repository("a/b").FetchManifest(context.Background(), "v1")
		if err == nil {
			t.Fatalf("%s: a manifest came", name)
		}
		if evil.sawSecret() {
			t.Errorf("%s: the credential left", name)
		}
		for _, req := range f.requests("/") {
			if _, _, ok := req.BasicAuth(); ok {
				t.Errorf("%s: the registry got the password where it asked for a token", name)
			}
		}
		if name == "another host" {
			if !errors.Is(err, cache.ErrDenied) || !strings.Contains(err.Error(), "token hosts") {
				t.Errorf("the remedy is not named: %v", err)
			}
		} else if causeOf(err) != cache.CauseFailed {
			t.Errorf("%s: %v, want a broken answer", name, err)
		}
		if strings.Contains(log.String()+err.Error(), "s3cret") {
			t.Errorf("%s: the password is in %s %v", name, log.String(), err)
		}
	}
}

func TestCVE_2026_33540_ListedTokenHostGetsTheCredential(t *testing.T) {
	tokens, f := newFake(t), newFake(t)
	tokens.mux.HandleFunc("/token", text(`{"token":"t"}`))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", guarded(tokens.URL+"/token", "t", serveManifest))
	r := newRegistry(t, f, func(o *Options) { password(o); o.TokenHosts = []string{tokens.host()} })
	if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
	if user, _, _ := tokens.requests("/token")[0].BasicAuth(); user != "bob" {
		t.Error("the listed token host did not get the credential")
	}
}

// CVE-2026-33540: Docker Hub's own token server is another host than its registry.
func TestCVE_2026_33540_KnownTokenHosts(t *testing.T) {
	r, err := New(Options{Host: "docker.io"})
	if err != nil {
		t.Fatal(err)
	}
	for realm, may := range map[string]bool{
		"https://auth.docker.io/token": true, "https://registry-1.docker.io/token": true, "https://AUTH.docker.io:443/token": true,
		"http://auth.docker.io/token": false, "https://auth.docker.io:8443/token": false, "https://auth.docker.io.evil.example/token": false,
		"https://evil.example/auth.docker.io": false, "http://registry-1.docker.io/token": false,
	} {
		u, _ := url.Parse(realm)
		if err := r.guard.entrust(u); (err == nil) != may {
			t.Errorf("%s: %v", realm, err)
		}
	}
}

// CVE-2026-48978, GHSA-vh4v-2xq2-g5cg: credentials went along with redirects, to another port of the same host too.
func TestCVE_2026_48978_GHSA_vh4v_2xq2_g5cg_RedirectsCarryNothing(t *testing.T) {
	other := newFake(t)
	other.mux.HandleFunc("/m", serveManifest)
	other.mux.HandleFunc("/b", serveBlob)
	for _, auth := range []string{"", "basic"} {
		f := newFake(t)
		f.mux.HandleFunc("/token", func(w http.ResponseWriter, req *http.Request) {
			if user, _, _ := req.BasicAuth(); user != "bob" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.Header().Set("Set-Cookie", "session=1")
			fmt.Fprint(w, `{"token":"t"}`)
		})
		to := func(path string) http.HandlerFunc {
			return func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get("Authorization") == "" {
					guarded(f.URL+"/token", "t", nil)(w, req)
					return
				}
				http.Redirect(w, req, other.URL+path, http.StatusTemporaryRedirect)
			}
		}
		f.mux.HandleFunc("/v2/a/b/manifests/v1", to("/m"))
		f.mux.HandleFunc(blobPath, to("/b"))
		repo := newRegistry(t, f, func(o *Options) { password(o); o.Auth = auth }).Repository("a/b")
		if _, err := repo.FetchManifest(context.Background(), "v1"); err != nil {
			t.Fatal(err)
		}
		p, err := repo.FetchBlob(context.Background(), blobDigest, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		p.Body.Close()
		if _, err := repo.StatBlob(context.Background(), blobDigest); err != nil {
			t.Fatal(err)
		}
	}
	if other.sawSecret() {
		t.Error("a redirect carried a credential")
	}
}

// CVE-2026-48978: once a chain of redirects has left the registry, coming back does not bring the credential back.
func TestCVE_2026_48978_ReturnFromAForeignHostIsAnonymous(t *testing.T) {
	other, f := newFake(t), newFake(t)
	f.mux.HandleFunc("/token", text(`{"token":"t"}`))
	f.mux.HandleFunc("/secret", func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			t.Error("the credential came back")
		}
		serveManifest(w, req)
	})
	other.mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, f.URL+"/secret", http.StatusTemporaryRedirect)
	})
	f.mux.HandleFunc("/v2/a/b/manifests/v1", guarded(f.URL+"/token", "t", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, other.URL+"/x", http.StatusTemporaryRedirect)
	}))
	if _, err := newRegistry(t, f, password).Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
}

// CVE-2026-50151: a redirecting token server must not be followed, with or without the credential.
func TestCVE_2026_50151_TokenServerThatRedirects(t *testing.T) {
	evil, f := newFake(t), newFake(t)
	evil.mux.HandleFunc("/", text(`{"token":"t","access_token":"t"}`))
	f.mux.HandleFunc("/token", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, evil.URL+"/token", http.StatusTemporaryRedirect)
	})
	f.mux.HandleFunc("/v2/", guarded(f.URL+"/token", "t", serveManifest))
	for _, change := range []func(*Options){password, func(o *Options) { o.IdentityToken = "r3fresh" }} {
		if _, err := newRegistry(t, f, change).Repository("a/b").FetchManifest(context.Background(), "v1"); err == nil {
			t.Error("a redirected token was taken")
		}
	}
	if n := evil.count("/"); n != 0 {
		t.Errorf("the redirect's target was asked %d times", n)
	}
}

// CVE-2020-13788 and its kin: an upstream must not lead us into our own network.
func TestCVE_2020_13788_AddressesByClass(t *testing.T) {
	for addr, want := range map[string]class{
		"93.184.216.34": public, "2606:4700::1": public, "64:ff9b::5db8:d822": public,
		"127.0.0.1": private, "::1": private, "0.0.0.0": private, "::": private, "10.1.2.3": private, "192.168.1.1": private,
		"172.16.0.1": private, "fd00::1": private, "100.64.0.1": private, "::ffff:10.0.0.1": private, "64:ff9b::a00:1": private,
		"169.254.169.254": forbidden, "fe80::1": forbidden, "fe80::1%eth0": forbidden, "::ffff:169.254.1.1": forbidden,
		"100.100.100.200": forbidden, "fd00:ec2::254": forbidden, "224.0.0.1": forbidden, "ff02::1": forbidden,
		"255.255.255.255": forbidden, "64:ff9b::a9fe:a9fe": forbidden,
	} {
		if got := classify(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
}

func TestCVE_2020_13788_RedirectsIntoOurNetworkAreRefused(t *testing.T) {
	f := newFake(t)
	for name, location := range map[string]string{
		"metadata service": "http://169.254.169.254/latest/meta-data/", "IPv6 link-local": "http://[fe80::1]/", "another scheme": "file:///etc/passwd",
		"user name": "http://a:b@127.0.0.1/", "no address": "http://%zz/",
	} {
		path := "/v2/x/" + strings.ReplaceAll(name, " ", "-") + "/manifests/v1"
		f.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		_, err := newRegistry(t, f, nil).Repository("x/"+strings.ReplaceAll(name, " ", "-")).FetchManifest(context.Background(), "v1")
		if causeOf(err) != cache.CauseFailed || f.count(path) != 1 {
			t.Errorf("%s: %v after %d requests", name, err, f.count(path))
		}
	}
}

// A name that pointed elsewhere when it was checked may point at us when it is dialled: the guard looks again then.
func TestCVE_2020_13788_NamesAreJudgedWhenDialled(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/", serveManifest)
	port := f.host()[strings.LastIndex(f.host(), ":"):]
	base, _ := url.Parse("https://registry.example")
	for name, c := range map[string]struct {
		change func(*guard)
		ok     bool
	}{
		"public upstream":           {func(*guard) {}, false},
		"private upstream":          {func(g *guard) { g.private.Store(true) }, true},
		"listed host":               {func(g *guard) { g.listed["localhost"+port] = true }, true},
		"known, but not listed":     {func(g *guard) { g.known["localhost"+port] = true }, false},
		"a proxy that we were told": {func(g *guard) { g.proxies["localhost"+port] = true }, true},
	} {
		g := newGuard(Options{Patience: time.Second}.withDefaults(), base)
		c.change(g)
		conn, err := g.DialContext(context.Background(), "tcp", "localhost"+port)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if n := f.count("/"); n != 0 {
		t.Errorf("%d requests got through", n)
	}
}

func TestPlainHTTPOnlyWhereTheUpstreamIsPlain(t *testing.T) {
	for base, plain := range map[string]bool{"https://registry.example": false, "http://registry.example": true} {
		b, _ := url.Parse(base)
		g := newGuard(Options{}.withDefaults(), b)
		u, _ := url.Parse("http://cdn.example/x")
		if err := g.visit(u); (err == nil) != plain {
			t.Errorf("%s: %v", base, err)
		}
	}
}

// CVE-2025-48374: secrets in logs. Neither errors nor logs show a password, a token, or a signed address.
func TestCVE_2025_48374_NoSecretsInErrors(t *testing.T) {
	var log bytes.Buffer
	f := newFake(t)
	f.mux.HandleFunc("/token", text(`{"token":"t0ken"}`))
	f.mux.HandleFunc("/v2/a/b/manifests/v1", guarded(f.URL+"/token", "t0ken", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, f.URL+"/broken?signature=s1gned", http.StatusTemporaryRedirect)
	}))
	f.mux.HandleFunc("/broken", hangup)
	r := newRegistry(t, f, func(o *Options) {
		password(o)
		o.Patience, o.Log = 300*time.Millisecond, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, err := r.Repository("a/b").FetchManifest(context.Background(), "v1")
	if err == nil {
		t.Fatal("no error")
	}
	for _, secret := range []string{"s3cret", "t0ken", "s1gned", "Ym9i"} {
		if strings.Contains(err.Error()+log.String(), secret) {
			t.Errorf("%q is in: %v\n%s", secret, err, log.String())
		}
	}
}

// Cache poisoning: what is not the content asked for is an error, never a shorter or a different body that looks whole.
func TestCachePoisoning_ErrorPagesAndParts(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc(blobPath, partial("bytes 0-99/100", strings.Repeat("x", 100)))
	p, err := newRegistry(t, f, nil).Repository("a/b").FetchBlob(context.Background(), blobDigest, 0, -1)
	if err == nil {
		body, _ := io.ReadAll(p.Body)
		t.Fatalf("a part was taken for the whole: %d bytes", len(body))
	}
}
