package clients

import (
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
)

func TestAccessDockerd20(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 91).Image)
	d := newDocker(t, sandbox.New(t), g.mirror(), "--storage-driver", "overlay2")
	testAccess(t, g, dockerMember{d, g.addr}, tells{
		notLoggedIn: "may require 'docker login'", pushNotLoggedIn: "requested access to the resource is denied",
		wrongPassword: "the user name or the password is wrong", removed: "may require 'docker login'",
		stalePull: "unauthorized", stalePush: "unauthorized",
	})
}

func TestAccessDockerd29(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 92).Image)
	d := newDocker(t, newDockerd29(t), g.mirror())
	testAccess(t, g, dockerMember{d, g.addr}, tells{
		notLoggedIn: "may require 'docker login'", pushNotLoggedIn: "may require authorization",
		wrongPassword: "the user name or the password is wrong", removed: "may require 'docker login'",
		stalePull: "may require 'docker login'", stalePush: "",
	})
}

type dockerMember struct {
	docker
	registry string
}

func (d dockerMember) mirrored(name string) string { return "docker.io/" + name }

func (d dockerMember) login(who account) sandbox.Result {
	return as(d.Sandbox, who).Try("docker", "login", "--username", who.name, "--password", who.password, d.registry)
}

func (d dockerMember) pull(who account, name string) sandbox.Result {
	return docker{as(d.Sandbox, who)}.pull(name)
}

func (d dockerMember) push(who account, pulled, name string) sandbox.Result {
	d.Run("docker", "tag", pulled, name)
	return as(d.Sandbox, who).Try("docker", "push", name)
}
