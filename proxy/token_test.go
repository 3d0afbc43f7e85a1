package proxy

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage/mem"
)

// openGuard makes a guard of a server with one user, alice:secret. An empty policy is the default one.
func openGuard(t *testing.T, users, policy string) *access.Guard {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	o := access.Options{
		Htpasswd:  filepath.Join(t.TempDir(), "htpasswd"),
		Upstreams: options(filled()).Names.Upstreams, Store: mem.New(time.Now),
	}
	if err := os.WriteFile(o.Htpasswd, []byte("alice:"+string(hash)+"\n"+users), 0o600); err != nil {
		t.Fatal(err)
	}
	if policy != "" {
		o.Policy = filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(o.Policy, []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	guard, err := access.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// tokenOf reads the answer of the token endpoint.
func tokenOf(t *testing.T, body string) tokenAnswer {
	t.Helper()
	var answer tokenAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return answer
}

func TestTokensByGet(t *testing.T) {
	s := startPush(t, func(o *Options) { o.Access = openGuard(t, "", "") })
	res, body := s.do(t, "GET", "/token?service=entrepot&scope=repository:team/a:pull,push&scope=repository:team/b:pull&account=alice", "Authorization", basicAuth("alice", "secret"))
	answer := tokenOf(t, body)
	if res.StatusCode != 200 || answer.Token == "" || answer.AccessToken != answer.Token || answer.ExpiresIn != 300 || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if issued, err := time.Parse(time.RFC3339, answer.IssuedAt); err != nil || time.Since(issued) > time.Minute {
		t.Errorf("issued at %s", answer.IssuedAt)
	}
	bearer := []string{"Authorization", "Bearer " + answer.Token}
	for request, want := range map[string]int{
		"GET /v2/": 200, "POST /v2/team/a/blobs/uploads/": 202, "GET /v2/team/a/tags/list": 404, "GET /v2/team/b/tags/list": 404,
		"POST /v2/team/b/blobs/uploads/": 401, "DELETE /v2/team/a/manifests/x": 401, "GET /v2/team/c/tags/list": 401,
	} {
		method, path, _ := strings.Cut(request, " ")
		if res, body := s.do(t, method, path, bearer...); res.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", request, res.StatusCode, body, want)
		} else if challenge := res.Header.Get("Www-Authenticate"); want == 401 && !strings.Contains(challenge, `error="insufficient_scope"`) {
			t.Errorf("%s: challenge %s", request, challenge)
		}
	}
}

func TestTokensByForm(t *testing.T) {
	s := startPush(t, func(o *Options) { o.Access = openGuard(t, "", "") })
	post := func(form url.Values) (*http.Response, string) {
		return s.send(t, "POST", "/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range []struct {
		fact   string
		form   url.Values
		status int
	}{
		{"a password", url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"secret"}, "scope": {"repository:team/a:pull repository:team/b:pull"}}, 200},
		{"a wrong one", url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"other"}}, 401},
		{"none", url.Values{"grant_type": {"password"}}, 401},
		{"a refresh token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, 401},
		{"another grant", url.Values{"grant_type": {"client_credentials"}}, 400},
		{"nothing", url.Values{}, 400},
		{"a scope that is none", url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"secret"}, "scope": {"repository"}}, 400},
		{"a long form", url.Values{"grant_type": {"password"}, "password": {strings.Repeat("x", formLimit)}}, 413},
	} {
		res, body := post(c.form)
		if res.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", c.fact, res.StatusCode, body, c.status)
		}
		if c.status != 200 {
			continue
		}
		if res, body := s.do(t, "GET", "/v2/team/b/tags/list", "Authorization", "Bearer "+tokenOf(t, body).Token); res.StatusCode != 404 {
			t.Errorf("%s: its token gets %d %s", c.fact, res.StatusCode, body)
		}
	}
}

func TestNoTokensWithoutUsers(t *testing.T) {
	s := startPush(t, nil)
	for _, method := range []string{"GET", "POST"} {
		if res, body := s.do(t, method, "/token?service=x"); res.StatusCode != 404 {
			t.Errorf("%s: got %d %s", method, res.StatusCode, body)
		}
	}
}

func TestUploadsAreForWhoeverBeganThem(t *testing.T) {
	hash, _ := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	s := startPush(t, func(o *Options) { o.Access = openGuard(t, "mallory:"+string(hash)+"\n", "") })
	alice, mallory := []string{"Authorization", basicAuth("alice", "secret")}, []string{"Authorization", basicAuth("mallory", "secret")}
	res, body := s.do(t, "POST", "/v2/team/a/blobs/uploads/", alice...)
	if res.StatusCode != 202 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	session := res.Header.Get("Location")
	for _, method := range []string{"GET", "HEAD", "PATCH", "PUT", "DELETE"} {
		path := session
		if method == "PUT" {
			path += "?digest=" + sha256
		}
		if res, body := s.do(t, method, path, mallory...); res.StatusCode != 404 {
			t.Errorf("%s by another: got %d %s", method, res.StatusCode, body)
		}
	}
	if res, body := s.do(t, "GET", session, alice...); res.StatusCode != 204 {
		t.Errorf("by whoever began it: got %d %s", res.StatusCode, body)
	}
}
