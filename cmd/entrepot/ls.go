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

// list prints what is cached: what the running server says, or, without one, what its directory holds.
func list(ctx context.Context, in invocation) error {
	asJSON, args, err := in.flags("ls", 0, 1)
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
	if asJSON {
		show = printJSON
	}
	body, err := dialServer(c.Data).do(ctx, http.MethodGet, "/cached", url.Values{"repository": {repository}})
	if errors.Is(err, errNoServer) {
		return offline(c, in.errs, func(cached contents) error { return show(in.out, cached.list(ctx, repository)) })
	}
	if err != nil {
		return err
	}
	defer body.Close()
	return show(in.out, decodeEntries(body))
}

// flags reads the arguments of a command that may print JSON.
func (in invocation) flags(name string, least, most int) (asJSON bool, args []string, err error) {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // the error says it
	set.BoolVar(&asJSON, "json", false, "")
	if err := set.Parse(in.args); err != nil {
		return false, nil, usageError{fmt.Errorf("%s: %w", name, err)}
	}
	if n := set.NArg(); n < least || n > most {
		return false, nil, usageError{fmt.Errorf("%s: wrong number of arguments: %d", name, n)}
	}
	return asJSON, set.Args(), nil
}

// entryLine is one line of the server's answer: an entry, or why no more come.
type entryLine struct {
	cachedEntry
	Error string `json:"error,omitempty"`
}

func decodeEntries(body io.Reader) iter.Seq2[cachedEntry, error] {
	return func(yield func(cachedEntry, error) bool) {
		for lines := json.NewDecoder(body); ; {
			var line entryLine
			err := lines.Decode(&line)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && line.Error != "" {
				err = errors.New(line.Error)
			}
			if !yield(line.cachedEntry, err) || err != nil {
				return
			}
		}
	}
}

func printTable(w io.Writer, entries iter.Seq2[cachedEntry, error]) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "REPOSITORY\tTAG\tDIGEST\tCHECKED")
	for e, err := range entries {
		if err != nil {
			return errors.Join(table.Flush(), err)
		}
		fmt.Fprintf(table, "%s\t%s\t%.19s\t%s\n", e.Repository, e.Tag, e.Digest, humanize.RelTime(e.Checked, time.Now(), "ago", "ahead"))
	}
	return table.Flush()
}

func printJSON(w io.Writer, entries iter.Seq2[cachedEntry, error]) error {
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
