package access

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"
)

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	return asPEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))
}

func sec1(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	return asPEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key)))
}

func asPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// ecParameters of P-256 are what openssl writes before a key, unless it is told not to.
var ecParameters = asPEM("EC PARAMETERS", []byte("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"))

func TestFilesOfKeys(t *testing.T) {
	a, b := generate(t, elliptic.P256()), generate(t, elliptic.P256())
	for _, c := range []struct {
		name, text string
		signer     *ecdsa.PrivateKey
		others     []*ecdsa.PrivateKey
	}{
		{"SEC 1", sec1(t, a), a, nil},
		{"PKCS #8", pkcs8(t, a), a, nil},
		{"with parameters before it", ecParameters + sec1(t, a), a, nil},
		{"with Windows' ends of lines", strings.ReplaceAll(sec1(t, a), "\n", "\r\n"), a, nil},
		{"without an end of the last line", strings.TrimSpace(sec1(t, a)), a, nil},
		{"with words around it", "# of June\n\n" + sec1(t, a) + "\nthat was it\n", a, nil},
		{"several", sec1(t, a) + pkcs8(t, b), a, []*ecdsa.PrivateKey{b}},
		{"several the other way round", sec1(t, b) + pkcs8(t, a), b, []*ecdsa.PrivateKey{a}},
		{"one twice", sec1(t, a) + pkcs8(t, a), a, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseKeys([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if want := must(newKeys(c.signer, c.others...)); !got.equal(want) {
				t.Errorf("%s signs and %d verify, want %s and %d", got.id, len(got.verifiers), want.id, len(want.verifiers))
			}
		})
	}
}

func TestFilesThatAreNoKeys(t *testing.T) {
	key := generate(t, elliptic.P256())
	good, rsaKey := sec1(t, key), must(rsa.GenerateKey(rand.Reader, 2048))
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	public := asPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&key.PublicKey)))
	encrypted := strings.Replace(good, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"there is no private key", "openssl ecparam"}},
		{"no PEM", "secret", []string{"there is no private key"}},
		{"parameters only", ecParameters, []string{"there is no private key"}},
		{"a public key", public, []string{"line 1", "PUBLIC KEY", "openssl ecparam -genkey -name prime256v1 -noout"}},
		{"a certificate", asPEM("CERTIFICATE", []byte{1}), []string{"CERTIFICATE"}},
		{"RSA", asPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), []string{"RSA PRIVATE KEY", "openssl ecparam"}},
		{"RSA in PKCS #8", pkcs8(t, rsaKey), []string{"RSA", "openssl ecparam"}},
		{"Ed25519", pkcs8(t, edKey), []string{"Ed25519", "openssl ecparam"}},
		{"P-384", sec1(t, generate(t, elliptic.P384())), []string{"P-384", "openssl ecparam"}},
		{"P-521 in PKCS #8", pkcs8(t, generate(t, elliptic.P521())), []string{"P-521"}},
		{"encrypted", encrypted, []string{"encrypted"}},
		{"encrypted in PKCS #8", asPEM("ENCRYPTED PRIVATE KEY", []byte{1}), []string{"encrypted"}},
		{"cut", good[:len(good)/2], []string{"line 1", "no end"}},
		{"the second cut", good + "\n" + good[:len(good)/2], []string{"line 7", "no end"}},
		{"the first cut", good[:len(good)/2] + "\n" + good, []string{"line 1", "no end"}},
		{"DER that is cut", asPEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key))[:60]), []string{"damaged"}},
		{"a good one, and two that are not", good + public + public, []string{"line 6", "line 10"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseKeys([]byte(c.text))
			if err == nil || got != nil {
				t.Fatalf("%v, %v", got, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			wantNoKey(t, err, c.text, key)
		})
	}
}

// wantNoKey wants an error to tell nothing of keys.
func wantNoKey(t *testing.T, err error, text string, secrets ...*ecdsa.PrivateKey) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); len(line) > 8 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line[:8]) {
			t.Errorf("%q of the text is in: %v", line[:8], err)
		}
	}
	for _, secret := range secrets {
		raw := must(secret.Bytes())
		for _, form := range []string{string(raw), hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw)} {
			if strings.Contains(err.Error(), form[:8]) {
				t.Errorf("a key is in: %v", err)
			}
		}
	}
}

func TestEqualKeys(t *testing.T) {
	a, b := generate(t, elliptic.P256()), generate(t, elliptic.P256())
	var none *keys
	for _, c := range []struct {
		name string
		a, b *keys
		want bool
	}{
		{"none", none, nil, true},
		{"none and one", none, must(newKeys(a)), false},
		{"the same", must(newKeys(a)), must(newKeys(a)), true},
		{"others", must(newKeys(a)), must(newKeys(b)), false},
		{"one more", must(newKeys(a)), must(newKeys(a, b)), false},
		{"another signs", must(newKeys(a, b)), must(newKeys(b, a)), false},
		{"in another order", must(newKeys(a, a, b)), must(newKeys(a, b, a)), true},
	} {
		if c.a.equal(c.b) != c.want || c.b.equal(c.a) != c.want {
			t.Errorf("%s: equal is %v, want %v", c.name, c.a.equal(c.b), c.want)
		}
	}
}
