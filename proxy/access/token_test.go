package access

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func generate(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newTestKeys(t testing.TB) *keys {
	t.Helper()
	k, err := newKeys(generate(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signed(t testing.TB, k *keys, c claims) string {
	t.Helper()
	token, err := k.sign(c, "entrepot", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// aliceAtNoon may pull and push for five minutes.
func aliceAtNoon() claims {
	return claims{
		Subject: "alice", Mark: "mark", Issued: noon, Expires: noon.Add(TokenLife),
		Grants: []Grant{{"repository", "team/app", []string{"pull", "push"}}},
	}
}

// payload is what a token says, as JSON.
func payload(t testing.TB, token string) (header, claims string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	for _, part := range []int{0, 1} {
		text, err := base64.RawURLEncoding.DecodeString(parts[part])
		if err != nil {
			t.Fatal(err)
		}
		parts[part] = string(text)
	}
	return parts[0], parts[1]
}

func TestTokensSayWhatWasSigned(t *testing.T) {
	k := newTestKeys(t)
	for name, c := range map[string]claims{
		"a user":         aliceAtNoon(),
		"nobody":         {Issued: noon, Expires: noon.Add(time.Minute)},
		"a replica":      {Replica: true, Issued: noon, Expires: noon.Add(time.Minute), Grants: []Grant{{"repository", "gcr.io/a", []string{"pull"}}}},
		"a failed login": {Failed: true, Issued: noon, Expires: noon.Add(time.Minute), Grants: []Grant{{"repository", "a", []string{"pull"}}}},
	} {
		got, err := k.verify(signed(t, k, c), "entrepot", noon)
		got.Issued, got.Expires = got.Issued.UTC(), got.Expires.UTC()
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c)
		}
	}
}

func TestTokensAreAsSpecified(t *testing.T) {
	k := newTestKeys(t)
	header, text := payload(t, signed(t, k, aliceAtNoon()))
	if want := `{"alg":"ES256","kid":"` + k.id + `","typ":"JWT"}`; header != want {
		t.Errorf("header %s, want %s", header, want)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	id, _ := got["jti"].(string)
	delete(got, "jti")
	want := map[string]any{
		"iss": "entrepot", "sub": "alice", "aud": []any{"entrepot"}, "mrk": "mark",
		"iat": float64(noon.Unix()), "nbf": float64(noon.Unix() - 30), "exp": float64(noon.Unix() + 300),
		"access": []any{map[string]any{"type": "repository", "name": "team/app", "actions": []any{"pull", "push"}}},
	}
	if !reflect.DeepEqual(got, want) || len(id) != 32 {
		t.Errorf("%v, want %v and an id", got, want)
	}
	_, text = payload(t, signed(t, k, claims{Issued: noon, Expires: noon.Add(TokenLife)}))
	for _, absent := range []string{`"sub"`, `"access"`, `"mrk"`, `"fld"`, `"rpl"`, id} {
		if strings.Contains(text, absent) {
			t.Errorf("the token of nobody has %s: %s", absent, text)
		}
	}
}

func TestATokenWithoutAnID(t *testing.T) {
	broken := errors.New("no entropy")
	if token, err := newTestKeys(t).sign(aliceAtNoon(), "entrepot", iotest.ErrReader(broken)); !errors.Is(err, broken) || token != "" {
		t.Errorf("%q, %v", token, err)
	}
}

func TestWhenATokenIsGood(t *testing.T) {
	k := newTestKeys(t)
	c := aliceAtNoon()
	c.Expires = c.Expires.Add(900 * time.Millisecond) // cut: whoever expires does so in time
	token := signed(t, k, c)
	for _, at := range []struct {
		name string
		time.Time
		want bool
	}{
		{"at once", noon, true},
		{"by a clock that is 30 s behind", noon.Add(-clockSkew), true},
		{"by one that is further behind", noon.Add(-clockSkew - 1), false},
		{"until it expires", noon.Add(TokenLife - 1), true},
		{"when it expires", noon.Add(TokenLife), false},
		{"later", noon.Add(time.Hour), false},
	} {
		if _, err := k.verify(token, "entrepot", at.Time); (err == nil) != at.want {
			t.Errorf("%s: %v, want %v", at.name, err, at.want)
		}
	}
}

func TestTokensOfOtherKeysAndServices(t *testing.T) {
	old, next := generate(t, elliptic.P256()), generate(t, elliptic.P256())
	before, both, after := must(newKeys(old)), must(newKeys(next, old)), must(newKeys(next))
	token := signed(t, before, aliceAtNoon())
	for _, c := range []struct {
		name    string
		keys    *keys
		service string
		want    bool
	}{
		{"the same", before, "entrepot", true},
		{"with the key that comes next", both, "entrepot", true},
		{"without the key", after, "entrepot", false},
		{"of another service", before, "other", false},
		{"of no service", before, "", false},
	} {
		if _, err := c.keys.verify(token, c.service, noon); (err == nil) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := after.verify(signed(t, both, aliceAtNoon()), "entrepot", noon); err != nil {
		t.Errorf("the first key does not sign: %v", err)
	}
}

// FuzzVerify has one key in all of its processes: what one has signed, another is given.
func FuzzVerify(f *testing.F) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	k := must(newKeys(key))
	good := signed(f, k, aliceAtNoon())
	for _, s := range []string{"", ".", "..", good, good[:len(good)-1], "Bearer " + good, good[:strings.LastIndex(good, ".")+1]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := k.verify(token, "entrepot", noon)
		got.Issued, got.Expires = got.Issued.UTC(), got.Expires.UTC()
		if err == nil && !reflect.DeepEqual(got, aliceAtNoon()) {
			t.Errorf("%q is accepted: %+v", token, got)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	k := newTestKeys(b)
	b.ReportAllocs()
	for b.Loop() {
		signed(b, k, aliceAtNoon())
	}
}

func BenchmarkVerify(b *testing.B) {
	k := newTestKeys(b)
	token := signed(b, k, aliceAtNoon())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.verify(token, "entrepot", noon); err != nil {
			b.Fatal(err)
		}
	}
}
