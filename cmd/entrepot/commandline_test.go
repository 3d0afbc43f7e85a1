package main

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyCommand gives all commands with what they are called by.
func everyCommand(c *cobra.Command) map[string]*cobra.Command {
	all := map[string]*cobra.Command{c.CommandPath(): c}
	for _, member := range c.Commands() {
		for path, c := range everyCommand(member) {
			all[path] = c
		}
	}
	return all
}

func aCommandLine(args ...string) *cobra.Command {
	return commandLine(invocation{args: args, environment: environment(), out: io.Discard, errs: io.Discard}, new(bool))
}

func TestEveryCommandIsExplained(t *testing.T) {
	all := everyCommand(aCommandLine())
	if len(all) < 15 {
		t.Fatalf("only %d commands", len(all))
	}
	for path, c := range all {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 80 {
			t.Errorf("%s: what it does is one short line: %q", path, c.Short)
		}
		if n := strings.Count(c.Long, "\n"); c.Long != "" && n > 7 {
			t.Errorf("%s: %d lines of explanation", path, n+1)
		}
		for line := range strings.Lines(c.Long) {
			if len(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%s: a long line: %s", path, line)
			}
		}
		if c.Runnable() && !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s has no example", path)
		}
		if c.Runnable() && c != c.Root() && c.Parent() == c.Root() && c.GroupID == "" && c.Name() != "help" && c.Name() != "version" {
			t.Errorf("%s stands in no group of the help", path)
		}
		if f := c.Flags().ShorthandLookup("v"); f != nil && c != c.Root() {
			t.Errorf("%s: -v is the version", path)
		}
	}
}

var (
	setBefore = regexp.MustCompile(`^(.* \| )?([A-Z_0-9]+=\S* )*`) // what is piped into it, and what is set for it
	redirect  = regexp.MustCompile(` (>>?|<|\||&&) .*`)
)

// errParsed ends a command that would begin.
var errParsed = errors.New("parsed")

func TestEveryExampleCanBeTyped(t *testing.T) {
	count := 0
	for path, c := range everyCommand(aCommandLine()) {
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			plain := redirect.ReplaceAllString(setBefore.ReplaceAllString(line, ""), "")
			words, found := strings.CutPrefix(plain+" ", "entrepot ")
			if !found {
				t.Errorf("%s: not an example of this program: %s", path, line)
				continue
			}
			root := aCommandLine(shellWords(words)...)
			var began string
			for path, c := range everyCommand(root) {
				if c.RunE != nil {
					c.RunE = func(*cobra.Command, []string) error { began = path; return errParsed }
				}
			}
			if err := root.Execute(); !errors.Is(err, errParsed) || began != path && c.HasParent() {
				t.Errorf("%s: %q begins %q: %v", path, line, began, err)
			}
			count++
		}
	}
	if count < 15 {
		t.Errorf("only %d examples", count)
	}
}

// shellWords splits at spaces that stand in no quotes.
func shellWords(line string) (words []string) {
	quotes := regexp.MustCompile(`"[^"]*"|[^ ]+`)
	for _, word := range quotes.FindAllString(line, -1) {
		words = append(words, strings.Trim(word, `"`))
	}
	return words
}

func TestExitCodesAreInTheHelp(t *testing.T) {
	for _, args := range [][]string{{"help", "exit-codes"}, {"exit-codes"}} {
		code, out, errs := typed("", environment(), args...)
		if code != exitOK || errs != "" || !strings.Contains(out, "\n2  The arguments or the configuration are wrong") {
			t.Errorf("%v: code %d, %q, %q", args, code, out, errs)
		}
	}
	if _, out, _ := typed("", environment(), "--help"); !strings.Contains(out, "entrepot exit-codes") {
		t.Errorf("the help does not name them: %s", out)
	}
}

func TestVariablesAreInTheHelp(t *testing.T) {
	code, out, errs := typed("", environment("TAG_TTL=5"), "help", "variables") // help is there also for who has made a mistake
	wantCode(t, exitOK, code, errs)
	for _, want := range []string{
		"\n" + prefix + "LISTEN=127.0.0.1:5000\n    Address of the registry. The container image listens on 0.0.0.0:5000.\n",
		"\n" + prefix + "HTPASSWD=\n    File of users (htpasswd, bcrypt only; ",
		"\n" + prefix + "UPSTREAM_n_MAX_REQUESTS=64\n    Requests under way at once.\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in %s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, " ") && len(line) > 80 {
			t.Errorf("a long line: %s", line)
		}
	}
}

func TestJSONForScripts(t *testing.T) {
	users := usersFile(t, "alice")
	env := environment("HTPASSWD="+users, "TAG_TTL=1h")
	for _, c := range []struct {
		args string
		want map[string]any
	}{
		{"version --json", map[string]any{"version": build().Version, "platform": build().Platform}},
		{"config --json", map[string]any{prefix + "TAG_TTL": "1h", prefix + "HTPASSWD": users}},
		{"policy check --json", map[string]any{"users": 1.0, "htpasswd": users, "policy": ""}},
		{"policy check --json alice push team/app", map[string]any{"user": "alice", "action": "push", "repository": "docker.io/team/app", "allowed": false}},
		{"policy check --json alice pull my-image", map[string]any{"user": "alice", "repository": "my-image", "allowed": true}},
	} {
		code, out, errs := typed("", env, strings.Fields(c.args)...)
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); err != nil || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: not one line of JSON: %v: %q, %q", c.args, err, out, errs)
		}
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s: %s is %v, want %v", c.args, name, got[name], want)
			}
		}
		if allowed, asked := c.want["allowed"]; (code == exitOK) == (asked && allowed == false) {
			t.Errorf("%s: code %d, %s", c.args, code, errs)
		}
	}
}

func TestTheVersionByAFlag(t *testing.T) {
	code, out, errs := typed("", environment(), "--version")
	if want := "entrepot version " + strings.TrimPrefix(build().String(), "entrepot ") + "\n"; code != exitOK || out != want {
		t.Errorf("code %d, %q, %q, want %q", code, out, errs, want)
	}
}

func TestAConfigurationIsCheckedBeforeAServerHasIt(t *testing.T) {
	for _, args := range []string{"config", "config --json"} {
		code, out, errs := typed("", environment("TAG_TTL=5", "NEGATIVE_TTl=5s"), strings.Fields(args)...)
		if code != exitUsage || out != "" || strings.Count(errs, "\n") != 2 {
			t.Errorf("%s: code %d, %q, %q; want both mistakes", args, code, out, errs)
		}
	}
}
