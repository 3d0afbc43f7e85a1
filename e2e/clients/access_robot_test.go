package clients

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// A pipeline has an account of its own, which is made and ended beside the running server.
func TestAccessRobot(t *testing.T) {
	img := newPushImage(t, 98)
	g := newGuarded(t, img.Image)
	c := craneMember{sandbox.New(t, tools.Crane()), g.addr}
	layout := writeLayout(t, c.Sandbox, img.Manifest, img)
	robot := g.addRobot(t, "ci")
	own := loggedIn(c.Sandbox, robot, g.addr)
	own.Run("crane", "push", layout, g.ref(hostedApp))
	g.wantSame(t, "team/app", "1.0.0", img)
	succeeds(t, c.pull(robot, g.ref(hostedApp)))
	fails(t, own.Try("crane", "push", layout, g.ref(vaultApp)), "401 Unauthorized") // of the HEAD that comes first
	token := askToken(t, g, robot, "team/app")
	if got := showToken(t, g, token, "team/app").StatusCode; got != http.StatusOK {
		t.Errorf("the robot's token: %d", got)
	}

	if out, code := g.server.Run("robot", "revoke", "ci"); code != 0 {
		t.Fatalf("robot revoke: %d\n%s", code, out)
	}
	deadline := time.Now().Add(revocation)
	push := func() sandbox.Result { return own.Try("crane", "push", layout, g.ref(hostedApp)) }
	untilRefused(t, deadline, push)
	fails(t, push(), "the user name or the password is wrong")
	if got := showToken(t, g, token, "team/app").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("the token of a robot that was revoked: %d, want 401", got)
	}
	fails(t, c.pull(robot, g.ref(hostedApp)), "the user name or the password is wrong")
}

func (g guarded) addRobot(t *testing.T, name string) account {
	t.Helper()
	out, code := g.server.Run("robot", "add", "--json", name)
	var added struct{ User, Secret string }
	if err := json.Unmarshal([]byte(out), &added); code != 0 || err != nil || added.Secret == "" {
		t.Fatalf("robot add: %d, %v\n%s", code, err, out)
	}
	return account{added.User, added.Secret}
}
