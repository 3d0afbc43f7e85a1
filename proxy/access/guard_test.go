package access

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

const guardPolicy = `
groups:
  staff: [alice]
hosted:
  - repositories: [team/**]
    pull: ["@staff", robot+ci]
    push: ["@staff", robot+ci]
  - repositories: ["**"]
    pull: [users]
upstream:
  - repositories: [gcr.io/corp/**]
    pull: ["@staff"]
  - repositories: ["**"]
    pull: [everyone, users]
`

var (
	here   = netip.MustParseAddr("192.0.2.7")
	teamA  = Repository{Name: "team/a"}
	nginx  = Repository{Upstream: "docker.io", Name: "library/nginx"}
	corp   = Repository{Upstream: "gcr.io", Name: "corp/app"}
	pulls  = []string{"repository:library/nginx:pull"}
	pushes = []string{"repository:team/a:pull,push"}
)

// installation is a guard with what it reads.
type installation struct {
	*Guard
	t      *testing.T
	users  string // file
	policy string // file
	now    time.Time
}

// install makes a guard with alice and bob, whose passwords are ecila and bob.
func install(t *testing.T, store storage.Store) *installation {
	t.Helper()
	i := &installation{t: t, users: filepath.Join(t.TempDir(), "htpasswd"), policy: filepath.Join(t.TempDir(), "policy.yaml"), now: time.Now()}
	i.write(i.users, line(t, "alice", "ecila"), line(t, "bob", "bob"))
	i.write(i.policy, guardPolicy)
	g, err := Open(t.Context(), Options{
		Htpasswd: i.users, Policy: i.policy, Upstreams: []string{"docker.io", "gcr.io"}, Store: store,
		Now: func() time.Time { return i.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	i.Guard = g
	return i
}

func line(t *testing.T, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash) + "\n"
}

func (i *installation) write(path string, parts ...string) {
	i.t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(parts, "")), 0o600); err != nil {
		i.t.Fatal(err)
	}
}

// refresh looks twice, after which files count.
func (i *installation) refresh() {
	i.t.Helper()
	for range 2 {
		if err := i.Refresh(i.t.Context()); err != nil {
			i.t.Fatal(err)
		}
	}
}

// Caller sends an Authorization header.
func (i *installation) Caller(header string, from netip.Addr) (*Caller, error) {
	scheme, credential, _ := strings.Cut(header, " ")
	if scheme == "Bearer" {
		return i.Bearer(credential)
	}
	user, password, _ := ParseBasic(credential)
	return i.Basic(user, password, from)
}

// token logs in.
func (i *installation) token(user, password string, scopes ...string) Token {
	i.t.Helper()
	token, err := i.Login(LoginRequest{User: user, Password: password, Scopes: scopes, From: here})
	if err != nil {
		i.t.Fatalf("%s: %v", user, err)
	}
	return token
}

// asks sends a token, and wants a refusal of that kind, or none.
func (i *installation) asks(token Token, a Action, repo Repository, want *Reason) {
	i.t.Helper()
	caller, err := i.Caller("Bearer "+token.Text, here)
	if err == nil {
		_, err = caller.May(a, repo, repo.String())
	}
	i.wants(err, want)
}

func (i *installation) wants(err error, want *Reason) {
	i.t.Helper()
	var refusal *Refusal
	switch {
	case err == nil && want == nil:
	case want == nil:
		i.t.Errorf("refused: %v", err)
	case !errors.As(err, &refusal):
		i.t.Errorf("%v, want %s", err, want)
	case refusal.Reason != *want:
		i.t.Errorf("%s, want %s", refusal.Reason, want)
	}
}

func because(r Reason) *Reason { return &r }

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestTokens(t *testing.T) {
	i := install(t, mem.New(time.Now))
	alice, nobody := i.token("alice", "ecila", pushes...), i.token("", "", pushes...)
	i.asks(alice, Push, teamA, nil)
	i.asks(alice, Pull, teamA, nil)
	i.asks(alice, Delete, teamA, because(Denied))
	i.asks(alice, Pull, nginx, because(NarrowToken))
	i.asks(nobody, Pull, nginx, nil)
	i.asks(nobody, Pull, corp, because(NotLoggedIn))
	i.asks(nobody, Push, teamA, because(NotLoggedIn))
	i.asks(i.token("bob", "bob", pushes...), Pull, teamA, because(Denied))
	i.asks(Token{Text: "x"}, Pull, nginx, because(BadToken))

	i.now = i.now.Add(TokenLife + time.Second)
	i.asks(alice, Push, teamA, because(BadToken))
	i.asks(nobody, Pull, nginx, because(BadToken))
}

