package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrepot/entrepot/proxy/access"
)

// completionPatience is how long the key waits that asks for suggestions.
const completionPatience = 300 * time.Millisecond

// suggest gives what may stand for an argument; c is as far as the configuration is known, and typed what is there of it.
type suggest func(ctx context.Context, c Config, typed string) []string

// completing suggests the arguments of a command, by their places. What cannot be found out is not suggested, in silence:
// it would be written into the line that is being typed.
func (in invocation) completing(places ...suggest) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		config, err := LoadConfig(withoutShells(in.environment))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionPatience)
		defer cancel()
		var found []string
		for _, word := range places[len(args)](ctx, config, typed) {
			if strings.HasPrefix(word, typed) {
				found = append(found, word)
			}
		}
		slices.Sort(found)
		return slices.Compact(found), cobra.ShellCompDirectiveNoFileComp
	}
}

// unspaced lets what is suggested be typed on: a tag may follow a repository.
func unspaced(suggest cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		words, directive := suggest(c, args, typed)
		return words, directive | cobra.ShellCompDirectiveNoSpace
	}
}

// withoutShells takes away what the scripts of the shells set for cobra, and what is no variable of ours.
func withoutShells(environment map[string]string) map[string]string {
	rest := maps.Clone(environment)
	delete(rest, prefix+"ACTIVE_HELP")
	delete(rest, prefix+"COMPLETION_DESCRIPTIONS")
	return rest
}

// suggestRepositories suggests what the running server has, cached or hosted.
func suggestRepositories(ctx context.Context, c Config, typed string) []string {
	return c.suggested(ctx, "/suggestions/repositories", typed)
}

// suggestCached suggests what it can purge: repositories and, once a colon is typed, the tags of one.
func suggestCached(ctx context.Context, c Config, typed string) []string {
	return c.suggested(ctx, "/suggestions/cached", typed)
}

func (c Config) suggested(ctx context.Context, path, typed string) (words []string) {
	body, err := dialServer(c.Data).do(ctx, http.MethodGet, path, url.Values{"typed": {typed}})
	if err != nil {
		return nil
	}
	defer body.Close()
	if json.NewDecoder(body).Decode(&words) != nil {
		return nil
	}
	return words
}

// suggestRobots suggests the names of the running server's robots.
func suggestRobots(ctx context.Context, c Config, _ string) (names []string) {
	body, err := dialServer(c.Data).do(ctx, http.MethodGet, "/robots", nil)
	if err != nil {
		return nil
	}
	defer body.Close()
	var list robotList
	if json.NewDecoder(io.LimitReader(body, robotAnswer)).Decode(&list) != nil {
		return nil
	}
	for _, r := range list.Robots {
		names = append(names, r.Name)
	}
	return names
}

// suggestUsers suggests the users of a file, or of the configured one where it is not named.
func suggestUsers(file *string) suggest {
	return func(_ context.Context, c Config, _ string) []string {
		path := *file
		if path == "" {
			path = c.Htpasswd
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		names, _ := access.UserNames(text) // of a file with mistakes none
		return names
	}
}

// suggestSubjects suggests who may be asked about: users, robots and everybody else.
func suggestSubjects(ctx context.Context, c Config, typed string) []string {
	who := append(suggestUsers(new(string))(ctx, c, typed), "anonymous")
	for _, name := range suggestRobots(ctx, c, typed) {
		who = append(who, access.RobotSubject(name).String())
	}
	return who
}

// suggestWords suggests always the same.
func suggestWords(words ...string) suggest {
	return func(context.Context, Config, string) []string { return words }
}

func completionCommand(in invocation) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script by which a shell completes this command line",
		Long: `Print the script by which a shell (` + strings.Join(shells, ", ") + `) completes
commands, flags and what the running server has: repositories, tags, robots.
That of bash needs the package bash-completion.`,
		Example: `  entrepot completion bash > /etc/bash_completion.d/entrepot
  entrepot completion zsh > "${fpath[1]}/_entrepot"
  entrepot completion fish > ~/.config/fish/completions/entrepot.fish
  entrepot completion powershell >> $PROFILE`,
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(in.out, true)
			case "zsh":
				return root.GenZshCompletion(in.out)
			case "fish":
				return root.GenFishCompletion(in.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(in.out)
			}
			return misuse(c, fmt.Errorf("%q is none of: %s", args[0], strings.Join(shells, ", ")))
		},
	}
}

// completeByFiles makes a shell suggest files for the value of a flag, which the command has.
func completeByFiles(c *cobra.Command, flag string) {
	_ = c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	})
}
