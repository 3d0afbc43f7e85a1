// Command entrepot is a pull-through caching proxy for container registries that also hosts what is pushed to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong arguments or configuration: starting again changes nothing
)

func main() {
	ctx := untilSignal()
	os.Exit(run(ctx, invocation{args: os.Args[1:], environment: environ(), stdin: os.Stdin, out: os.Stdout, errs: os.Stderr}))
}

// untilSignal gives a context that the first signal ends. By then signals are given back to the system: a second one ends
// the process.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the first signal, or with the process
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx
}

// invocation is what a command is started with.
type invocation struct {
	args        []string // after the command's name
	command     command
	environment map[string]string
	stdin       io.Reader // nil: nothing comes
	out, errs   io.Writer
}

// command is what its name, one word or two, begins.
type command struct {
	name, args, does string
	run              func(context.Context, invocation) error
}

func commands() []command {
	return []command{
		{"serve", "", "run the server (the default)", serve},
		{"config", "[--markdown]", "print the effective configuration, secrets as stars", printConfig},
		{"ls", "[--json] [REPOSITORY]", "list what is cached and what is hosted, by tag", list},
		{"purge", "[--json] REF", "make the cache forget a tag, a digest or a whole repository: docker.io/library/nginx:1.27", purge},
		{"gc", "[--dry-run] [--grace DURATION] [--json]", "delete pushed blobs that no manifest names, abandoned uploads and the like", gc},
		{"verify", "[--rate SIZE] [--json]", "read everything again, at most 200MiB a second (0: no limit); exit status 1 when something hosted is damaged", verify},
		{"htpasswd", "[--delete] [--file FILE] USER", "set a user's password, which is read from the terminal or from one line of the standard input", htpasswd},
		{"robot add", "[--expires 90d] [--note TEXT] [--json] NAME", "make an account for a pipeline and print its secret; --expires never", addRobot},
		{"robot list", "[--json]", "list the accounts of pipelines", listRobots},
		{"robot revoke", "[--json] NAME", "end the account of a pipeline at once", revokeRobot},
		{"policy check", "[USER ACTION REPO]", "say whether a user, robot+NAME or anonymous may pull, push, delete or admin a repository, and why; exit status 1 when not; without arguments, check the files of users and policy", checkPolicy},
		{"policy default", "", "print the policy that holds for users without a file", printDefaultPolicy},
		{"healthcheck", "", "ask the running server whether it is well", healthcheck},
		{"version", "", "print version and commit", printVersion},
	}
}

func (c command) usage() string { return strings.TrimSpace("entrepot " + c.name + " " + c.args) }

// usageError is a mistake in the arguments or in the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, in invocation) int {
	if len(in.args) == 0 {
		in.args = []string{"serve"}
	}
	if in.args[0] == "help" || isHelp(in.args[0]) {
		printUsage(in.out, commands())
		return exitOK
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if n := len(words); n <= len(in.args) && slices.Equal(words, in.args[:n]) {
			in.args, in.command = in.args[n:], c
			return in.report(c.run(ctx, in))
		}
	}
	return in.unknownCommand()
}

// unknownCommand lists the commands that the first word begins, or all where it begins none.
func (in invocation) unknownCommand() int {
	var family []command
	for _, c := range commands() {
		if strings.HasPrefix(c.name, in.args[0]+" ") {
			family = append(family, c)
		}
	}
	if len(in.args) == 2 && isHelp(in.args[1]) && len(family) > 0 {
		printUsage(in.out, family)
		return exitOK
	}
	fmt.Fprintf(in.errs, "entrepot: no command %q\n", strings.Join(in.args[:min(2, len(in.args))], " "))
	if len(family) == 0 {
		family = commands()
	}
	printUsage(in.errs, family)
	return exitUsage
}

// report prints an error, one line for each mistake, and says how the process ends. That somebody asks for help is none.
func (in invocation) report(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(in.out, "usage: %s\n%s\n", in.command.usage(), in.command.does)
		return exitOK
	}
	for line := range strings.Lines(err.Error() + "\n") {
		fmt.Fprintf(in.errs, "entrepot: %s", line)
	}
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

func printUsage(w io.Writer, some []command) {
	fmt.Fprintln(w, "usage: entrepot [command]")
	for _, c := range some {
		fmt.Fprintf(w, "  %-54s %s\n", strings.TrimSpace(c.name+" "+c.args), c.does)
	}
	fmt.Fprintln(w, "Configuration is by environment variables: see docs/configuration.md.")
}

// configure reads the configuration for a command.
func (in invocation) configure() (Config, error) {
	c, err := LoadConfig(in.environment)
	if err != nil {
		return Config{}, usageError{err}
	}
	return c, nil
}

// noArguments refuses arguments of a command that takes none.
func (in invocation) noArguments() error {
	switch {
	case len(in.args) == 0:
		return nil
	case isHelp(in.args[0]):
		return flag.ErrHelp
	}
	return usageError{fmt.Errorf("unexpected argument %q\nusage: %s", in.args[0], in.command.usage())}
}

func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }

func printVersion(_ context.Context, in invocation) error {
	if err := in.noArguments(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(in.out, build())
	return err
}

func printConfig(_ context.Context, in invocation) error {
	if len(in.args) == 1 && in.args[0] == "--markdown" {
		return writeMarkdown(in.out)
	}
	if err := in.noArguments(); err != nil {
		return err
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	for name, value := range c.settings() {
		if _, err := fmt.Fprintf(in.out, "%s=%s\n", name, value); err != nil {
			return err
		}
	}
	return nil
}
