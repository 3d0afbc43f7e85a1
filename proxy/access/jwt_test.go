package access

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// forge makes a token by hand: of any header, any claims, signed in any way.
func forge(t *testing.T, method jwt.SigningMethod, key any, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func refused(t *testing.T, k *keys, token string) {
	t.Helper()
	if c, err := k.verify(token, "entrepot", noon); err == nil {
		t.Errorf("accepted: %+v", c)
	} else if len(err.Error()) > 500 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// aliceClaims are those of a good token, with changes; a nil value takes one out.
func aliceClaims(t *testing.T, changes map[string]any) string {
	t.Helper()
	all := map[string]any{
		"iss": "entrepot", "sub": "alice", "aud": "entrepot", "mrk": "mark",
		"iat": noon.Unix(), "nbf": noon.Unix() - 30, "exp": noon.Unix() + 300,
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return asJSON(t, all)
}

// Distribution before 3.0.0 verified a token with the key that stood in its own header.
func TestCVE_2025_24976_KeysInTheTokenAreIgnored(t *testing.T) {
	k := newTestKeys(t)
	public := &k.signer.PublicKey
	der := must(x509.MarshalPKIXPublicKey(public))
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	raw := must(public.Bytes())
	attacker := generate(t, elliptic.P256())
	point := must(attacker.PublicKey.Bytes())
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	certificate := &x509.Certificate{NotAfter: noon.Add(time.Hour)}
	chain := must(x509.CreateCertificate(rand.Reader, certificate, certificate, &attacker.PublicKey, attacker))
	jwk := map[string]string{
		"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}
	es256, hs256, rs256 := jwt.SigningMethodES256, jwt.SigningMethodHS256, jwt.SigningMethodRS256
	for _, c := range []struct {
		name   string
		method jwt.SigningMethod
		key    any
		header map[string]any
	}{
		{"jwk", es256, attacker, map[string]any{"alg": "ES256", "jwk": jwk}},
		{"jwk and kid", es256, attacker, map[string]any{"alg": "ES256", "kid": k.id, "jwk": jwk}},
		{"jku", es256, attacker, map[string]any{"alg": "ES256", "jku": "https://attacker.example/jwks.json", "kid": "1"}},
		{"x5u", es256, attacker, map[string]any{"alg": "ES256", "x5u": "https://attacker.example/chain.pem", "kid": k.id}},
		{"x5c", es256, attacker, map[string]any{"alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(chain)}}},
		{"x5c and kid", es256, attacker, map[string]any{"alg": "ES256", "kid": k.id, "x5c": []string{base64.StdEncoding.EncodeToString(chain)}}},
		{"another key", es256, attacker, map[string]any{"alg": "ES256", "kid": k.id}},
		{"none", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"alg": "none", "kid": k.id}},
		{"None", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"alg": "None", "kid": k.id}},
		{"ES256 without a signature", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"alg": "ES256", "kid": k.id}},
		{"HS256 by the public key", hs256, raw, map[string]any{"alg": "HS256", "kid": k.id}},
		{"HS256 by the public key in DER", hs256, der, map[string]any{"alg": "HS256", "kid": k.id}},
		{"HS256 by the public key in PEM", hs256, asPEM, map[string]any{"alg": "HS256", "kid": k.id}},
		{"HS256 by nothing", hs256, []byte{}, map[string]any{"alg": "HS256", "kid": ""}},
		{"RS256", rs256, rsaKey, map[string]any{"alg": "RS256", "kid": k.id}},
		{"ES256 by RSA", rs256, rsaKey, map[string]any{"alg": "ES256", "kid": k.id}},
		{"ES384", jwt.SigningMethodES384, generate(t, elliptic.P384()), map[string]any{"alg": "ES384", "kid": k.id}},
		{"ES512", jwt.SigningMethodES512, generate(t, elliptic.P521()), map[string]any{"alg": "ES512", "kid": k.id}},
		{"ES256 by P-384", jwt.SigningMethodES384, generate(t, elliptic.P384()), map[string]any{"alg": "ES256", "kid": k.id}},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, k, forge(t, c.method, c.key, asJSON(t, c.header), aliceClaims(t, nil)))
		})
	}
	refused(t, k, forge(t, es384ByP256{}, k.signer, asJSON(t, map[string]any{"alg": "ES384", "kid": k.id}), aliceClaims(t, nil)))
	beside := forge(t, es256, k.signer, asJSON(t, map[string]any{"alg": "ES256", "kid": k.id, "jwk": jwk}), aliceClaims(t, nil))
	if _, err := k.verify(beside, "entrepot", noon); err != nil {
		t.Errorf("a key that is ignored changes something: %v", err)
	}
}

// es384ByP256 signs as no JWT is to be signed, and so that a verifier that takes any method accepts it.
type es384ByP256 struct{ jwt.SigningMethod }

func (es384ByP256) Sign(text string, key any) ([]byte, error) {
	narrow := jwt.SigningMethodECDSA{Hash: crypto.SHA384, CurveBits: 256}
	signature, err := narrow.Sign(text, key)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 16)
	return slices.Concat(zeros, signature[:32], zeros, signature[32:]), nil
}

