package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLS names the files of the server's certificate.
type TLS struct {
	CertFile string
	KeyFile  string
	ClientCA string // optional: clients must then present a certificate that one of these authorities signed
}

// config reads the files once, so that a mistake is found at start. HTTP/2 is never offered: the server has none.
func (t TLS) config(log *slog.Logger) (*tls.Config, error) {
	certificate := &certificate{files: t, log: log}
	if err := certificate.load(); err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate.current(), nil },
	}
	if t.ClientCA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read client authorities: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", t.ClientCA)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	return cfg, nil
}

// certificate is the key pair in two files that somebody renews while the server runs.
type certificate struct {
	files TLS
	log   *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate // guarded by mu, as is stamps
	stamps [2]stamp
}

// stamp tells two states of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

// current looks at the files at each handshake, which costs next to nothing beside one. A pair that cannot be read, or
// whose second file is still to be written, leaves the old pair in use.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamps, err := c.stat(); err == nil && stamps != c.stamps {
		if err := c.reload(stamps); err != nil {
			c.log.Error("the certificate changed but cannot be used; the old one stays", "err", err)
		} else {
			c.log.Info("certificate reloaded", "file", c.files.CertFile)
		}
	}
	return c.pair
}

func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps, err := c.stat()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return c.reload(stamps)
}

// reload is called with mu held. A failure is remembered with its stamps, so that it is told once.
func (c *certificate) reload(stamps [2]stamp) error {
	c.stamps = stamps
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.pair = &pair
	return nil
}

func (c *certificate) stat() (stamps [2]stamp, err error) {
	for i, name := range []string{c.files.CertFile, c.files.KeyFile} {
		info, e := os.Stat(name)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, err
}
