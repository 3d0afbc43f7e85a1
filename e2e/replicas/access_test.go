package replicas

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

const (
	user     = "alice"
	password = "horse-battery-7f1e"
)

// guarded is a policy that leaves what is closed to users.
const guarded = `
upstream:
  - repositories: ["docker.io/closed/**"]
    pull: [users]
  - repositories: ["**"]
    pull: [everyone, users]
hosted:
  - repositories: ["**"]
    admin: [users]
`

// withUsers is the environment of replicas with one user, who alone may pull what is closed. Their logs tell everything.
func withUsers(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	users, policy := filepath.Join(dir, "users"), filepath.Join(dir, "policy.yaml")
	cmd := exec.Command(server.Binary(t), "htpasswd", "--file", users, user)
	cmd.Env, cmd.Stdin = []string{"PATH=" + os.Getenv("PATH")}, strings.NewReader(password+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("htpasswd: %v\n%s", err, out)
	}
	if err := os.WriteFile(policy, []byte(guarded), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HTPASSWD": users, "POLICY": policy, "LOG_LEVEL": "DEBUG", "ACCESS_LOG": "on"}
	maps.Copy(env, leases)
	return env
}

var basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))

// bearer is what a client sends that has logged in for a repository.
func (c *client) bearer(t *testing.T, authorization, repo string) string {
	t.Helper()
	var header []string
	if authorization != "" {
		header = []string{"Authorization", authorization}
	}
	a := c.send(context.Background(), http.MethodGet, "/token?service=entrepot&scope="+url.QueryEscape("repository:"+repo+":pull,push"), nil, header...)
	var token struct{ Token string }
	if err := json.Unmarshal(a.body, &token); err != nil || token.Token == "" {
		t.Fatalf("token: %v", a)
	}
	return "Bearer " + token.Token
}

// wantNoSecrets looks for what lets somebody in.
func wantNoSecrets(t *testing.T, servers ...*server.Server) {
	t.Helper()
	for _, r := range servers {
		for _, secret := range []string{"Bearer ey", "Basic ", "eyJ", password, secretKey} {
			if log := r.Log(); strings.Contains(log, secret) {
				at := strings.Index(log, secret)
				t.Errorf("a log has %q: %s", secret, log[max(at-200, 0):min(at+200, len(log))])
			}
		}
	}
}

// It is not beside others, as where fetches are counted elsewhere.
func TestReplicasServeEachOtherWhatNeedsALogin(t *testing.T) {
	s := newSet(t, 3, withUsers(t))
	s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = 4 * steady })
	r := s.newRelease("closed/app", 600, 4_000, 300_000, 8_000_000)
	first := newClient(t, s.replicas[0].Addr)
	login := []string{"Authorization", first.bearer(t, basic, r.repo)}

	layer := r.image.Layers[2]
	var reads []*reading
	for _, replica := range s.replicas {
		reads = append(reads, read(t.Context(), t, replica, r.blobPath(layer.Digest), login...))
	}
	for _, reads := range reads {
		reads.wantBytes(t, 600_000)
	}
	if s.gateway.lease(layer.Digest) == "" {
		t.Error("nobody has the lease of what is fetched")
	}
	s.wantGuarded(t, r)
	for _, reads := range reads {
		if err := (<-reads.ended).is(layer.Digest); err != nil {
			t.Error(err)
		}
	}
	for _, replica := range s.replicas {
		newClient(t, replica.Addr).wantPull(t, r, login...)
	}
	s.wantFetches(t, r, 1)
	s.wantGuarded(t, r)
	s.gateway.wantStored(t, r)

	s.hub.Down()
	late := s.newReplica(nil)
	newClient(t, late.Addr).wantPull(t, r, login...)
	s.replicas = append(s.replicas, late)
	s.wantGuarded(t, r)
	wantNoSecrets(t, s.replicas...)
}

// wantGuarded asks all replicas as those who may not pull.
func (s *set) wantGuarded(t *testing.T, r release) {
	t.Helper()
	for _, replica := range s.replicas {
		c := newClient(t, replica.Addr)
		for who, authorization := range map[string]string{
			"nobody": "", "an anonymous token": c.bearer(t, "", r.repo), "a token for another repository": c.bearer(t, basic, "library/app"), "a wrong token": "Bearer e30.e30.e30",
		} {
			header := []string{"Entrepot-Replica", "somebody"}
			if authorization != "" {
				header = append(header, "Authorization", authorization)
			}
			for _, path := range []string{r.manifestPath(r.tag), r.manifestPath(r.index.Digest.String()), r.blobPath(r.image.Layers[0].Digest), r.blobPath(r.image.Layers[2].Digest)} {
				for _, header := range [][]string{header, header[2:]} {
					if f := c.fetch(context.Background(), path, nil, header...); f.status != http.StatusUnauthorized {
						t.Errorf("%s, %s: %s", who, path, f)
					}
				}
			}
		}
	}
}

// What only the upstream's credential opens is nobody's without it, in the bucket as well.
func TestPrivateContentInTheBucket(t *testing.T) {
	t.Parallel()
	s := newSet(t, 0, withUsers(t))
	s.hub.AddUser("service", "of-the-company-31")
	s.hub.Repo("library/private").Private("service")
	r, open := s.newRelease("library/private", 610, 4_000, 300_000), s.newRelease("library/open", 611, 4_000)
	credential := map[string]string{"UPSTREAM_0_USERNAME": "service", "UPSTREAM_0_PASSWORD": "of-the-company-31", "UPSTREAM_0_TOKEN_HOSTS": s.hub.HostAddr(fakehub.Token)}
	start := func() (*server.Server, *client) {
		replica := s.newReplica(credential)
		s.replicas = append(s.replicas, replica)
		return replica, newClient(t, replica.Addr)
	}
	_, c := start()
	login := []string{"Authorization", c.bearer(t, basic, r.repo)}
	c.wantPull(t, r, login...)
	c.wantPull(t, open, "Authorization", c.bearer(t, "", open.repo))
	s.gateway.wantStored(t, r)
	s.gateway.wantStored(t, open)
	for _, down := range []bool{false, true} {
		if down {
			s.hub.Down()
		}
		_, c := start()
		anonymous := []string{"Authorization", c.bearer(t, "", r.repo)}
		for _, path := range []string{r.manifestPath(r.tag), r.manifestPath(r.image.Manifest.Digest.String()), r.blobPath(r.image.Layers[0].Digest), r.blobPath(r.image.Layers[1].Digest)} {
			if f := c.fetch(context.Background(), path, nil, anonymous...); f.status < 400 {
				t.Errorf("upstream down: %v; anonymous callers get what is private: %s: %s", down, path, f)
			}
		}
		c.wantPull(t, r, login...)
	}
	for _, replica := range s.replicas {
		if strings.Contains(replica.Log(), "of-the-company") {
			t.Error("a log has the upstream's password")
		}
	}
	wantNoSecrets(t, s.replicas...)
}
