package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestACommandSaysHowItIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		args string
		want int
		says string
	}{
		"all of them":             {"--help", exitOK, "\n  entrepot [command]\n"},
		"of two words":            {"robot add --help", exitOK, "\n  entrepot robot add NAME [flags]\n"},
		"of one":                  {"htpasswd -h", exitOK, "\n  entrepot htpasswd USER [flags]\n"},
		"without arguments":       {"healthcheck --help", exitOK, "Ask the running server"},
		"help behind an argument": {"purge nginx --help", exitOK, "\n  entrepot purge IMAGE [flags]\n"},
		"help before the command": {"help robot add", exitOK, "\n  entrepot robot add NAME [flags]\n"},
		"a family":                {"robot --help", exitOK, "\n  revoke      End an account"},
		"a family in help":        {"help robot", exitOK, "\n  revoke      End an account"},

		"too few arguments": {"robot add", exitUsage, "entrepot: robot add: NAME is missing\nentrepot: usage: entrepot robot add NAME [flags]\n"},
		"a part of several": {"policy check alice", exitUsage, "entrepot: policy check: ACTION is missing\n"},
		"too many":          {"ls a b", exitUsage, "entrepot: ls: unexpected argument \"b\"\nentrepot: usage: entrepot ls [REPOSITORY] [flags]\n"},
		"an argument of a command that takes none": {"version now", exitUsage, "entrepot: usage: entrepot version [flags]\n"},
		"an unknown flag":                          {"ls --yaml", exitUsage, "entrepot: ls: unknown flag: --yaml\nentrepot: usage: entrepot ls [REPOSITORY] [flags]\n"},
		"a flag that cannot be":                    {"verify --rate fast", exitUsage, "\"fast\" is not a size"},
		"a flag without its value":                 {"gc --grace", exitUsage, "entrepot: gc: flag needs an argument: --grace\n"},
		"a family alone":                           {"robot", exitUsage, "entrepot: robot: which one?\nentrepot: usage: entrepot robot add|list|revoke\n"},
		"a family's unknown member":                {"robot ad ci", exitUsage, "entrepot: robot: no command \"ad\"; did you mean add?\n"},
		"a member by another name":                 {"robot rm ci", exitUsage, "did you mean revoke?\n"},
		"an unknown command":                       {"frobnicate", exitUsage, "entrepot: no command \"frobnicate\"\nentrepot: usage: entrepot [command]\n"},
		"a misspelt command":                       {"helthcheck", exitUsage, "no command \"helthcheck\"; did you mean healthcheck?\n"},
		"a command by another name":                {"list", exitUsage, "no command \"list\"; did you mean ls?\n"},
		"help for what is not":                     {"help servr", exitUsage, "entrepot: help: no command \"servr\"; did you mean serve?\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := typed("", environment(), strings.Fields(c.args)...)
			wantCode(t, c.want, code, errs)
			if c.want == exitOK && errs != "" || c.want != exitOK && out != "" {
				t.Errorf("help is asked for or is an error: printed %q and %q", out, errs)
			}
			if !strings.Contains(out+errs, c.says) {
				t.Errorf("got %q, want %q", out+errs, c.says)
			}
			if family := strings.HasPrefix(c.args, "robot"); family && strings.Contains(out+errs, "healthcheck") {
				t.Errorf("other commands are listed: %s", out+errs)
			}
		})
	}
}

func TestFlagsMayStandBehindArguments(t *testing.T) {
	for name, c := range map[string]struct{ args, want string }{
		"before":           {"--json a b", "a b"},
		"between":          {"a --json b", "a b"},
		"behind":           {"a b --json", "a b"},
		"not flags":        {"--json a -- --json", "a --json"},
		"none of them any": {"--json -- -a b", "-a b"},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			command := &cobra.Command{Use: "test ONE OTHER", Args: asUsed, Run: func(_ *cobra.Command, args []string) { got = strings.Join(args, " ") }}
			asJSON := jsonFlag(command)
			command.SetArgs(strings.Fields(c.args))
			if err := command.Execute(); err != nil || !*asJSON || got != c.want {
				t.Errorf("got %q, %v, %v, want %q", got, *asJSON, err, c.want)
			}
		})
	}
}

func TestArgumentsAreThoseThatTheUsageNames(t *testing.T) {
	for _, c := range []struct{ use, args, says string }{
		{"ls", "", ""},
		{"ls", "a", `unexpected argument "a"`},
		{"ls [REPOSITORY]", "", ""},
		{"ls [REPOSITORY]", "a", ""},
		{"ls [REPOSITORY]", "a b", `unexpected argument "b"`},
		{"purge IMAGE", "", "IMAGE is missing"},
		{"purge IMAGE", "a", ""},
		{"purge IMAGE", "a b", `unexpected argument "b"`},
		{"check [USER ACTION IMAGE]", "", ""},
		{"check [USER ACTION IMAGE]", "a", "ACTION is missing"},
		{"check [USER ACTION IMAGE]", "a b", "IMAGE is missing"},
		{"check [USER ACTION IMAGE]", "a b c", ""},
		{"check [USER ACTION IMAGE]", "a b c d", `unexpected argument "d"`},
		{"warm IMAGE...", "", "IMAGE is missing"},
		{"warm IMAGE...", "a b c", ""},
		{"warm [IMAGE...]", "", ""},
		{"warm [IMAGE...]", "a b c", ""},
	} {
		got := ""
		if err := asUsed(&cobra.Command{Use: c.use}, strings.Fields(c.args)); err != nil {
			got = err.Error()
		}
		if got != c.says {
			t.Errorf("%s: %q: got %q, want %q", c.use, c.args, got, c.says)
		}
	}
}
