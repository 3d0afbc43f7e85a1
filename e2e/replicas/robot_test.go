package replicas

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// within is how long a change of robots may take to reach all replicas.
const within = 15 * time.Second

func TestARobotIsKnownAndRefusedOnEveryReplica(t *testing.T) {
	t.Parallel() // it waits, mostly
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSet(t, 2, map[string]string{"HTPASSWD": users})
	out, code := s.replicas[0].Run("robot", "add", "--json", "ci")
	var robot struct{ User, Secret string }
	if err := json.Unmarshal([]byte(out), &robot); err != nil || code != 0 {
		t.Fatalf("robot add: %d %v\n%s", code, err, out)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(robot.User+":"+robot.Secret))
	asks := func(replica int, authorization string) func() int {
		c := newClient(t, s.replicas[replica].Addr)
		return func() int {
			return c.send(context.Background(), http.MethodGet, "/v2/", nil, "Authorization", authorization).status
		}
	}
	until(t, "a new robot at its replica", asks(0, basic), http.StatusOK)
	until(t, "a new robot at the other replica", asks(1, basic), http.StatusOK)

	var token struct{ Token string }
	a := newClient(t, s.replicas[0].Addr).send(context.Background(), http.MethodGet, "/token?service=entrepot&scope=repository:app:pull,push", nil, "Authorization", basic)
	if err := json.Unmarshal(a.body, &token); err != nil || token.Token == "" {
		t.Fatalf("token: %v", a)
	}
	until(t, "a replica's token at the other one", asks(1, "Bearer "+token.Token), http.StatusOK)

	if out, code := s.replicas[0].Run("robot", "revoke", "ci"); code != 0 {
		t.Fatalf("robot revoke: %d\n%s", code, out)
	}
	for replica := range s.replicas {
		until(t, "a robot that is revoked", asks(replica, basic), http.StatusUnauthorized)
		until(t, "its token", asks(replica, "Bearer "+token.Token), http.StatusUnauthorized)
	}
}

func until(t *testing.T, what string, ask func() int, status int) {
	t.Helper()
	began, got := time.Now(), 0
	for ; time.Since(began) < within; time.Sleep(100 * time.Millisecond) {
		if got = ask(); got == status {
			t.Logf("%s: %d after %v", what, status, time.Since(began).Round(100*time.Millisecond))
			return
		}
	}
	t.Fatalf("%s: %d after %v, want %d", what, got, within, status)
}
