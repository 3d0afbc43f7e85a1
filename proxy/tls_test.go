package proxy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// writePair makes a self-signed certificate for 127.0.0.1, usable by servers and clients.
func writePair(t *testing.T, dir, name string) TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := TLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	for name, block := range map[string]*pem.Block{
		files.CertFile: {Type: "CERTIFICATE", Bytes: cert}, files.KeyFile: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// handshake gives the name in the server's certificate, and the protocol agreed on.
func handshake(t *testing.T, addr string) (name, protocol string) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state := c.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, state.NegotiatedProtocol
}

func TestTLSCertificateIsReloaded(t *testing.T) {
	dir := t.TempDir()
	files := writePair(t, dir, "first")
	s := start(t, filled(), func(o *Options) { o.TLS = &files })
	if name, protocol := handshake(t, s.addr); name != "first" || protocol != "http/1.1" {
		t.Errorf("got %q by %q", name, protocol)
	}
	if err := os.WriteFile(files.KeyFile, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, _ := handshake(t, s.addr); name != "first" {
		t.Errorf("with a broken pair: %q", name)
	}
	writePair(t, dir, "second")
	if name, _ := handshake(t, s.addr); name != "second" {
		t.Errorf("after renewal: %q", name)
	}
	if err := os.Remove(files.CertFile); err != nil {
		t.Fatal(err)
	}
	if name, _ := handshake(t, s.addr); name != "second" {
		t.Errorf("without a file: %q", name)
	}
}

func TestTLSNeedsReadableFiles(t *testing.T) {
	files := writePair(t, t.TempDir(), "x")
	for fact, broken := range map[string]TLS{
		"no certificate": {CertFile: files.CertFile + "x", KeyFile: files.KeyFile},
		"no key":         {CertFile: files.CertFile, KeyFile: files.CertFile},
		"no authority":   {CertFile: files.CertFile, KeyFile: files.KeyFile, ClientCA: files.KeyFile},
	} {
		o := options(filled())
		o.TLS = &broken
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", fact)
		}
	}
}

func TestTLSClientCertificate(t *testing.T) {
	server, client := writePair(t, t.TempDir(), "server"), writePair(t, t.TempDir(), "client")
	server.ClientCA = client.CertFile
	s := start(t, filled(), func(o *Options) { o.TLS = &server })
	pair, err := tls.LoadX509KeyPair(client.CertFile, client.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for fact, certificates := range map[string][]tls.Certificate{"with": {pair}, "without": nil} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}
		res, err := (&http.Client{Transport: transport}).Get("https://" + s.addr + "/v2/")
		if (err == nil) != (certificates != nil) {
			t.Errorf("%s: %v", fact, err)
		}
		if err == nil {
			res.Body.Close()
		}
		transport.CloseIdleConnections()
	}
}

func TestTLSBodies(t *testing.T) {
	files := writePair(t, t.TempDir(), "x")
	f := filled()
	body := bytes.Repeat([]byte("z"), 1<<20)
	direct := false
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
		return &content{size: 1 << 20, body: body, tier: cache.TierDisk, writeTo: func(w io.Writer, b []byte) (int64, error) {
			_, direct = w.(io.ReaderFrom)
			n, err := w.Write(b)
			return int64(n), err
		}}, nil
	}
	f.hotBlobs["docker.io/a/b@"+sha512] = body
	f.blobs["docker.io/a/b@"+sha512] = ofBytes(body, cache.TierMemory)
	s := start(t, f, func(o *Options) { o.TLS = &files })
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	for _, d := range []string{sha256, sha512} {
		res, err := (&http.Client{Transport: transport}).Get("https://" + s.addr + "/v2/a/b/blobs/" + d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", d, len(got), err)
		}
		if a := <-s.answered; a.Cut || a.Bytes != 1<<20 {
			t.Errorf("%s: told %+v", d, a)
		}
	}
	if direct {
		t.Error("content saw a ReadFrom, which copies by the small write buffer on TLS")
	}
}
