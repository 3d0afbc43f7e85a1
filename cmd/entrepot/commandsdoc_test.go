package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const commandsHead = "# Commands\n\n" +
	"<!-- Written by \"make docs\" from the commands in cmd/entrepot. Edit those. -->\n\n" +
	"`entrepot` alone serves. `entrepot help COMMAND` explains a command, `entrepot help variables` the configuration.\n" +
	"`ls`, `purge`, `gc`, `verify` and `robot` ask the running server over a socket in `ENTREPOT_DATA`, so they want its environment and its user; without a server they work on\n" +
	"that directory themselves. In a container: `docker exec entrepot /entrepot ls`.\n"

// commandsPage is docs/commands.md.
func commandsPage(root *cobra.Command) string {
	page := strings.Builder{}
	page.WriteString(commandsHead)
	groups := append(root.Groups(), &cobra.Group{Title: "Beside them:"})
	for _, group := range groups {
		fmt.Fprintf(&page, "\n## %s\n\n| command | |\n|---|---|\n", strings.TrimSuffix(group.Title, ":"))
		var examples strings.Builder
		for _, c := range root.Commands() {
			if c.GroupID == group.ID {
				describe(&page, &examples, c)
			}
		}
		if examples.Len() > 0 {
			fmt.Fprintf(&page, "\n```sh\n%s```\n", &examples)
		}
	}
	fmt.Fprintf(&page, "\n## Exit status\n\n```\n%s\n```\n", exitCodesTopic().Long)
	return page.String()
}

// describe writes a row for a command, or one for each of a family's, and their examples.
func describe(rows, examples *strings.Builder, c *cobra.Command) {
	switch {
	case !c.Runnable() || c.Hidden:
	case c.HasSubCommands():
		for _, member := range c.Commands() {
			describe(rows, examples, member)
		}
	default:
		fmt.Fprintf(rows, "| `%s` | %s |\n", strings.ReplaceAll(usageWithFlags(c), "|", `\|`), c.Short)
		for line := range strings.Lines(c.Example) {
			examples.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
}

// usageWithFlags is the usage with each flag by its name.
func usageWithFlags(c *cobra.Command) string {
	words := []string{c.CommandPath()}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		value, _ := pflag.UnquoteUsage(f)
		if !f.Hidden && f.Name != "help" {
			words = append(words, "["+strings.TrimSpace("--"+f.Name+" "+value)+"]")
		}
	})
	return strings.Join(append(words, strings.Fields(c.Use)[1:]...), " ")
}

func TestCommandsPageIsCurrent(t *testing.T) {
	const path = "../../docs/commands.md"
	want := commandsPage(aCommandLine())
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/commands.md is not what the commands say: run make docs")
	}
}

func TestCommandsPageHasEveryCommand(t *testing.T) {
	page := commandsPage(aCommandLine())
	for path, c := range everyCommand(aCommandLine()) {
		if c.Runnable() && !c.HasSubCommands() && !regexp.MustCompile("\n\\| `"+path+"[ `]").MatchString(page) {
			t.Errorf("%s is missing", path)
		}
	}
	if lines := strings.Count(page, "\n"); lines > 140 {
		t.Errorf("%d lines are more than two screens", lines)
	}
	if strings.Contains(page, "--markdown") {
		t.Error("it shows what is hidden")
	}
}
