package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
