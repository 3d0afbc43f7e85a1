package clients

import (
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
)

func TestAccessPodman(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 94).Image)
	b := sandbox.New(t)
	b.Env = append(b.Env, "CONTAINERS_REGISTRIES_CONF="+registriesConf(t, b, g.mirror()))
	testAccess(t, g, podmanMember{b, g.addr}, tells{
		notLoggedIn: "to pull ", pushNotLoggedIn: "requested access to the resource is denied",
		wrongPassword: "invalid username/password", removed: "the user name or the password is wrong",
		stalePull: "log in again", stalePush: "unauthorized: authentication required",
	})
}

type podmanMember struct {
	*sandbox.Sandbox
	registry string
}

func (p podmanMember) mirrored(name string) string { return "docker.io/" + name }

func (p podmanMember) login(who account) sandbox.Result {
	return p.try(who, "login", "--tls-verify=false", "--username", who.name, "--password", who.password, p.registry)
}

func (p podmanMember) pull(who account, name string) sandbox.Result {
	if name == p.mirrored(publicApp) {
		return p.try(who, "pull", name)
	}
	return p.try(who, "pull", "--tls-verify=false", name)
}

func (p podmanMember) push(who account, pulled, name string) sandbox.Result {
	return p.try(who, "push", "--tls-verify=false", pulled, name)
}

func (p podmanMember) try(who account, args ...string) sandbox.Result {
	return as(p.Sandbox, who).Try("podman", podman{p.Sandbox}.podman(args...)...)
}

func (p podmanMember) forget(t *testing.T) { podman{p.Sandbox}.forget(t) }
