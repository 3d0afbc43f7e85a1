package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets this binary be the program where it is called by its name, as shells call it.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "entrepot" {
		main()
	}
	os.Exit(m.Run())
}

// suggestions gives what a shell is told to suggest for the last word, without the words that explain it.
func (r *running) suggestions(args ...string) (words []string) {
	r.t.Helper()
	code, out, errs := r.command(append([]string{"__complete"}, args...)...)
	if code != exitOK || strings.Contains(errs, "entrepot:") {
		r.t.Fatalf("%q: code %d, %s", args, code, errs)
	}
	for line := range strings.Lines(out) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(word, ":") { // what the shell shall do beside
			return words
		}
		words = append(words, word)
	}
	r.t.Fatalf("%q: no end: %s", args, out)
	return nil
}

// withContents starts a server that has docker.io/team/app:1 in its cache, hosts my/app:2, and knows a user and a robot.
func withContents(t *testing.T) *running {
	t.Helper()
	u, data := newUpstreamRegistry(t), t.TempDir()
	open(t, data, func(s *stored) { pushImage(t, s.hosted.Repo("my/app"), "2", []byte("layer")) })
	policy := writeFile(t, "policy.yaml", "hosted: []\nupstream: [{repositories: [\"**\"], pull: [everyone]}]\n")
	r := start(t, "DATA="+data, "UPSTREAMS=docker.io="+u.URL, "HOSTED=my", "HTPASSWD="+usersFile(t, "alice"), "POLICY="+policy)
	r.pull(u)
	r.addRobot("ci")
	return r
}

// untilInTime presses the key again where too little is suggested: on a busy machine the server may answer too late.
func untilInTime(t *testing.T, want string, press func() string) {
	t.Helper()
	got := press()
	for try := 1; try < 20 && got != want; try++ {
		got = press()
	}
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCompletion(t *testing.T) {
	r := withContents(t)
	r.environment[prefix+"ACTIVE_HELP"] = "0" // as the scripts of the shells set it
	for _, c := range []struct{ typed, want string }{
		{"pu", "purge"},
		{"robot ", "add list revoke"},
		{"help robot ", "add list revoke"},
		{"gc --d", "--dry-run"},
		{"completion ", "bash fish powershell zsh"},
		{"config ", ""},
		{"config --", "--help --json"}, // not what is for our own documentation
		{"ls ", "docker.io/team/app my/app"},
		{"ls docker.io/", "docker.io/team/app"},
		{"ls my/app ", ""},
		{"purge ", "docker.io/team/app"}, // what is hosted cannot be purged
		{"purge docker.io/team/app:", "docker.io/team/app:1"},
		{"purge team/app:", "team/app:1"},
		{"purge team/app:1", "team/app:1"},
		{"purge team/app:2", ""},
		{"purge team/other:", ""},
		{"purge ../x:", ""},
		{"robot revoke ", "ci"},
		{"htpasswd ", "alice"},
		{"htpasswd --file /does/not/exist ", ""},
		{"policy check ", "alice anonymous robot+ci"},
		{"policy check alice pu", "pull push"},
		{"policy check alice pull d", "docker.io/team/app"},
	} {
		untilInTime(t, c.want, func() string {
			got := r.suggestions(strings.Split(c.typed, " ")...)
			slices.Sort(got)
			return strings.Join(got, " ")
		})
	}
}

// Whatever is wrong, what is being typed stays as it is, and the key does not hang.
func TestCompletionIsSilentAboutFailures(t *testing.T) {
	silent := t.TempDir()
	l, err := net.Listen("unix", socketPath(silent)) // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, env := range map[string]map[string]string{
		"no server":               environment("DATA=" + t.TempDir()),
		"a server that is silent": environment("DATA=" + silent),
		"a mistake in a variable": environment("TAG_TTL=5"),
		"no file of users":        environment("HTPASSWD=/does/not/exist"),
	} {
		t.Run(name, func(t *testing.T) {
			r := &running{t: t, environment: env}
			for _, args := range [][]string{{"ls", ""}, {"purge", "nginx:"}, {"robot", "revoke", ""}, {"htpasswd", ""}} {
				if got := r.suggestions(args...); len(got) > 0 {
					t.Errorf("%q: got %q", args, got)
				}
			}
		})
	}
}

func TestScriptsOfShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, out, errs := typed("", environment(), "completion", shell)
		if code != exitOK || errs != "" || !strings.Contains(out, "__complete") || !strings.Contains(out, "entrepot") {
			t.Errorf("%s: code %d, %s, script of %d bytes", shell, code, errs, len(out))
		}
	}
	code, out, errs := typed("", environment(), "completion", "tcsh")
	if code != exitUsage || out != "" || !strings.Contains(errs, `"tcsh" is none of: bash, zsh, fish, powershell`) {
		t.Errorf("of another: code %d, %q, %q", code, out, errs)
	}
}

// press stands for the key in a shell without the package bash-completion, of which the script wants one function, and
// without a line that is edited, of which it wants another.
const press = `
_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}; }
compopt() { :; }
source "$1"; shift
COMP_TYPE=9
COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
__start_entrepot
printf '%s\n' "${COMPREPLY[@]}"
`

func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal("no bash: install the package bash")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "entrepot")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	r := withContents(t)
	_, text, _ := r.command("completion", "bash")
	script := writeFile(t, "script", text)
	for _, c := range []struct {
		typed []string
		want  string
	}{
		{[]string{"entrepot", "robot", "revoke", ""}, "ci"},
		{[]string{"entrepot", "ls", "my"}, "my/app"},
	} {
		untilInTime(t, c.want, func() string {
			shell := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "--noprofile", "-c", press, "bash", script}, c.typed...)...)
			shell.Env = []string{"PATH=" + filepath.Dir(program) + ":/usr/bin:/bin"}
			for name, value := range r.environment {
				shell.Env = append(shell.Env, name+"="+value)
			}
			out, err := shell.CombinedOutput()
			if err != nil {
				t.Fatalf("%q: %v: %s", c.typed, err, out)
			}
			return strings.TrimSpace(string(out))
		})
	}
}

func TestFlagsOfFilesAreCompletedByFiles(t *testing.T) {
	r := &running{t: t, environment: map[string]string{}}
	for _, args := range [][]string{{"htpasswd", "--file", "u"}, {"warm", "--file", ""}} {
		code, out, errs := r.command(append([]string{"__complete"}, args...)...)
		if code != exitOK || strings.TrimSpace(out) != ":0" { // what the shell suggests by itself: files
			t.Errorf("%q: code %d, %s%s", args, code, out, errs)
		}
	}
}