func TestHeadersThatNameNoKey(t *testing.T) {
	k := newTestKeys(t)
	for name, header := range map[string]string{
		"another":             `{"alg":"ES256","kid":"other"}`,
		"none":                `{"alg":"ES256"}`,
		"an empty one":        `{"alg":"ES256","kid":""}`,
		"null":                `{"alg":"ES256","kid":null}`,
		"a list":              `{"alg":"ES256","kid":["` + k.id + `"]}`,
		"another case":        `{"alg":"ES256","KID":"` + k.id + `"}`,
		"a path":              `{"alg":"ES256","kid":"../../dev/null"}`,
		"one and another":     `{"alg":"ES256","kid":"` + k.id + `","kid":"other"}`,
		"one, and no method":  `{"kid":"` + k.id + `"}`,
		"one, and none":       `{"alg":"ES256","kid":"` + k.id + `","alg":"none"}`,
		"one, and extensions": `{"alg":"ES256","kid":"` + k.id + `","crit":["b64"],"b64":false}`,
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, k, forge(t, jwt.SigningMethodES256, k.signer, header, aliceClaims(t, nil)))
		})
	}
}

func TestClaimsThatAreNotGood(t *testing.T) {
	k := newTestKeys(t)
	header := asJSON(t, map[string]string{"alg": "ES256", "kid": k.id})
	good := aliceClaims(t, nil)
	if _, err := k.verify(forge(t, jwt.SigningMethodES256, k.signer, header, good), "entrepot", noon); err != nil {
		t.Fatalf("the claims that the others are changed from: %v", err)
	}
	also := func(claim string) string { return strings.TrimSuffix(good, "}") + "," + claim + "}" }
	for name, text := range map[string]string{
		"another audience":          aliceClaims(t, map[string]any{"aud": "other"}),
		"other audiences":           aliceClaims(t, map[string]any{"aud": []string{"other", "Entrepot"}}),
		"no audience":               aliceClaims(t, map[string]any{"aud": nil}),
		"an empty audience":         aliceClaims(t, map[string]any{"aud": []string{}}),
		"another issuer":            aliceClaims(t, map[string]any{"iss": "other"}),
		"no issuer":                 aliceClaims(t, map[string]any{"iss": nil}),
		"before its time":           aliceClaims(t, map[string]any{"nbf": noon.Unix() + 1}),
		"no beginning":              aliceClaims(t, map[string]any{"nbf": nil}),
		"no end":                    aliceClaims(t, map[string]any{"exp": nil}),
		"an end that is null":       aliceClaims(t, map[string]any{"exp": json.RawMessage("null")}),
		"an end of another type":    aliceClaims(t, map[string]any{"exp": "2100-01-01T00:00:00Z"}),
		"expired":                   aliceClaims(t, map[string]any{"exp": noon.Unix() - 1}),
		"expired just now":          aliceClaims(t, map[string]any{"exp": noon.Unix()}),
		"expired before the epoch":  aliceClaims(t, map[string]any{"exp": -1}),
		"expired, said behind":      also(`"exp":1`),
		"another audience behind":   also(`"aud":"other"`),
		"another issuer behind":     also(`"ISS":"other"`),
		"grants of another type":    aliceClaims(t, map[string]any{"access": "*"}),
		"too many":                  also(`"x":"` + strings.Repeat("x", maxToken) + `"`),
		"a list":                    "[" + good + "]",
		"two":                       good + good,
		"a number":                  "7",
		"null":                      "null",
		"nothing":                   "",
		"something behind":          good + "x",
		"a number that has no end":  also(`"nbf":1` + strings.Repeat("0", 10_000)),
		"lists that have no end":    strings.Repeat("[", 10_000),
		"a subject of another type": aliceClaims(t, map[string]any{"sub": 7}),
	} {
		t.Run(name, func(t *testing.T) { refused(t, k, forge(t, jwt.SigningMethodES256, k.signer, header, text)) })
	}
}

func TestTokensThatWereTamperedWith(t *testing.T) {
	k := newTestKeys(t)
	good := signed(t, k, aliceAtNoon())
	parts := strings.Split(good, ".")
	bob := base64.RawURLEncoding.EncodeToString([]byte(aliceClaims(t, map[string]any{"sub": "bob"})))
	for name, token := range map[string]string{
		"empty":                "",
		"dots":                 "..",
		"two parts":            parts[0] + "." + parts[1],
		"four parts":           good + "." + parts[2],
		"cut":                  good[:len(good)-1],
		"cut by a half":        good[:len(good)/2],
		"without a signature":  parts[0] + "." + parts[1] + ".",
		"a signature too long": good + "AAAA",
		"a signature of zeros": parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
		"of somebody else":     parts[0] + "." + bob + "." + parts[2],
		"with its scheme":      "Bearer " + good,
		"blanks around":        " " + good + " ",
		"padded":               good + "==",
		"loose last bits":      good[:len(good)-1] + loose(good[len(good)-1]),
		"huge":                 good + strings.Repeat("A", maxToken),
		"many dots":            strings.Repeat(".", 1<<20),
		"not ASCII":            "é.é.é",
	} {
		t.Run(name, func(t *testing.T) { refused(t, k, token) })
	}
}

// loose changes the bits of a signature's last letter that stand for nothing.
func loose(last byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[strings.IndexByte(letters, last)|1])
}
