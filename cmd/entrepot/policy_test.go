package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// policyText lets staff push to team, robots pull it, and nobody but staff have gcr.io's corp repositories.
const policyText = `groups:
  staff: [alice]
hosted:
  - repositories: [team/**]
    pull: ["@staff", robots]
    push: ["@staff"]
    delete: ["@staff"]
  - repositories: ["**"]
    pull: [everyone]
    admin: [root]
upstream:
  - repositories: [gcr.io/corp-*/**]
    pull: ["@staff"]
  - repositories: ["**"]
    pull: [everyone]
incoming:
  - deny: ["docker.io/*/xmrig"]
    because: miners
  - deny: ["docker.io/library/**"]
    tags: [latest]
    because: pin a version
`

// writeFile writes a file for its owner only, and gives its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// usersFile has users with the password of their name.
func usersFile(t *testing.T, names ...string) string {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte(name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:%s\n", name, hash)
	}
	return writeFile(t, "users", text.String())
}

func TestWhatAPolicyAllows(t *testing.T) {
	closed := []string{"HTPASSWD=" + usersFile(t, "alice", "bob", "root"), "POLICY=" + writeFile(t, "policy.yaml", policyText), "HOSTED=team"}
	for name, c := range map[string]struct {
		env  []string // beside the closed server's
		args string
		want int
		says string
	}{
		"staff pushes":                         {nil, "alice push team/app", exitOK, ""},
		"a user who is not staff":              {nil, "bob push team/app", exitFailed, ""},
		"nobody in particular":                 {nil, "anonymous pull team/app", exitFailed, ""},
		"a robot":                              {nil, "robot+ci pull team/app:1", exitOK, "whether there is one named ci"},
		"a robot that pushes":                  {nil, "robot+ci push team/app:1", exitFailed, "note: robots are not looked up here"},
		"one element is hosted":                {nil, "anonymous pull my-image", exitOK, "docker.io/library/my-image"},
		"an upstream's repository":             {nil, "bob pull gcr.io/corp-a/app", exitFailed, ""},
		"an upstream's, of staff":              {nil, "alice pull gcr.io/corp-a/app", exitOK, ""},
		"Docker Hub's":                         {nil, "anonymous pull docker.io/library/nginx:1", exitOK, ""},
		"what must not come in":                {nil, "alice pull docker.io/evil/xmrig", exitFailed, "miners"},
		"a tag that must not come in":          {nil, "alice pull docker.io/library/nginx:latest", exitFailed, "pin a version"},
		"somebody who is gone":                 {nil, "carol pull my-image", exitFailed, "no user carol"},
		"a read-only server":                   {[]string{"READ_ONLY=true"}, "alice push team/app", exitFailed, "READ_ONLY is set"},
		"a read-only server that is read":      {[]string{"READ_ONLY=true"}, "alice pull team/app", exitOK, ""},
		"an admin of a read-only server":       {[]string{"READ_ONLY=true"}, "root admin other", exitOK, "note: ENTREPOT_READ_ONLY is set"},
		"nothing is deleted":                   {[]string{"DELETE=none"}, "alice delete team/app", exitFailed, "DELETE is none"},
		"some is deleted":                      {[]string{"DELETE=tags"}, "alice delete team/app", exitOK, "allows to delete tags only"},
		"push to an upstream":                  {nil, "alice push gcr.io/corp-a/app", exitFailed, "belongs to the upstream gcr.io"},
		"content that only a credential reads": {[]string{"UPSTREAM_0_HOST=gcr.io", "UPSTREAM_0_AUTH=google"}, "anonymous pull gcr.io/other/app", exitOK, "our credential for gcr.io is not lent to anonymous"},
		"content that is lent":                 {[]string{"UPSTREAM_0_HOST=gcr.io", "UPSTREAM_0_AUTH=google"}, "alice pull gcr.io/corp-a/app", exitOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := typed("", environment(append(c.env, closed...)...), append([]string{"policy", "check"}, strings.Fields(c.args)...)...)
			wantCode(t, c.want, code, errs)
			explained, notes, _ := strings.Cut(out, "\n")
			if c.want == exitFailed && c.says != "" && !strings.HasPrefix(notes, "but ") && !strings.HasPrefix(c.says, "note: ") {
				t.Errorf("what stands against it is no more than a note: %q", notes)
			}
			if explained == "" || !strings.Contains(notes, c.says) || (c.says == "") != (notes == "") {
				t.Errorf("said %q, want %q", out, c.says)
			}
		})
	}
}

