package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/spf13/cobra"
)

func configCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:        "config",
		Short:      "Print the effective configuration, secrets as stars",
		SuggestFor: []string{"env", "environment", "settings", "check"},
		Long: `Print the effective configuration, secrets as stars. With exit status 2 it
names every mistake in it, so that it can be checked before a server is started
with it. entrepot policy check does that for the files of users and policy.`,
		Example: `  entrepot config
  entrepot config --json
  ENTREPOT_TAG_TTL=1h entrepot config > /dev/null && systemctl restart entrepot`,
	}
	asJSON := jsonFlag(c)
	markdown := c.Flags().Bool("markdown", false, "write docs/configuration.md")
	_ = c.Flags().MarkHidden("markdown") // it is there
	print := in.configured(func(_ context.Context, c Config, _ []string) error { return in.printConfig(c, *asJSON) })
	c.RunE = func(c *cobra.Command, args []string) error {
		if *markdown {
			return writeMarkdown(in.out)
		}
		return print(c, args)
	}
	return c
}

func (in invocation) printConfig(c Config, asJSON bool) error {
	if asJSON {
		return printJSON(in, maps.Collect(c.settings()))
	}
	for name, value := range c.settings() {
		if _, err := fmt.Fprintf(in.out, "%s=%s\n", name, value); err != nil {
			return err
		}
	}
	return nil
}
