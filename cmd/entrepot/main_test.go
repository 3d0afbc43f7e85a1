package main

import (
	"strings"
	"testing"
)

func TestACommandSaysHowItIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		args string
		want int
		says string
	}{
		"of two words":            {"robot add --help", exitOK, "usage: entrepot robot add [--expires 90d]"},
		"of one":                  {"htpasswd -h", exitOK, "usage: entrepot htpasswd [--delete]"},
		"without arguments":       {"healthcheck --help", exitOK, "usage: entrepot healthcheck\nask the running server"},
		"help behind an argument": {"purge nginx --help", exitOK, "usage: entrepot purge [--json] REF\n"},
		"a family":                {"robot --help", exitOK, "robot revoke [--json] NAME"},
		"too few arguments":       {"robot add", exitUsage, "robot add: wrong number of arguments: 0\nentrepot: usage: entrepot robot add [--expires 90d]"},
		"too many":                {"ls a b", exitUsage, "usage: entrepot ls [--json] [REPOSITORY]\n"},
		"an argument of a command that takes none": {"version now", exitUsage, "usage: entrepot version\n"},
		"an unknown flag":                          {"ls --yaml", exitUsage, "usage: entrepot ls [--json] [REPOSITORY]\n"},
		"a family's unknown member":                {"robot ad ci", exitUsage, "robot add "},
		"an unknown command":                       {"server", exitUsage, "  healthcheck "},
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
			in := invocation{args: strings.Fields(c.args)}
			set, asJSON := in.flagSet("test")
			args, err := in.parse(set, 2, 2)
			if got := strings.Join(args, " "); err != nil || !*asJSON || got != c.want {
				t.Errorf("got %q, %v, %v, want %q", got, *asJSON, err, c.want)
			}
		})
	}
}
