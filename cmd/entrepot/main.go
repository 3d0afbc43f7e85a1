// Command entrepot is a pull-through caching proxy for container registries that also hosts what is pushed to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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

// invocation is what the command line is started with.
type invocation struct {
	args        []string // after the program's name
	environment map[string]string
	stdin       io.Reader // nil: nothing comes
	out, errs   io.Writer
}

// usageError is a mistake in the arguments or in the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run does what the arguments say and gives the exit code.
func run(ctx context.Context, in invocation) int {
	began := false
	root := commandLine(in, &began)
	called, err := root.ExecuteContextC(ctx)
	if err != nil && !began {
		err = misuse(called, err)
	}
	return in.report(err)
}

// report prints an error, one line for each mistake, and says how the process ends.
func (in invocation) report(err error) int {
	if err == nil {
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