func TestWhoIsRevokedIsRefusedAtOnce(t *testing.T) {
	for fact, revoke := range map[string]func(i *installation){
		"the user is gone":         func(i *installation) { i.write(i.users, line(t, "bob", "bob")) },
		"the password is another":  func(i *installation) { i.write(i.users, line(t, "alice", "other")) },
		"the group has them not":   func(i *installation) { i.write(i.policy, strings.Replace(guardPolicy, "[alice]", "[bob]", 1)) },
		"the policy is broken too": func(i *installation) { i.write(i.users, ""); i.write(i.policy, "hosted: 7") },
	} {
		t.Run(fact, func(t *testing.T) {
			i := install(t, mem.New(time.Now))
			token := i.token("alice", "ecila", pushes...)
			i.asks(token, Push, teamA, nil)
			revoke(i)
			_, _ = i.Refresh(t.Context()), i.Refresh(t.Context())
			caller, err := i.Caller("Bearer "+token.Text, here)
			if err == nil {
				_, err = caller.May(Push, teamA, "team/a")
			}
			if err == nil {
				t.Error("the token still pushes")
			}
			caller, err = i.Caller(basic("alice", "ecila"), here)
			if err == nil {
				_, err = caller.May(Push, teamA, "team/a")
			}
			if err == nil {
				t.Error("the password still pushes")
			}
		})
	}
}

