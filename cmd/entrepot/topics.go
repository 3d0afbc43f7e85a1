package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// helpCommand is cobra's, but that it fails for what is not there.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Help about a command",
		Example: `  entrepot help robot add
  entrepot help exit-codes`,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, member := range about.Commands() {
				if !member.Hidden {
					names = append(names, cobra.CompletionWithDesc(member.Name(), member.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = unknownCommand(about, rest)
			}
			if err != nil {
				return misuse(c, err)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// exitCodesTopic is a page of the help, and no command.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit status of a command says",
		Long: strings.TrimSpace(`
0  It is done.
1  It failed, or the answer is no: policy check says that it is not allowed,
   verify found damage in what was pushed, purge found nothing to forget, warm
   did not get all of every image, healthcheck finds no server that is well.
2  The arguments or the configuration are wrong: to try again changes nothing.

Errors and progress are lines on the standard error, one for each mistake.
What is asked for is on the standard output, and nothing else is.`),
	}
}

// variablesTopic is docs/configuration.md for those who have the program alone.
func variablesTopic(in invocation) *cobra.Command {
	c := &cobra.Command{Use: "variables", Short: "The environment variables of the configuration"}
	c.SetHelpFunc(func(*cobra.Command, []string) {
		fmt.Fprintln(in.out, "Each with its default, where it has one.")
		explainVariables(in.out, prefix, Config{})
		fmt.Fprint(in.out, "\nOne upstream's details; n is any number, which only holds them together.\n")
		explainVariables(in.out, blockPrefix("n"), UpstreamBlock{})
	})
	return c
}

func explainVariables(w io.Writer, prefix string, config any) {
	for _, v := range variables(config) {
		fmt.Fprintf(w, "\n%s%s=%s\n", prefix, v.Name, v.Default)
		line := "   "
		for _, word := range strings.Fields(v.Doc) {
			if len(line)+1+len(word) > 79 {
				fmt.Fprintln(w, line)
				line = "   "
			}
			line += " " + word
		}
		fmt.Fprintln(w, line)
	}
}
