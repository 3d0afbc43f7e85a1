package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// newSearched is a server with a repository for each of everybody, those who log in, and one user.
func newSearched(t *testing.T) guarded {
	t.Helper()
	img := newPushImage(t, 99)
	g := newGuarded(t, img.Image)
	b := sandbox.New(t, tools.Crane())
	own, layout := loggedIn(b, g.alice, g.addr), writeLayout(t, b, img.Manifest, img)
	own.Run("crane", "push", layout, g.ref(hostedApp))
	own.Run("crane", "push", layout, g.ref(vaultApp))
	own.Run("crane", "digest", g.ref(publicApp))
	return g
}

// asker is somebody who looks for repositories, and what there is for them.
type asker struct {
	who  account
	want []string
}

// wantSearches looks as each of them.
func wantSearches(t *testing.T, c member, search func(who account) sandbox.Result, askers ...asker) {
	t.Helper()
	for _, a := range askers {
		if a.who != (account{}) {
			succeeds(t, c.login(a.who))
		}
		r := search(a.who)
		succeeds(t, r)
		if found := strings.Fields(r.Stdout); !same(found, a.want) {
			t.Errorf("%q found %q, want %q", a.who.name, found, a.want)
		}
	}
}

func TestAccessSearchDockerd20(t *testing.T) {
	testDockerAccessSearch(t, sandbox.New(t), "--storage-driver", "overlay2")
}

func TestAccessSearchDockerd29(t *testing.T) { testDockerAccessSearch(t, newDockerd29(t)) }

func testDockerAccessSearch(t *testing.T, b *sandbox.Sandbox, args ...string) {
	g := newSearched(t)
	d := dockerMember{newDocker(t, b, g.mirror(), args...), g.addr}
	g.reset()
	search := func(who account) sandbox.Result {
		return as(b, who).Try("docker", "search", "--format", "{{.Name}}", g.addr+"/app")
	}
	wantSearches(t, d, search,
		asker{g.nobody, []string{"library/app"}},
		asker{g.bob, []string{"library/app", "team/app"}},
		asker{g.alice, []string{"library/app", "team/app", "vault/app"}})
}

// podman looks for a term without saying who it is, and for everything with a token.
func TestAccessSearchPodman(t *testing.T) {
	g := newSearched(t)
	p := podmanMember{sandbox.New(t), g.addr}
	search := func(term string) func(account) sandbox.Result {
		return func(who account) sandbox.Result {
			return p.try(who, "search", "--tls-verify=false", "--format", "{{.Name}}", g.addr+"/"+term)
		}
	}
	g.reset()
	public, team, vault := g.addr+"/library/app", g.addr+"/team/app", g.addr+"/vault/app"
	wantSearches(t, p, search("app"), asker{g.nobody, []string{public}}, asker{g.alice, []string{public}})
	wantSearches(t, p, search(""), asker{g.nobody, nil}, asker{g.bob, []string{team}}, asker{g.alice, []string{team, vault}})
}
