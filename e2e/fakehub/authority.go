package fakehub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// authority is a CA of one certificate.
type authority struct {
	leaf      tls.Certificate
	file      string
	temporary bool
}

func newAuthority(file string) (*authority, error) {
	root := certificate("fakehub CA", 1)
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("fake hub: CA key: %w", err)
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, fmt.Errorf("fake hub: CA certificate: %w", err)
	}
	leaf := certificate("127.0.0.1", 2)
	leaf.IPAddresses, leaf.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("fake hub: key: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, rootKey)
	if err != nil {
		return nil, fmt.Errorf("fake hub: certificate: %w", err)
	}
	a := &authority{leaf: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, file: file}
	return a, a.write(rootDER)
}

func certificate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func (a *authority) write(der []byte) error {
	if a.file == "" {
		f, err := os.CreateTemp("", "fakehub-ca-*.pem")
		if err != nil {
			return fmt.Errorf("fake hub: CA file: %w", err)
		}
		a.file, a.temporary = f.Name(), true
		f.Close()
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("fake hub: CA file: %w", err)
	}
	return nil
}

func (a *authority) remove() error {
	if !a.temporary {
		return nil
	}
	return os.Remove(a.file)
}
