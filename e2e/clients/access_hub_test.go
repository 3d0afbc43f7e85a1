package clients

import (
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
)

// Whoever is logged in to Docker Hub: the daemon gives that user name and password to the mirror, with every pull. They mean
// nothing to the server, and lock nobody out.
func TestAccessHubLoginDockerd20(t *testing.T) {
	testHubLogin(t, sandbox.New(t), true, "--storage-driver", "overlay2")
}

// This daemon keeps them for Docker Hub.
func TestAccessHubLoginDockerd29(t *testing.T) { testHubLogin(t, newDockerd29(t), false) }

func testHubLogin(t *testing.T, b *sandbox.Sandbox, gives bool, args ...string) {
	g := newGuarded(t, newPushImage(t, 97).Image)
	d := dockerMember{newDocker(t, b, g.mirror(), args...), g.addr}
	hubUser := account{"somebody", "at the hub"}
	own := loggedIn(b, hubUser, "https://index.docker.io/v1/")
	for range 30 { // more wrong logins than an address may try
		g.reset()
		own.Run("docker", "pull", d.mirrored(publicApp))
	}
	g.wantCredentials(t, gives)
	succeeds(t, d.login(g.alice))
	fails(t, d.login(hubUser), "the user name or the password is wrong")
}
