package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/server"
)

// What the clients pull and push; the version is one that Helm takes as well.
const (
	publicApp = "library/app:1.0.0"
	hostedApp = "team/app:1.0.0"
	vaultApp  = "vault/app:1.0.0"
	openApp   = "gcr.io/open/app:1.0.0"
	corpApp   = "gcr.io/corp/app:1.0.0"
)

const accessPolicy = `
groups:
  staff: [alice, robot+ci]
hosted:
  - repositories: [vault/**]
    admin: [alice]
  - repositories: [team/**]
    pull: [users, robots]
    push: ["@staff"]
upstream:
  - repositories: ["**"]
    pull: [everyone, users]
`

// revocation is how long somebody who was removed may go on.
const revocation = 15 * time.Second

// account is a user name and its password. The zero one is nobody.
type account struct{ name, password string }

// guarded is a server with users as clients see it, through a recorder. One listener mirrors for everybody and hosts for who
// logs in. Of its upstreams, gcr.io is read with a credential, which corp takes.
type guarded struct {
	hosting
	hub, gcr                   upstream
	key                        *ecdsa.PrivateKey // signs the server's tokens
	users                      string            // file of them
	nobody, alice, bob, leaver account           // alice may do everything, the others pull of team
}

// newGuarded runs the server. Both upstreams have the image.
func newGuarded(t *testing.T, img fakehub.Image) guarded {
	t.Helper()
	dir := t.TempDir()
	g := guarded{
		hub: upstream{Hub: fakehub.New(t, fakehub.Options{}), host: "docker.io"}, gcr: upstream{Hub: fakehub.New(t, fakehub.Options{}), host: "gcr.io"},
		users: filepath.Join(dir, "users"), alice: account{"alice", "100% horse & café:+"}, bob: account{"bob", "builder"}, leaver: account{"leaver", "so long"},
	}
	g.hub.Repo("library/app").AddImage(img, "1.0.0")
	for _, repo := range []string{"open/app", "corp/app"} {
		g.gcr.Repo(repo).AddImage(img, "1.0.0")
	}
	g.gcr.AddUser("service", "of the company")
	g.gcr.Repo("corp/app").Private("service")
	for _, a := range []account{g.alice, g.bob, g.leaver} {
		htpasswd(t, a.password, "--file", g.users, a.name)
	}
	keyFile := filepath.Join(dir, "key.pem")
	g.key = newTokenKey(t, keyFile)
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(accessPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := server.Start(t, server.Options{
		Upstreams: []server.Upstream{
			{Host: "docker.io", URL: g.hub.URL()},
			{Host: "gcr.io", URL: g.gcr.URL(), Username: "service", Password: "of the company", TokenHosts: g.gcr.HostAddr(fakehub.Token)},
		},
		Env: map[string]string{"HTPASSWD": g.users, "POLICY": policy, "TOKEN_KEY": keyFile, "HOSTED": "team,vault", "ACCESS_LOG": "on", "TAG_TTL": "1ms", "LOG_LEVEL": "DEBUG"},
	})
	t.Cleanup(func() { g.wantNoSecrets(t) })
	g.hosting = hosting{newRecorder(t, s.Addr), s, g.alice}
	return g
}

// wantNoSecrets reads the server's log.
func (g guarded) wantNoSecrets(t *testing.T) {
	t.Helper()
	secrets := []string{"Bearer ", "Basic ", "ept_", "eyJ", g.alice.password, url.QueryEscape(g.alice.password), g.leaver.password, "of the company"}
	for _, secret := range secrets {
		if strings.Contains(g.server.Log(), secret) {
			t.Errorf("the server's log has %q", secret)
		}
	}
}

// htpasswd changes the file of users as people do.
func htpasswd(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.Command(server.Binary(t), append([]string{"htpasswd"}, args...)...)
	cmd.Env, cmd.Stdin = []string{"PATH=" + os.Getenv("PATH")}, strings.NewReader(input+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("entrepot htpasswd %v: %v\n%s", args, err, out)
	}
}

func newTokenKey(t *testing.T, file string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return key
}

// as is the sandbox with one account's logins and no others.
func as(b *sandbox.Sandbox, who account) *sandbox.Sandbox {
	own, config := *b, filepath.Join(b.Dir, who.config())
	if _, err := os.Stat(config); err != nil {
		own.File(who.config(), "{}")
	}
	dir := filepath.Dir(config)
	own.Env = append(slices.Clone(b.Env), "DOCKER_CONFIG="+dir, "REGISTRY_AUTH_FILE="+config, "HELM_REGISTRY_CONFIG="+config, "REGCTL_CONFIG="+dir+"/regctl.json")
	return &own
}

// config is where the account's logins are kept.
func (a account) config() string {
	return "accounts/" + url.QueryEscape(a.name+":"+a.password) + "/config.json"
}

// loggedIn is as after a login at a registry, which nobody has asked.
func loggedIn(b *sandbox.Sandbox, who account, registry string) *sandbox.Sandbox {
	auth := base64.StdEncoding.EncodeToString([]byte(who.name + ":" + who.password))
	b.File(who.config(), fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, registry, auth))
	return as(b, who)
}

// wantKept checks that what was pushed is there, to its last byte.
func (g guarded) wantKept(t *testing.T, ref string) {
	t.Helper()
	repo, tag, _ := strings.Cut(ref, ":")
	for _, blob := range g.manifest(t, repo, tag).blobs() {
		resp := g.ask(t, "/v2/"+repo+"/blobs/"+blob.Digest.String(), http.StatusOK)
		got, err := digest.FromReader(resp.Body)
		resp.Body.Close()
		if err != nil || got != blob.Digest {
			t.Errorf("%s has blob %s, want %s (%v)", ref, got, blob.Digest, err)
		}
	}
}

// wantCredentials checks whether, since the last reset, a client has said who it is.
func (g guarded) wantCredentials(t *testing.T, want bool) {
	t.Helper()
	sent := false
	for _, e := range g.exchanges(t) {
		sent = sent || strings.HasPrefix(e.header.Get("Authorization"), "Basic ") || e.method == "POST" && e.path == "/token"
	}
	if sent != want {
		t.Errorf("the client sent a user name and a password: %t, want %t", sent, want)
	}
}
