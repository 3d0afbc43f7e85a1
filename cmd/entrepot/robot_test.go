package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
)

// guardedSites runs a test where there are users, with a server and without.
func guardedSites(t *testing.T, test func(t *testing.T, s site)) {
	for _, online := range []bool{true, false} {
		t.Run(map[bool]string{true: "in the server", false: "without a server"}[online], func(t *testing.T) {
			s := site{data: t.TempDir()}
			users := emptyFile(t)
			if online {
				s.running = start(t, "DATA="+s.data, "HTPASSWD="+users)
			} else {
				s.running = &running{t: t, environment: environment("DATA="+s.data, "HTPASSWD="+users)}
			}
			test(t, s)
		})
	}
}

func emptyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// addRobot gives what robot add --json prints.
func (r *running) addRobot(args ...string) (added addedRobot) {
	r.t.Helper()
	code, out, errs := r.command(append([]string{"robot", "add", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &added); err != nil || code != exitOK {
		r.t.Fatalf("robot add: %d %s %s", code, out, errs)
	}
	return added
}

func TestRobotsAreAddedListedAndRevoked(t *testing.T) {
	guardedSites(t, func(t *testing.T, s site) {
		s.want("USER  CREATED  EXPIRES  NOTE\n", "robot", "list")
		s.want("", "robot", "list", "--json")

		added := s.addRobot("--note", "of the build", "ci")
		if added.User != "robot+ci" || added.Name != "ci" || added.Note != "of the build" || !strings.HasPrefix(added.Secret, "ept_") || added.Warning != "" {
			t.Errorf("added: %+v", added)
		}
		if life := time.Until(added.Expires); life < 89*24*time.Hour || life > 90*24*time.Hour {
			t.Errorf("it lives %s", life)
		}
		if forever := s.addRobot("--expires", "never", "robot+deploy"); forever.Name != "deploy" || !forever.Expires.IsZero() {
			t.Errorf("added: %+v", forever)
		}

		code, out, errs := s.command("robot", "list", "--json")
		if lines := strings.Split(strings.TrimSpace(out), "\n"); code != exitOK || len(lines) != 2 || !strings.HasPrefix(lines[0], `{"name":"ci","note":"of the build","created":"`) {
			t.Errorf("list: %d %s %s", code, out, errs)
		}
		if strings.Contains(out, added.Secret) {
			t.Errorf("the secret is listed: %s", out)
		}
		s.want("robot+deploy  ", "robot", "list")

		code, _, errs = s.command("robot", "add", "ci")
		if code != exitFailed || !strings.Contains(errs, "there is a robot of that name") {
			t.Errorf("the same again: %d %s", code, errs)
		}
		s.want("revoked robot+ci\n", "robot", "revoke", "ci")
		code, _, errs = s.command("robot", "revoke", "ci")
		if code != exitFailed || errs != "entrepot: revoke robot ci: there is no robot of that name\n" {
			t.Errorf("revoked again: %d %s", code, errs)
		}
		s.want(`{"name":"deploy"}`, "robot", "revoke", "--json", "robot+deploy")
		s.want("", "robot", "list", "--json")
	})
}

func TestARobotIsShownItsSecretOnceAndHowToLogIn(t *testing.T) {
	s := running{t: t, environment: environment("DATA="+t.TempDir(), "HTPASSWD="+emptyFile(t), "PUBLIC_URL=https://registry.corp:5000")}
	code, out, errs := s.command("robot", "add", "--expires", "36h", "ci")
	if code != exitOK || errs != "" || strings.Count(out, "ept_") != 1 {
		t.Fatalf("robot add: %d %q %q", code, out, errs)
	}
	for _, want := range []string{"user:    robot+ci\n", "secret:  ept_", "1 day from now\n", "docker login --username robot+ci --password-stdin registry.corp:5000\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestRobotsWithoutUsersAreRefusedWithTheRemedy(t *testing.T) {
	everywhere(t, func(*stored) {}, func(t *testing.T, s site) {
		code, out, errs := s.command("robot", "add", "ci")
		if code != exitFailed || out != "" || !strings.Contains(errs, "set ENTREPOT_HTPASSWD; an empty file will do") {
			t.Errorf("robot add: %d %s %s", code, out, errs)
		}
		s.want("", "robot", "list", "--json")
	})
}

func TestMistakesInRobots(t *testing.T) {
	s := running{t: t, environment: environment("DATA="+t.TempDir(), "HTPASSWD="+emptyFile(t))}
	for _, args := range [][]string{
		{"robot"}, {"robot", "ad", "ci"}, {"robot", "add"}, {"robot", "add", "a", "b"}, {"robot", "add", "--expires", "soon", "ci"},
		{"robot", "add", "--expires", "0d", "ci"}, {"robot", "list", "ci"}, {"robot", "revoke"},
	} {
		if code, _, errs := s.command(args...); code != exitUsage {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
	for _, name := range []string{"CI", "a/b", "../ci", ""} {
		if code, _, errs := s.command("robot", "add", name); code != exitFailed {
			t.Errorf("%q: code %d, %s", name, code, errs)
		}
	}
}

// failing are robots in a server that cannot read everything anew after a change.
func failing(t *testing.T, store storage.Store) *running {
	t.Helper()
	data := t.TempDir()
	mux := http.NewServeMux()
	answerForRobots(mux, robots{
		Robots: access.NewRobots(store, time.Now, rand.Reader), closed: true,
		refresh: func(context.Context) error { return errors.New("the disk is gone") },
	})
	l, err := listenSocket(data)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	s.Start()
	t.Cleanup(s.Close)
	return &running{t: t, environment: environment("DATA=" + data)}
}

// A robot whose secret was not printed could not be used, and one that stayed after a failed revocation could.
func TestAServerThatCannotReadAnewTakesNoChangeBack(t *testing.T) {
	s := failing(t, mem.New(time.Now))
	const warning = "it is changed, but the server cannot read everything anew: the disk is gone"
	if added := s.addRobot("deploy"); added.Secret == "" || added.Warning != warning {
		t.Errorf("added: %+v", added)
	}
	for _, c := range []struct{ args, want string }{{"add ci", "secret:  ept_"}, {"revoke ci", "revoked robot+ci\n"}} {
		code, out, errs := s.command(append([]string{"robot"}, strings.Fields(c.args)...)...)
		if code != exitOK || !strings.Contains(out, c.want) || errs != "entrepot: "+warning+"\n" {
			t.Errorf("%s: code %d, printed %q and %q", c.args, code, out, errs)
		}
	}
	s.want(`{"name":"deploy",`, "robot", "list", "--json")
}

func TestRobotsThatCanBeReadAreListedBesideOthers(t *testing.T) {
	store := mem.New(time.Now)
	s := failing(t, store)
	s.addRobot("ci")
	if _, err := store.PutIf(t.Context(), "robots/torn", []byte("{"), storage.Absent); err != nil {
		t.Fatal(err)
	}
	code, out, errs := s.command("robot", "list")
	if code != exitFailed || !strings.Contains(out, "robot+ci") || errs != "entrepot: robot \"torn\": record is damaged\n" {
		t.Errorf("code %d, printed %q and %q", code, out, errs)
	}
}

func TestWhenARobotExpires(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for left, want := range map[time.Duration]string{
		90*day - time.Second:   "2027-02-19, 90 days from now",
		119*day + 23*time.Hour: "2027-03-21, 119 days from now",
		120 * day:              "2027-03-21, 4 months from now",
		2*day - time.Second:    "2026-11-23, 2 days from now",
		36 * time.Hour:         "2026-11-23, 1 day from now",
		day - time.Second:      "2026-11-22, 1 day from now",
		time.Hour:              "2026-11-21, 1 hour from now",
		-90 * day:              "2026-08-23, 3 months ago",
	} {
		if got := expiry(now.Add(left), now); got != want {
			t.Errorf("in %s: got %q, want %q", left, got, want)
		}
	}
	if got := expiry(time.Time{}, now); got != "never" {
		t.Errorf("without an end: %q", got)
	}
}

func TestLifetimes(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{"90d": 90 * day, "1d12h": day + 12*time.Hour, "12h": 12 * time.Hour, "never": 0, "99999d": 99999 * day} {
		if got, err := parseLifetime(text); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "0d", "0s", "-1d", "1d-1h", "90", "d", "1.5d", "soon", "Never", "1d1d", "100000d", "1 d"} {
		if got, err := parseLifetime(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

// A robot that is revoked over the socket is refused at once: nobody waits until the server looks at the store again.
func TestARobotLogsInUntilItIsRevoked(t *testing.T) {
	s := start(t, "DATA="+t.TempDir(), "HTPASSWD="+emptyFile(t))
	if code, _ := s.get(s.url + "/v2/"); code != http.StatusUnauthorized {
		t.Errorf("without a login: %d", code)
	}
	robot := s.addRobot("ci")
	if code := s.login(robot.User, robot.Secret); code != http.StatusOK {
		t.Errorf("with its secret: %d", code)
	}
	if code := s.login(robot.User, robot.Secret+"x"); code != http.StatusUnauthorized {
		t.Errorf("with another secret: %d", code)
	}
	s.want("revoked robot+ci\n", "robot", "revoke", "ci")
	if code := s.login(robot.User, robot.Secret); code != http.StatusUnauthorized {
		t.Errorf("revoked: %d", code)
	}
}

// login asks /v2/ with a user name and a password.
func (r *running) login(user, password string) int {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/v2/", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.SetBasicAuth(user, password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}