func TestPoliciesWithoutUsersAndWithoutAFile(t *testing.T) {
	users := "HTPASSWD=" + usersFile(t, "alice")
	for name, c := range map[string]struct {
		env  []string
		args string
		want int
	}{
		"no users: everybody pulls":          {nil, "anonymous pull nginx", exitOK},
		"no users: near addresses push":      {nil, "anonymous push my-image", exitOK},
		"no file: users push":                {[]string{users}, "alice push my-image", exitOK},
		"no file: anonymous has upstreams'":  {[]string{users}, "anonymous pull docker.io/library/nginx", exitOK},
		"no file: anonymous has no hosted":   {[]string{users}, "anonymous pull my-image", exitFailed},
		"no file: robots delete nothing":     {[]string{users}, "robot+ci delete my-image", exitFailed},
		"an everyone that is nobody":         {[]string{users}, "everyone pull my-image", exitUsage},
		"a group":                            {[]string{users}, "@staff pull my-image", exitUsage},
		"an action that is none":             {[]string{users}, "alice fetch my-image", exitUsage},
		"a name that is none":                {[]string{users}, "alice pull Nginx", exitUsage},
		"a registry that is not configured":  {[]string{users}, "alice pull registry.example/app", exitUsage},
		"a question without a repository":    {[]string{users}, "alice pull", exitUsage},
		"a question without an action":       {[]string{users}, "alice", exitUsage},
		"users that cannot be read":          {[]string{"HTPASSWD=/does/not/exist"}, "alice pull my-image", exitUsage},
		"a policy that cannot be read":       {[]string{users, "POLICY=/does/not/exist"}, "alice pull my-image", exitUsage},
		"a policy that says what is unknown": {[]string{users, "POLICY=" + writeFile(t, "policy", "host: []\n")}, "alice pull my-image", exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := typed("", environment(c.env...), append([]string{"policy", "check"}, strings.Fields(c.args)...)...)
			wantCode(t, c.want, code, errs)
			if strings.Contains(name, "cannot be read") || strings.Contains(name, "unknown") {
				if !strings.Contains(errs, "ENTREPOT_HTPASSWD: ") && !strings.Contains(errs, "ENTREPOT_POLICY: ") {
					t.Errorf("the variable is not named: %s", errs)
				}
			}
		})
	}
}

func TestWhatTheFilesOfAccessHold(t *testing.T) {
	users := usersFile(t, "alice")
	policy := writeFile(t, "policy.yaml", policyText)
	incoming := writeFile(t, "incoming.yaml", "incoming:\n  - allow: [docker.io/library/**]\n  - deny: [\"**\"]\n")
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"no files":               {nil, "users: none, since ENTREPOT_HTPASSWD is not set\npolicy: rules of what comes in: 0, of the default\n"},
		"users":                  {[]string{"HTPASSWD=" + users}, "users: 1, of " + users + "\npolicy: entries of hosted: 1, of upstream: 1, rules of what comes in: 0, of the default\n"},
		"a policy without users": {[]string{"POLICY=" + incoming}, "users: none, since ENTREPOT_HTPASSWD is not set\npolicy: rules of what comes in: 2, of " + incoming + "\n"},
		"both":                   {[]string{"HTPASSWD=" + users, "POLICY=" + policy, "HOSTED=team"}, "users: 1, of " + users + "\npolicy: entries of hosted: 2, of upstream: 2, rules of what comes in: 2, of " + policy + "\nnote: the policy names root, who is no user\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := typed("", environment(c.env...), "policy", "check")
			wantCode(t, exitOK, code, errs)
			if out != c.want {
				t.Errorf("got %q, want %q", out, c.want)
			}
		})
	}
}

// What the check lets pass must start: it is run before a deployment.
func TestMistakesOfBothFilesAreToldAtOnceAsByTheServer(t *testing.T) {
	users := writeFile(t, "users", "alice:{SHA}notbcrypt\nbob\n")
	policy := writeFile(t, "policy.yaml", "host: []\nhosted: [{repositories: [team/**]}]\nupstream: []\n")
	env := environment("DATA="+t.TempDir(), "HTPASSWD="+users, "POLICY="+policy)
	_, _, want := typed("", env, "serve")
	if strings.Count(want, users+": line ") != 2 || !strings.Contains(want, policy+": line 1") {
		t.Fatalf("the server says %q", want)
	}
	for _, args := range [][]string{{"policy", "check"}, {"policy", "check", "alice", "pull", "my-app"}} {
		code, out, errs := typed("", env, args...)
		wantCode(t, exitUsage, code, errs)
		if out != "" || errs != want {
			t.Errorf("%v: printed %q and %q, want %q", args, out, errs, want)
		}
	}
}

func TestTheDefaultPolicyIsOneThatCanBeStartedFrom(t *testing.T) {
	code, out, errs := typed("", environment(), "policy", "default")
	wantCode(t, exitOK, code, errs)
	users := "HTPASSWD=" + usersFile(t, "alice")
	code, _, errs = typed("", environment(users, "POLICY="+writeFile(t, "policy.yaml", out)), "policy", "check", "alice", "push", "my-image")
	wantCode(t, exitOK, code, errs)
}