func TestRobotsLogIn(t *testing.T) {
	store := mem.New(time.Now)
	i := install(t, store)
	_, secret, err := i.Robots().Add(t.Context(), "ci", "", i.now.Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.Caller(basic("robot+ci", secret), here)
	i.wants(err, because(WrongLogin))
	i.refresh()
	token := i.token("robot+ci", secret, pushes...)
	i.asks(token, Push, teamA, nil)
	if got := token.Expires.Sub(i.now); got != 2*time.Minute {
		t.Errorf("the token lives %s, its robot 2m", got)
	}
	i.now = i.now.Add(2 * time.Minute)
	i.asks(token, Push, teamA, because(BadToken))
	_, err = i.Caller(basic("robot+ci", secret), here)
	i.wants(err, because(WrongLogin))

	again, err := Open(t.Context(), Options{Htpasswd: i.users, Store: store, Now: func() time.Time { return i.now }})
	if err != nil {
		t.Fatal(err)
	}
	if _, secret, err = i.Robots().Add(t.Context(), "other", "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := again.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Basic("robot+other", secret, here); err != nil {
		t.Errorf("on another replica: %v", err)
	}
	if err := i.Robots().Revoke(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if err := again.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = again.Basic("robot+other", secret, here)
	i.wants(err, because(WrongLogin))
}

func TestTokensCountOnEveryReplica(t *testing.T) {
	store := mem.New(time.Now)
	first, second := install(t, store), install(t, store)
	second.write(second.users, string(must(os.ReadFile(first.users))))
	second.refresh()
	second.asks(first.token("alice", "ecila", pushes...), Push, teamA, nil)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRepeatedGuessesAreOne(t *testing.T) {
	i := install(t, mem.New(time.Now))
	for range 200 {
		_, err := i.Caller(basic("alice", "wrong"), here)
		i.wants(err, because(WrongLogin))
	}
	if _, err := i.Caller(basic("alice", "ecila"), here); err != nil {
		t.Errorf("who knows the password is kept out: %v", err)
	}
}

func TestManyGuessesAreTooMany(t *testing.T) {
	i := install(t, mem.New(time.Now))
	guess := func(n int) error {
		_, err := i.Caller(basic("alice", strings.Repeat("x", n)), here)
		return err
	}
	var refusal *Refusal
	for n := 1; ; n++ {
		if n > 50 {
			t.Fatal("50 guesses were looked at")
		}
		if errors.As(guess(n), &refusal) && refusal.Reason == TooManyAttempts {
			break
		}
	}
	if refusal.After <= 0 || refusal.After > time.Minute {
		t.Errorf("the next one is allowed after %s", refusal.After)
	}
	_, err := i.Login(LoginRequest{User: "alice", Password: "ecila", From: here})
	i.wants(err, because(TooManyAttempts))
	i.now = i.now.Add(refusal.After)
	if _, err := i.Login(LoginRequest{User: "alice", Password: "ecila", From: here}); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestStrangersKeepNobodyOut(t *testing.T) {
	i := install(t, mem.New(time.Now))
	_, secret, err := i.Robots().Add(t.Context(), "ci", "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	i.refresh()
	if _, err := i.Caller(basic("alice", "ecila"), here); err != nil {
		t.Fatal(err)
	}
	i.write(i.users, string(must(os.ReadFile(i.users))), "# another file\n") // what was remembered is forgotten
	i.refresh()
	for n := range 200 {
		for _, user := range []string{"alice", "robot+ci"} {
			stranger := netip.AddrFrom4([4]byte{198, 51, byte(n), 1})
			_, _ = i.Caller(basic(user, strings.Repeat("x", n+1)), stranger)
		}
	}
	for user, password := range map[string]string{"alice": "ecila", "robot+ci": secret} {
		if _, err := i.Caller(basic(user, password), here); err != nil {
			t.Errorf("%s, from where that has logged in before: %v", user, err)
		}
	}
	_, err = i.Caller(basic("alice", "another guess"), netip.MustParseAddr("203.0.113.1"))
	i.wants(err, because(TooManyAttempts))
}

func TestTokensOfManyScopesAreNotRemembered(t *testing.T) {
	i := install(t, mem.New(time.Now))
	var scopes []string
	for n := range 30 {
		scopes = append(scopes, "repository:"+strings.Repeat("x", 200+n)+":pull")
	}
	i.asks(i.token("alice", "ecila", scopes...), Pull, nginx, because(NarrowToken))
	i.asks(i.token("alice", "ecila", pushes...), Push, teamA, nil)
	if n := i.state.Load().tokens.Len(); n != 1 {
		t.Errorf("%d tokens are remembered", n)
	}
}

func TestAFileThatIsBeingWrittenIsLeftForTheNextTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := file{path: path}
	for look, c := range []struct{ there, want string }{ // an empty want: as before
		{"first", "first"}, {"first", ""}, {"half", ""}, {"half and half", ""}, {"half and half", "half and half"},
		{"", ""}, {"second", ""}, {"half and half", ""}, {"second", ""}, {"second", "second"}, {"", ""}, {"", "<empty>"},
	} {
		put(c.there)
		text, changed, err := f.read()
		if err != nil || changed != (c.want != "") || changed && string(text) != strings.ReplaceAll(c.want, "<empty>", "") {
			t.Errorf("look %d at %q: got %q, changed: %v, %v", look, c.there, text, changed, err)
		}
	}
}

func TestALoginForAnotherRegistryGoesOnPulling(t *testing.T) {
	i := install(t, mem.New(time.Now))
	token := i.token("hub-user", "hub-password", pulls...)
	if token.Failed == nil || token.Subject != Anonymous {
		t.Errorf("token of %s, failed: %v", token.Subject, token.Failed)
	}
	i.asks(token, Pull, nginx, nil)
	i.asks(token, Pull, corp, because(WrongLogin))
	for _, scopes := range [][]string{nil, pushes, {"registry:catalog:*"}, {pulls[0], pushes[0]}} {
		_, err := i.Login(LoginRequest{User: "hub-user", Password: "hub-password", Scopes: scopes, From: here})
		i.wants(err, because(WrongLogin))
	}
}

func TestWithoutUsersEverybodyPulls(t *testing.T) {
	for fact, g := range map[string]*Guard{"everybody": Everybody(), "open": must(Open(t.Context(), Options{}))} {
		caller := g.Anybody()
		if _, err := caller.May(Pull, teamA, "team/a"); err != nil || g.Closed() || caller.Proved {
			t.Errorf("%s: %v", fact, err)
		}
	}
}

func TestMistakesRefuseTheStart(t *testing.T) {
	i := install(t, mem.New(time.Now))
	i.write(i.users, "alice:plain\n", "bob:{SHA}x\n")
	i.write(i.policy, "hosted: 7\n")
	_, err := Open(t.Context(), Options{Htpasswd: i.users, Policy: i.policy, Store: mem.New(time.Now)})
	if err == nil {
		t.Fatal("it starts")
	}
	for _, want := range []string{i.users + ": line 1", i.users + ": line 2", i.policy + ": "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}

func TestAStoreThatFailsComesBack(t *testing.T) {
	broken := errors.New("the store is down")
	var down bool
	store := storagetest.Around(mem.New(time.Now), func(_ context.Context, _ storagetest.Op, _ string, do func() error) error {
		if down {
			return broken
		}
		return do()
	})
	down = true
	i := install(t, store)
	if _, err := i.Login(LoginRequest{Scopes: pulls}); !errors.Is(err, ErrNoKeys) {
		t.Errorf("a token without keys: %v", err)
	}
	if _, err := i.Caller(basic("alice", "ecila"), here); err != nil {
		t.Errorf("users need no store: %v", err)
	}
	down = false
	i.refresh()
	token := i.token("alice", "ecila", pushes...)
	down = true
	if err := i.Refresh(t.Context()); !errors.Is(err, broken) {
		t.Errorf("a refresh without a store: %v", err)
	}
	i.asks(token, Push, teamA, nil)
}

func TestAKnownTokenAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	i := install(t, mem.New(time.Now))
	header := "Bearer " + i.token("alice", "ecila", "repository:library/nginx:pull").Text
	n := testing.AllocsPerRun(1000, func() {
		caller, err := i.Caller(header, here)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := caller.May(Pull, nginx, "library/nginx"); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
