package clients

import (
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestAccessCrane(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 95).Image)
	testAccess(t, g, craneMember{sandbox.New(t, tools.Crane()), g.addr}, tells{
		notLoggedIn: "log in first", pushNotLoggedIn: "401 Unauthorized",
		wrongPassword: "the user name or the password is wrong", removed: "the user name or the password is wrong",
		stalePull: "", stalePush: "",
	})
}

type craneMember struct {
	*sandbox.Sandbox
	registry string
}

func (c craneMember) mirrored(name string) string { return c.registry + "/" + name }

// login writes the password down and asks nobody, so that something follows that takes it.
func (c craneMember) login(who account) sandbox.Result {
	own := as(c.Sandbox, who)
	if r := own.Try("crane", "auth", "login", c.registry, "--username", who.name, "--password", who.password); r.Err != nil {
		return r
	}
	return own.Try("crane", "digest", c.registry+"/"+corpApp)
}

func (c craneMember) tarball() string { return c.Dir + "/pulled.tar" }

func (c craneMember) pull(who account, name string) sandbox.Result {
	return as(c.Sandbox, who).Try("crane", "pull", name, c.tarball())
}

func (c craneMember) push(who account, _, name string) sandbox.Result {
	return as(c.Sandbox, who).Try("crane", "push", c.tarball(), name)
}

func (c craneMember) forget(t *testing.T) { forgetFiles(t, c.tarball()) }
