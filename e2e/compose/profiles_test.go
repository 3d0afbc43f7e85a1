package compose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profiles takes the two files of settings, hosted repositories in an S3 server and https, and makes a user. dockerd knows
// 127.0.0.1 as a place where certificates do not matter, so the port is published at another address.
func (s *site) profiles() {
	s.hub.Up()
	s.appended = read(s.t, "deploy/compose/s3.env") + read(s.t, "deploy/compose/tls.env")
	s.writeSettings()
	s.fails("AWS_ACCESS_KEY_ID is missing a value: put it into .env", "docker", append(s.arguments(), "config", "--quiet")...)
	s.settings["AWS_ACCESS_KEY_ID"], s.settings["AWS_SECRET_ACCESS_KEY"] = "somebody", "not-a-default-31c7"
	s.settings["ENTREPOT_BIND"] = gateway
	s.writeSettings()
	s.addUser("alice", "secret-31c7")
	certificate := s.makeCertificate(gateway)
	s.compose("up", "--detach", "--wait")
	s.project.wantConfined("s3")

	s.fails("x509", "docker", "pull", s.at("library/app:1"))
	s.trust(certificate)
	s.pull(s.at("library/app:1"))
	s.Run("docker", "tag", s.at("library/app:1"), s.at("mine:1"))
	s.fails("denied", "docker", "push", s.at("mine:1"))
	s.Run("docker", "login", "--username", "alice", "--password", "secret-31c7", strings.TrimSuffix(s.at(""), "/"))
	s.Run("docker", "push", s.at("mine:1"))
	s.wantKept()
	if objects := s.compose("exec", "-T", "s3", "find", "/objects/registry/hosted/repos"); !strings.Contains(objects, "/mine/") {
		s.t.Errorf("what was pushed is not in the bucket:\n%s", objects)
	}
}

// addUser does so in the volume, and has the server know it.
func (s *site) addUser(name, password string) {
	s.t.Helper()
	args := append(s.arguments(), "run", "--rm", "--no-deps", "-T", "entrepot", "htpasswd", "--file", "/data/users", name)
	s.Run("sh", append([]string{"-c", `echo "$0" | docker "$@"`, password}, args...)...)
	s.settings["ENTREPOT_HTPASSWD"] = "/data/users"
	s.writeSettings()
}

// makeCertificate puts a certificate that is its own authority where the container reads it.
func (s *site) makeCertificate(ip string) (certificate string) {
	s.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(ip)},
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.File("etc/tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return s.File("etc/tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// trust is what a machine's owner does for dockerd. The place is fixed.
func (s *site) trust(certificate string) {
	s.t.Helper()
	host, _, _ := strings.Cut(s.at(""), "/")
	dir := filepath.Join("/etc/docker/certs.d", host)
	s.t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	})
	text, err := os.ReadFile(certificate)
	if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "ca.crt"), text, 0o644)); err != nil {
		s.t.Fatal(err)
	}
}
