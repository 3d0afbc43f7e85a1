package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// list prints what is cached and what is hosted: what the running server says, or, without one, what its directory holds.
func list(ctx context.Context, in invocation) error {
	set, asJSON := in.flagSet("ls")
	args, err := in.parse(set, 0, 1)
	if err != nil {
		return err
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	repository := ""
	if len(args) == 1 {
		repository = args[0]
	}
	show := printTable
	if *asJSON {
		show = printJSON
	}
	body, err := dialServer(c.Data).do(ctx, http.MethodGet, "/cached", url.Values{"repository": {repository}})
	if errors.Is(err, errNoServer) {
		return offline(c, in.errs, func(s *stored) error { return show(in.out, s.contents(c).list(ctx, repository)) })
	}
	if err != nil {
		return err
	}
	defer body.Close()
	return show(in.out, decodeEntries(body))
}

// flagSet is for a command that may print JSON.
func (in invocation) flagSet(name string) (set *flag.FlagSet, asJSON *bool) {
	set = flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // the error says it
	return set, set.Bool("json", false, "")
}

// parse reads the flags and gives the arguments between and behind them.
func (in invocation) parse(set *flag.FlagSet, least, most int) (args []string, err error) {
	for rest := in.args; ; {
		if err := set.Parse(rest); err != nil {
			return nil, usageError{fmt.Errorf("%s: %w\nusage: %s", set.Name(), err, in.command.usage())}
		}
		flags := len(rest) - set.NArg()
		rest = set.Args()
		if len(rest) == 0 || flags > 0 && in.args[len(in.args)-len(rest)-1] == "--" {
			args = append(args, rest...) // none of these is a flag
			break
		}
		args, rest = append(args, rest[0]), rest[1:]
	}
	if n := len(args); n < least || n > most {
		return nil, usageError{fmt.Errorf("%s: wrong number of arguments: %d\nusage: %s", set.Name(), n, in.command.usage())}
	}
	return args, nil
}

// entryLine is one line of the server's answer: an entry, or why no more come.
type entryLine struct {
	entry
	Error string `json:"error,omitempty"`
}

func decodeEntries(body io.Reader) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for lines := json.NewDecoder(body); ; {
			var line entryLine
			err := lines.Decode(&line)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && line.Error != "" {
				err = errors.New(line.Error)
			}
			if !yield(line.entry, err) || err != nil {
				return
			}
		}
	}
}

func printTable(w io.Writer, entries iter.Seq2[entry, error]) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "REPOSITORY\tTAG\tDIGEST\tWHERE\tCHECKED")
	for e, err := range entries {
		if err != nil {
			return errors.Join(table.Flush(), err)
		}
		where, checked := "cached", humanize.RelTime(e.Checked, time.Now(), "ago", "ahead")
		if e.Hosted {
			where, checked = "hosted", ""
		}
		fmt.Fprintf(table, "%s\t%s\t%.19s\t%s\t%s\n", e.Repository, e.Tag, e.Digest, where, checked)
	}
	return table.Flush()
}

func printJSON(w io.Writer, entries iter.Seq2[entry, error]) error {
	lines := json.NewEncoder(w)
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := lines.Encode(e); err != nil {
			return err
		}
	}
	return nil
}
