package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Groups of commands in the help, in this order.
const (
	groupServer   = "server"
	groupContents = "contents"
	groupAccess   = "access"
	groupClients  = "clients"
)

// commandLine is all that can be typed. It sets began when a command begins: what fails before is a mistake in how it
// was called.
func commandLine(in invocation, began *bool) *cobra.Command {
	root := rootCommand(in)
	root.AddGroup(
		&cobra.Group{ID: groupServer, Title: "The server:"},
		&cobra.Group{ID: groupContents, Title: "Contents:"},
		&cobra.Group{ID: groupAccess, Title: "Who may do what:"},
		&cobra.Group{ID: groupClients, Title: "Clients:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
		}
		root.AddCommand(commands...)
	}
	add(groupServer, serveCommand(in), configCommand(in), healthcheckCommand(in))
	add(groupContents, lsCommand(in), warmCommand(in), purgeCommand(in), gcCommand(in), verifyCommand(in))
	add(groupAccess, htpasswdCommand(in), robotCommand(in), policyCommand(in))
	add(groupClients, clientConfigCommand(in), completionCommand(in))
	add("", versionCommand(in), exitCodesTopic(), variablesTopic(in))
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd() // adds it
	prepare(root, began)
	return root
}

func rootCommand(in invocation) *cobra.Command {
	root := &cobra.Command{
		Use:   "entrepot",
		Short: "A pull-through cache for container registries that also hosts images",
		Long: `A pull-through cache for container registries that also hosts what is
pushed to it. Without a command, it serves. Its configuration is environment
variables: entrepot help variables explains it, entrepot config prints it.`,
		Example: `  entrepot
  entrepot healthcheck
  entrepot ls docker.io/library/nginx`,
		Args:                       unknownCommand,
		RunE:                       in.configured(in.serve),
		Version:                    strings.TrimPrefix(build().String(), "entrepot "),
		SilenceErrors:              true, // run reports them
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetArgs(append([]string{}, in.args...)) // nil would be those of the process
	root.SetIn(in.stdin)
	root.SetOut(in.out)
	root.SetErr(in.errs)
	return root
}

// prepare gives every command what all have alike.
func prepare(c *cobra.Command, began *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			*began = true
			return run(c, args)
		}
		if c.Args == nil {
			c.Args = asUsed
		}
	}
	for _, member := range c.Commands() {
		prepare(member, began)
	}
}

// family is a command that only holds others.
func family(of *cobra.Command, members ...*cobra.Command) *cobra.Command {
	var names []string
	for _, m := range members {
		names = append(names, m.Name())
	}
	of.Use += " " + strings.Join(names, "|")
	of.DisableFlagsInUseLine = true
	of.SuggestionsMinimumDistance = 2
	of.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("which one?")
		}
		return unknownCommand(c, args)
	}
	of.RunE = func(*cobra.Command, []string) error { return nil } // Args lets nothing pass
	of.AddCommand(members...)
	return of
}

// unknownCommand names the commands that may have been meant.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := slices.Compact(c.SuggestionsFor(args[0]))
	if len(meant) == 0 {
		return fmt.Errorf("no command %q", args[0])
	}
	return fmt.Errorf("no command %q; did you mean %s?", args[0], strings.Join(meant, " or "))
}

// misuse says what is wrong with how a command was called, and how to call it.
func misuse(c *cobra.Command, err error) error {
	usage, name := c.UseLine(), strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")+": "
	if c == c.Root() {
		usage, name = c.Name()+" [command]", ""
	}
	return usageError{fmt.Errorf("%s%w\nusage: %s", name, err, usage)}
}

// asUsed wants the arguments that the command's usage names: NAME is one, [NAME] one or none, [NAME OTHER] both or none,
// and of the last there may be many where dots follow it.
func asUsed(c *cobra.Command, args []string) error {
	names, n := strings.Fields(c.Use)[1:], len(args)
	switch {
	case n < len(names) && !strings.HasPrefix(names[n], "["):
		return fmt.Errorf("%s is missing", strings.Trim(names[n], "[]."))
	case n > len(names) && !strings.HasSuffix(strings.TrimSuffix(c.Use, "]"), "..."):
		return fmt.Errorf("unexpected argument %q", args[len(names)])
	}
	return nil
}

// configured reads the configuration before the command begins.
func (in invocation) configured(do func(context.Context, Config, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		config, err := in.configure()
		if err != nil {
			return err
		}
		return do(c.Context(), config, args)
	}
}

// configure reads the configuration for a command.
func (in invocation) configure() (Config, error) {
	c, err := LoadConfig(in.environment)
	if err != nil {
		return Config{}, usageError{err}
	}
	return c, nil
}

// jsonFlag is for a command that may print JSON.
func jsonFlag(c *cobra.Command) *bool {
	return c.Flags().Bool("json", false, "print JSON")
}

// printJSON prints values, each on a line of its own.
func printJSON[T any](in invocation, values ...T) error {
	lines := json.NewEncoder(in.out)
	for _, v := range values {
		if err := lines.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

func serveCommand(in invocation) *cobra.Command {
	return &cobra.Command{
		Use:        "serve",
		Short:      "Run the server (the default)",
		SuggestFor: []string{"start", "run", "server"},
		Long: `Run the server until a signal ends it. It drains then for
ENTREPOT_DRAIN_TIMEOUT; a second signal ends it at once. Every mistake in the
configuration is reported before anything is opened, with exit status 2.`,
		Example: `  entrepot serve
  ENTREPOT_LISTEN=0.0.0.0:5000 ENTREPOT_DATA=/var/lib/entrepot entrepot serve`,
		RunE: in.configured(in.serve),
	}
}
