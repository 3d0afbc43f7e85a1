package upstream

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/entrepot/entrepot/cache"
	"oras.land/oras-go/v2/registry/remote/auth"
)

func TestDockerCredentials(t *testing.T) {
	dir := t.TempDir()
	helper := "#!/bin/sh\nread host\n[ \"$host\" = helped.example ] && echo '{\"ServerURL\":\"helped.example\",\"Username\":\"helped\",\"Secret\":\"h\"}' || { echo broken; exit 1; }\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-mine"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	basic := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	file := filepath.Join(dir, "config.json")
	content := fmt.Sprintf(`{"auths":{"https://index.docker.io/v1/":{"auth":%q},"gcr.io":{"auth":%q},"https://old.example/":{"auth":%q},"azure.example":{"auth":%q,"identitytoken":"r3fresh"}},
		"credHelpers":{"helped.example":"mine","failing.example":"mine"}}`, basic("hub:p"), basic("_json_key:{\"type\":\"x\"}"), basic("old:p"), basic("<token>:"))
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]auth.Credential{
		"docker.io": {Username: "hub", Password: "p"}, "gcr.io": {Username: "_json_key", Password: `{"type":"x"}`},
		"old.example": {Username: "old", Password: "p"}, "helped.example": {Username: "helped", Password: "h"},
		"azure.example": {Username: "<token>", RefreshToken: "r3fresh"}, "unknown.example": {},
	} {
		got, err := DockerCredentials(file)(context.Background(), host)
		if err != nil || got != want {
			t.Errorf("%s: got %+v %v, want %+v", host, got, err, want)
		}
	}
	if _, err := DockerCredentials(file)(context.Background(), "failing.example"); err == nil {
		t.Error("a helper that fails went unnoticed")
	}
	if c, err := DockerCredentials(filepath.Join(dir, "absent.json"))(context.Background(), "docker.io"); err != nil || c != auth.EmptyCredential {
		t.Errorf("no file: %+v %v", c, err)
	}
}

func TestHasCredentials(t *testing.T) {
	found := func(c auth.Credential, err error) func(*Options) {
		return func(o *Options) {
			o.Credential = func(context.Context, string) (auth.Credential, error) { return c, err }
		}
	}
	for name, c := range map[string]struct {
		change func(*Options)
		want   bool
	}{
		"none": {func(*Options) {}, false}, "password": {password, true}, "ecr": {func(o *Options) { o.Auth = "ecr" }, true},
		"found":               {found(auth.Credential{Username: "a", Password: "b"}, nil), true},
		"not found":           {found(auth.EmptyCredential, nil), false},
		"cannot be found out": {found(auth.EmptyCredential, errors.New("helper failed")), true},
	} {
		if got := newRegistry(t, newFake(t), c.change).HasCredentials(); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestCredentialIsLookedUpOnceAMinute(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/", serveManifest)
	now, lookups := time.Unix(0, 0), 0
	r := newRegistry(t, f, func(o *Options) {
		o.Now = func() time.Time { return now }
		o.Credential = func(_ context.Context, host string) (auth.Credential, error) {
			if host != "test.example" {
				t.Errorf("looked up for %s", host)
			}
			lookups++
			return auth.EmptyCredential, nil
		}
	})
	for range 3 {
		if _, err := r.Repository("a/b").FetchManifest(context.Background(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(credentialLife)
	if r.HasCredentials(); lookups != 2 {
		t.Errorf("%d lookups, want 2", lookups)
	}
}

// A helper that fails must not fail public images, and where they are not public that is an outage of the credential.
func TestCredentialThatCannotBeHad(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/v2/public/manifests/v1", serveManifest)
	f.mux.HandleFunc("/v2/private/manifests/v1", status(401))
	r := newRegistry(t, f, func(o *Options) {
		o.Credential = func(context.Context, string) (auth.Credential, error) {
			return auth.EmptyCredential, errors.New("helper failed")
		}
	})
	if _, err := r.Repository("public").FetchManifest(context.Background(), "v1"); err != nil {
		t.Error(err)
	}
	if _, err := r.Repository("private").FetchManifest(context.Background(), "v1"); causeOf(err) != cache.CauseCredential {
		t.Error(err)
	}
}

// fakeECR is an ECR that gives numbered tokens for 12 hours, or fails.
type fakeECR struct {
	now   func() time.Time
	calls int
	fail  error
}

func (f *fakeECR) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	f.calls++
	if f.fail != nil {
		return nil, f.fail
	}
	token := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("AWS:t%d", f.calls)))
	return &ecr.GetAuthorizationTokenOutput{AuthorizationData: []types.AuthorizationData{
		{AuthorizationToken: aws.String(token), ExpiresAt: aws.Time(f.now().Add(12 * time.Hour))},
	}}, nil
}

func TestECRTokensAreReplacedAtHalfTheirLife(t *testing.T) {
	now := time.Unix(0, 0)
	api := &fakeECR{now: func() time.Time { return now }}
	get := ecrTokens(api.now, func(context.Context) (ecrAPI, error) { return api, nil })
	for _, step := range []struct {
		after time.Duration
		fail  error
		want  string
	}{
		{0, nil, "t1"}, {6*time.Hour - time.Second, nil, "t1"}, {time.Second, nil, "t2"},
		{7 * time.Hour, errors.New("AWS is down"), "t2"}, // the old one still has five hours
		{5 * time.Hour, errors.New("AWS is down"), ""},
		{0, nil, ""}, // not asked again at once
		{failureLife, nil, "t5"},
	} {
		now = now.Add(step.after)
		api.fail = step.fail
		c, err := get(context.Background())
		if c.Password != step.want || (err == nil) != (step.want != "") || err == nil && c.Username != "AWS" {
			t.Errorf("after %v more: got %+v %v, want %s", step.after, c, err, step.want)
		}
	}
}

func TestECRRegion(t *testing.T) {
	for host, want := range map[string]string{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": "eu-west-1", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": "cn-north-1",
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com": "us-east-1", "public.ecr.aws": "", "docker.io": "",
	} {
		if got, err := ecrRegion(host); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q %v", host, got, err)
		}
	}
}

// Google's default credentials, from the kind of file that gcloud writes.
func TestGoogle(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"ya29","token_type":"Bearer","expires_in":3600}`)
	})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	get := newGoogle(time.Now)
	if _, err := get(context.Background()); err == nil {
		t.Fatal("a credential without a file")
	}
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "a@b.example", "token_uri": f.URL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	get = newGoogle(time.Now)
	for range 2 {
		c, err := get(context.Background())
		if err != nil || c.Username != "oauth2accesstoken" || c.Password != "ya29" {
			t.Fatalf("%+v %v", c, err)
		}
	}
	if n := f.count("/"); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}
