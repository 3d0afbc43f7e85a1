package clients

import (
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestAccessRegctl(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 96).Image)
	testAccess(t, g, regctlMember{sandbox.New(t, tools.Regctl()), g.addr}, tells{
		notLoggedIn: "unauthorized", pushNotLoggedIn: "unauthorized",
		wrongPassword: "unauthorized", removed: "unauthorized",
		stalePull: "unauthorized", stalePush: "",
	})
}

type regctlMember struct {
	*sandbox.Sandbox
	registry string
}

func (r regctlMember) mirrored(name string) string { return "docker.io/" + name }

func (r regctlMember) login(who account) sandbox.Result {
	return r.try(who, "registry", "login", r.registry, "--user", who.name, "--pass", who.password)
}

func (r regctlMember) layout() string { return "ocidir://" + r.Dir + "/layout:pulled" }

func (r regctlMember) pull(who account, name string) sandbox.Result {
	return r.try(who, "image", "copy", name, r.layout())
}

func (r regctlMember) push(who account, _, name string) sandbox.Result {
	return r.try(who, "image", "copy", r.layout(), name)
}

// try tells regctl about the registry, which it keeps beside the login.
func (r regctlMember) try(who account, args ...string) sandbox.Result {
	own := as(r.Sandbox, who)
	own.Run("regctl", "registry", "set", r.registry, "--tls", "disabled", "--skip-check")
	own.Run("regctl", "registry", "set", "docker.io", "--mirror", r.registry, "--skip-check")
	return own.Try("regctl", args...)
}

func (r regctlMember) forget(t *testing.T) { forgetFiles(t, r.Dir+"/layout") }
