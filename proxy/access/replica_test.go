package access

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// another is a second server on the same files and store.
func (i *installation) another(store storage.Store) *installation {
	i.t.Helper()
	g, err := Open(i.t.Context(), Options{Htpasswd: i.users, Upstreams: []string{"docker.io"}, Store: store, Now: func() time.Time { return i.now }})
	if err != nil {
		i.t.Fatal(err)
	}
	return &installation{Guard: g, t: i.t, now: i.now}
}

func (i *installation) replicaToken(registry, name string) string {
	i.t.Helper()
	token, err := i.ReplicaToken(registry, name)
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

func TestAReplicaCopiesTheRepositoryOfItsToken(t *testing.T) {
	store := mem.New(time.Now)
	i := install(t, store)
	c, err := i.another(store).Bearer(i.replicaToken("gcr.io", "corp/app"))
	if err != nil {
		t.Fatal(err)
	}
	for repo, want := range map[Repository]bool{
		corp:  true,
		nginx: false, teamA: false, {}: false,
		{Name: "gcr.io/corp/app"}: false, {Upstream: "gcr.io", Name: "corp"}: false, {Upstream: "gcr.io", Name: "corp/app/x"}: false,
		{Upstream: "docker.io", Name: "corp/app"}: false, {Upstream: "docker.io", Name: "gcr.io/corp/app"}: false, {Upstream: "gcr.io/corp", Name: "app"}: false,
	} {
		if got := c.Copies(repo); got != want {
			t.Errorf("copies %+v: %v", repo, got)
		}
	}
	if c.Subject.String() != "@replica" {
		t.Errorf("who asks is called %s in logs", c.Subject)
	}
}

func TestAReplicaMayNothingByThePolicy(t *testing.T) {
	i := install(t, mem.New(time.Now))
	for _, repo := range []Repository{corp, nginx, teamA} {
		c, err := i.Bearer(i.replicaToken(repo.Upstream, repo.Name))
		if err != nil {
			t.Fatal(err)
		}
		for a := range actions {
			if _, err := c.May(a, repo, repo.String()); err == nil || c.Decide(a, repo) != (Decision{}) {
				t.Errorf("%s %s", a, repo)
			}
		}
		var narrow *Refusal
		if err := c.MayList(); !errors.As(err, &narrow) || narrow.Reason != NarrowToken {
			t.Errorf("lists: %v", err)
		}
		if c.Any(true) || c.Any(false) {
			t.Error("there is something to search in")
		}
	}
}

func TestOnlyReplicasCopy(t *testing.T) {
	i := install(t, mem.New(time.Now))
	scope := "repository:gcr.io/corp/app:pull"
	for fact, c := range map[string]*Caller{
		"nobody":          i.Anybody(),
		"alice":           must(i.Bearer(i.token("alice", "ecila", scope).Text)),
		"nobody, by name": must(i.Bearer(i.token("", "", scope).Text)),
	} {
		for _, repo := range []Repository{corp, {}} {
			if c.Copies(repo) {
				t.Errorf("%s copies %+v", fact, repo)
			}
		}
	}
}

func TestHowLongAReplicasTokenIsGood(t *testing.T) {
	i := install(t, mem.New(time.Now))
	i.now = noon
	token := i.replicaToken("gcr.io", "corp/app")
	for _, at := range []struct {
		after time.Duration
		good  bool
	}{{-clockSkew, true}, {0, true}, {time.Minute - 1, true}, {time.Minute, false}, {TokenLife, false}} {
		i.now = noon.Add(at.after)
		if _, err := i.Bearer(token); (err == nil) != at.good {
			t.Errorf("after %v: %v", at.after, err)
		}
	}
	if n := i.state.Load().tokens.Len(); n > 0 {
		t.Errorf("%d tokens that come once push out those of clients", n)
	}
}

func TestReplicasTokensOfOthers(t *testing.T) {
	i := install(t, mem.New(time.Now))
	if _, err := i.Bearer(i.another(mem.New(time.Now)).replicaToken("gcr.io", "corp/app")); err == nil {
		t.Error("of other keys")
	}
	good := Grant{"repository", "gcr.io/corp/app", []string{"pull"}}
	k := i.state.Load().keys
	for fact, c := range map[string]claims{
		"of alice":           {Subject: "alice", Grants: []Grant{good}},
		"of nothing":         {},
		"of two":             {Grants: []Grant{good, {"repository", "gcr.io/corp/b", []string{"pull"}}}},
		"to push":            {Grants: []Grant{{"repository", "gcr.io/corp/app", []string{"push"}}}},
		"to pull and push":   {Grants: []Grant{{"repository", "gcr.io/corp/app", []string{"pull", "push"}}}},
		"for everything":     {Grants: []Grant{{"repository", "gcr.io/corp/app", []string{"*"}}}},
		"for nothing at all": {Grants: []Grant{{"repository", "gcr.io/corp/app", nil}}},
		"to list":            {Grants: []Grant{{"registry", "catalog", []string{"*"}}}},
		"to pull a registry": {Grants: []Grant{{"registry", "gcr.io/corp/app", []string{"pull"}}}},
	} {
		c.Replica, c.Issued, c.Expires = true, i.now, i.now.Add(time.Minute)
		var bad *Refusal
		if caller, err := i.Bearer(signed(t, k, c)); !errors.As(err, &bad) || bad.Reason != BadToken {
			t.Errorf("%s: %+v, %v", fact, caller, err)
		}
	}
	hosted, err := i.Bearer(signed(t, k, claims{Replica: true, Grants: []Grant{{"repository", "single", []string{"pull"}}}, Issued: i.now, Expires: i.now.Add(time.Minute)}))
	if err != nil || hosted.Copies(Repository{Name: "single"}) || hosted.Copies(Repository{Upstream: "docker.io", Name: "single"}) {
		t.Errorf("of a name without a registry: %v", err)
	}
}

func TestWhereThereAreNoTokensForReplicas(t *testing.T) {
	if token, err := Everybody().ReplicaToken("gcr.io", "corp/app"); token != "" || err != nil {
		t.Errorf("without users: %q, %v", token, err)
	}
	users := filepath.Join(t.TempDir(), "htpasswd")
	(&installation{t: t}).write(users, line(t, "alice", "ecila"))
	broken := storagetest.Around(mem.New(time.Now), func(context.Context, storagetest.Op, string, func() error) error {
		return errors.New("the store is down")
	})
	g, err := Open(t.Context(), Options{Htpasswd: users, Store: broken})
	if err != nil {
		t.Fatal(err)
	}
	if token, err := g.ReplicaToken("gcr.io", "corp/app"); token != "" || !errors.Is(err, ErrNoKeys) {
		t.Errorf("without keys: %q, %v", token, err)
	}
}

// A server of an older version takes it for a token of nobody in particular.
func TestWhatAReplicasTokenSays(t *testing.T) {
	i := install(t, mem.New(time.Now))
	_, text := payload(t, i.replicaToken("127.0.0.1:7301", "library/x"))
	for _, has := range []string{`"rpl":true`, `"access":[{"type":"repository","name":"127.0.0.1:7301/library/x","actions":["pull"]}]`} {
		if !strings.Contains(text, has) {
			t.Errorf("no %s in %s", has, text)
		}
	}
	for _, absent := range []string{`"sub"`, `"mrk"`} {
		if strings.Contains(text, absent) {
			t.Errorf("%s in %s", absent, text)
		}
	}
}

func BenchmarkReplicaToken(b *testing.B) {
	users := filepath.Join(b.TempDir(), "htpasswd")
	if err := os.WriteFile(users, []byte("# nobody\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	g, err := Open(b.Context(), Options{Htpasswd: users, Store: mem.New(time.Now)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.ReplicaToken("docker.io", "library/nginx"); err != nil {
			b.Fatal(err)
		}
	}
}
