package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// newTransport makes the one connection pool of an upstream.
//
// HTTP/1.1 only: parallel ranges of a blob over one HTTP/2 connection would share that connection's share of the line. No compression:
// net/http would ask for gzip unasked, and then drop Content-Length.
func newTransport(o Options, g *guard, config *tls.Config, proxy func(*url.URL) (*url.URL, error)) *http.Transport {
	part := o.Patience / 2 // of one attempt; a second one must fit
	return &http.Transport{
		Proxy:                  func(req *http.Request) (*url.URL, error) { return proxy(req.URL) },
		DialContext:            g.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    part,
		ResponseHeaderTimeout:  part,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableCompression:     true,
		MaxIdleConns:           2 * o.MaxRequests,
		MaxIdleConnsPerHost:    max(16, o.MaxRequests),
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         64 << 10,
	}
}

// tlsConfig trusts the system's authorities and those in the file ca, and shows the client certificate if there is one.
func tlsConfig(ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var caErr, certErr error
	if ca != "" {
		config.RootCAs, caErr = authorities(ca)
	}
	if cert != "" && key != "" {
		var pair tls.Certificate
		pair, certErr = tls.LoadX509KeyPair(cert, key)
		config.Certificates = []tls.Certificate{pair}
	}
	return config, errors.Join(caErr, certErr)
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s: no certificate in it", file)
	}
	return pool, nil
}

// proxyAuthorities are the addresses that the transport dials when it goes through a proxy.
func proxyAuthorities(c *httpproxy.Config) map[string]bool {
	all := make(map[string]bool)
	for _, p := range []string{c.HTTPProxy, c.HTTPSProxy} {
		if p == "" {
			continue
		}
		if !strings.Contains(p, "://") {
			p = "http://" + p
		}
		if u, err := url.Parse(p); err == nil {
			all[authority(u)] = true
		}
	}
	return all
}
