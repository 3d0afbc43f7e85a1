package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"golang.org/x/net/http/httpproxy"
)

func TestNewNamesAllMistakes(t *testing.T) {
	_, err := New(Options{
		Host: "a/b", URL: "ftp://bob:s3cret@host/", Username: "bob", Auth: "magic", MaxRequests: -1,
		CA: "/nowhere/ca.pem", ClientCert: "/nowhere/cert.pem",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"a/b", "URL", "username", "magic", "below zero", "ca.pem", "client certificate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the password is in: %v", err)
	}
}

func TestBaseURL(t *testing.T) {
	for o, want := range map[string]string{
		"docker.io": "https://registry-1.docker.io", "quay.io": "https://quay.io", "host:5000": "https://host:5000",
	} {
		r, err := New(Options{Host: o})
		if err != nil || r.base.String() != want {
			t.Errorf("%s: got %v %v, want %s", o, r.base, err, want)
		}
	}
	for _, bad := range []string{"host", "https://", "https://u@host", "https://host?x=1", "https://host#x", "http://%zz"} {
		if _, err := New(Options{Host: "x", URL: bad}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestPathOfTheBaseURLIsKept(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/mirror/v2/a/b/manifests/v1", serveManifest)
	r := newRegistry(t, f, func(o *Options) { o.URL += "/mirror/" })
	if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
}

// secure is a TLS server that offers HTTP/2 and wants a client certificate signed by itself.
func secure(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Proto", req.Proto)
		serveManifest(w, req)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write("cert.pem", "CERTIFICATE", pair.Certificate[0])
	write("key.pem", "PRIVATE KEY", key)
	return s
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	s := secure(t, dir)
	s.TLS.ClientAuth = tls.RequireAnyClientCert
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, c := range map[string]struct {
		o  Options
		ok bool
	}{
		"CA and client certificate": {Options{CA: cert, ClientCert: cert, ClientKey: key}, true},
		"no CA":                     {Options{ClientCert: cert, ClientKey: key}, false},
		"no client certificate":     {Options{CA: cert}, false},
	} {
		c.o.Host, c.o.URL, c.o.Proxy = "secure.example", s.URL, &httpproxy.Config{}
		c.o.Patience = 2e9
		r, err := New(c.o)
		if err != nil {
			t.Fatal(err)
		}
		q := r.Repository("a/b").query(KindManifest, http.MethodGet, "manifests", "v1")
		a, _, err := r.Repository("a/b").fetch(context.Background(), q, r.ask)
		if (err == nil) != c.ok || !c.ok && causeOf(r.report("", err)) != cache.CauseFailed {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && a.Header.Get("Proto") != "HTTP/1.1" {
			t.Errorf("%s: %s; parallel ranges need connections of their own", name, a.Header.Get("Proto"))
		}
		r.Close()
	}
}

// The guard judges addresses that upstream chooses; a proxy is ours, even on a private address, and passes for them.
func TestProxy(t *testing.T) {
	proxy := newFake(t)
	proxy.mux.HandleFunc("/v2/a/b/manifests/v1", serveManifest)
	r, err := New(Options{Host: "far.example", URL: "http://far.example", Proxy: &httpproxy.Config{HTTPProxy: proxy.host()}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
		t.Fatal(err)
	}
	if got := proxy.requests("/")[0].Host; got != "far.example" {
		t.Errorf("the proxy was asked for %s", got)
	}
}

func TestProxyAuthorities(t *testing.T) {
	got := proxyAuthorities(&httpproxy.Config{HTTPProxy: "proxy.corp:3128", HTTPSProxy: "https://u:p@Proxy2.corp"})
	if !got["proxy.corp:3128"] || !got["proxy2.corp:443"] || len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestAuthority(t *testing.T) {
	for in, want := range map[string]string{
		"https://Host": "host:443", "http://host": "host:80", "https://host:5000/x": "host:5000", "http://[::1]": "[::1]:80",
	} {
		u, _ := url.Parse(in)
		if got := authority(u); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
