package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryMistakeInTheFilesOfAccessIsNamedAtOnceByItsVariable(t *testing.T) {
	users := writeFile(t, "users", "alice:$apr1$not$bcrypt\nbob\n")
	policy := writeFile(t, "policy.yaml", "hosted: []\nupstream: []\nincoming:\n  - deny: [nowhere.example/**]\ngroups: {staff: [everyone]}\n")
	code, _, errs := typed("", environment("DATA="+t.TempDir(), "HTPASSWD="+users, "POLICY="+policy, "TOKEN_KEY=/does/not/exist", "AUDIT_LOG=/does/not/exist/audit.log"), "serve")
	wantCode(t, exitUsage, code, errs)
	for _, want := range []string{
		"ENTREPOT_HTPASSWD: " + users + ": line 1", "ENTREPOT_HTPASSWD: " + users + ": line 2",
		"ENTREPOT_POLICY: " + policy + ": line 4", "ENTREPOT_POLICY: " + policy + ": line 5",
		"ENTREPOT_TOKEN_KEY: open /does/not/exist: ",
		"ENTREPOT_AUDIT_LOG: open /does/not/exist/audit.log: ",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("the error does not say %q:\n%s", want, errs)
		}
	}
}

func TestAnAuditLogThatCannotBeWrittenIsAMistake(t *testing.T) {
	code, _, errs := typed("", environment("DATA="+t.TempDir(), "AUDIT_LOG=/does/not/exist/audit.log"), "serve")
	wantCode(t, exitUsage, code, errs)
	if !strings.Contains(errs, "ENTREPOT_AUDIT_LOG: ") {
		t.Errorf("the variable is not named: %s", errs)
	}
}

func TestAMistakeOfNoFileIsToldAsItIs(t *testing.T) {
	c := load(t, "HTPASSWD=/users", "POLICY=/users.yaml")
	for said, want := range map[string]string{
		"the store is down":    "the store is down",
		"/users: line 1: no":   "ENTREPOT_HTPASSWD: /users: line 1: no",
		"/users.yaml: line 1:": "ENTREPOT_POLICY: /users.yaml: line 1:",
	} {
		if got := c.byFile(errors.New(said)); got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if err := c.byFile(nil); err != nil {
		t.Errorf("without a mistake: %v", err)
	}
}

func TestAServerWithoutAnAuditLog(t *testing.T) {
	var out strings.Builder
	s := stored{}
	write, err := s.openAudit(load(t, "AUDIT_LOG=off"), &out, slog.New(slog.DiscardHandler))
	if write != nil || err != nil || len(s.ends) > 0 {
		t.Errorf("got %v, %v, %d to close", write != nil, err, len(s.ends))
	}
}

func TestAServerWithUsers(t *testing.T) {
	audit := filepath.Join(t.TempDir(), "audit.log")
	users := usersFile(t, "alice")
	r := start(t, "DATA="+t.TempDir(), "HTPASSWD="+users, "HOSTED=team", "POLICY="+writeFile(t, "policy.yaml", policyText), "AUDIT_LOG="+audit, "PUBLIC_URL=https://registry.corp")
	response, err := http.Get(r.url + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got, want := response.Header.Get("WWW-Authenticate"), `Bearer realm="https://registry.corp/token",service="registry.corp"`; response.StatusCode != http.StatusUnauthorized || got != want {
		t.Errorf("without a login: %d %s, want %s", response.StatusCode, got, want)
	}
	if code := r.login("alice", "alice"); code != http.StatusOK {
		t.Errorf("alice: %d", code)
	}
	if code := r.login("alice", "another"); code != http.StatusUnauthorized {
		t.Errorf("alice with another password: %d", code)
	}
	_, text := r.get(r.admin + "/metrics")
	for _, want := range []string{`entrepot_access_logins_total{as="user"} 1`, `entrepot_access_refusals_total{reason="wrong-login"} 1`, `entrepot_access_stale{what="policy"} 0`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s among the metrics", want)
		}
	}
	if code := r.stop(); code != exitOK {
		t.Fatalf("the server ended with %d", code)
	}
	refused := 0
	for _, line := range auditLines(t, audit) {
		if line.Who == "" || line.From != "127.0.0.1" || line.Decision == "" {
			t.Errorf("audited: %+v", line)
		}
		if line.Decision == "refused" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no refusal is audited")
	}
}

type auditLine struct{ Time, Who, From, Action, What, Ref, Decision, Why string }

func auditLines(t *testing.T, path string) (all []auditLine) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var line auditLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("%s: %v", lines.Bytes(), err)
		}
		all = append(all, line)
	}
	return all
}

func TestWhoIsWarnedOf(t *testing.T) {
	users := usersFile(t, "alice")
	exposed := func(path string, mode os.FileMode) string {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		env  []string
		want string // empty: of nothing
	}{
		"users on this machine":            {[]string{"HTPASSWD=" + users}, ""},
		"users without TLS":                {[]string{"LISTEN=:5000", "HTPASSWD=" + users}, "travel in the clear"},
		"users behind a proxy":             {[]string{"LISTEN=:5000", "HTPASSWD=" + users, "TRUSTED_PROXIES=10.0.0.1"}, ""},
		"users of a public https address":  {[]string{"LISTEN=:5000", "HTPASSWD=" + users, "PUBLIC_URL=https://registry.corp"}, ""},
		"users of a public http address":   {[]string{"LISTEN=:5000", "HTPASSWD=" + users, "PUBLIC_URL=http://registry.corp"}, "travel in the clear"},
		"users with TLS":                   {[]string{"LISTEN=:5000", "HTPASSWD=" + users, "TLS_CERT=c.pem", "TLS_KEY=k.pem"}, ""},
		"users whom all may read":          {[]string{"HTPASSWD=" + exposed(usersFile(t, "alice"), 0o604)}, "can read or change this file"},
		"users whom the group may read":    {[]string{"HTPASSWD=" + exposed(usersFile(t, "alice"), 0o640)}, ""},
		"a key that all may read":          {[]string{"HTPASSWD=" + users, "TOKEN_KEY=" + exposed(writeFile(t, "key", ""), 0o644)}, "can read or change this file"},
		"a policy that all may read":       {[]string{"HTPASSWD=" + users, "POLICY=" + exposed(writeFile(t, "policy", ""), 0o644)}, ""},
		"a policy that the group changes":  {[]string{"HTPASSWD=" + users, "POLICY=" + exposed(writeFile(t, "policy", ""), 0o664)}, "can change this file"},
		"everybody, as long as it is open": {[]string{"LISTEN=:5000", "READ_ONLY=true"}, "may pull"},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			a := application{log: slog.New(slog.NewTextHandler(&log, nil))}
			conf := load(t, append(c.env, "MAX_CONNECTIONS=1")...)
			a.warnOfClients(conf)
			a.warnOfModes(conf)
			if said := log.String(); !strings.Contains(said, c.want) || (c.want == "") != (said == "") {
				t.Errorf("warned %q, want %q", said, c.want)
			}
		})
	}
}
