package clients

import (
	"slices"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
)

func TestAccessContainerd(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 93).Image)
	c := newContainerd(t, g.mirror())
	testAccess(t, g, ctrMember{c, g.ref(corpApp)}, tells{
		notLoggedIn: "may require authorization", pushNotLoggedIn: "may require authorization",
		wrongPassword: "may require authorization", removed: "may require authorization",
		stalePull: "invalid_token", stalePush: "",
	})
}

// ctrMember says with each command who it is.
type ctrMember struct {
	daemon ctr
	closed string // what takes a login
}

func (c ctrMember) mirrored(name string) string { return "docker.io/" + name }

func (c ctrMember) login(who account) sandbox.Result { return c.pull(who, c.closed) }

func (c ctrMember) pull(who account, name string) sandbox.Result { return c.images("pull", who, name) }

func (c ctrMember) push(who account, pulled, name string) sandbox.Result {
	return c.images("push", who, name, pulled)
}

func (c ctrMember) images(verb string, who account, names ...string) sandbox.Result {
	args := []string{"images", verb, "--local", "--plain-http"}
	if names[0] == c.mirrored(publicApp) {
		args = []string{"images", verb, "--hosts-dir", c.daemon.hosts}
	}
	if who != (account{}) {
		args = append(args, "--user", who.name+":"+who.password)
	}
	return c.daemon.Try("ctr", c.daemon.ctr(slices.Concat(args, names)...)...)
}

func (c ctrMember) forget(t *testing.T) { c.daemon.forget(t) }
