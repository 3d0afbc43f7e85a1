package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func lsCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:        "ls [REPOSITORY]",
		Short:      "List what is cached and what is hosted, by tag",
		SuggestFor: []string{"list", "images", "catalog", "tags"},
		Long: `List what is cached and what is hosted, by tag: of one repository, or of all.
The running server is asked; without one, the data directory is read. With
--json, each line is one tag.`,
		Example: `  entrepot ls
  entrepot ls docker.io/library/nginx
  entrepot ls --json`,
	}
	asJSON := jsonFlag(c)
	c.RunE = in.configured(func(ctx context.Context, c Config, args []string) error {
		return in.list(ctx, c, strings.Join(args, ""), *asJSON)
	})
	c.ValidArgsFunction = in.completing(suggestRepositories)
	return c
}

// list prints what the running server says, or, without one, what its directory holds. An empty repository is all of them.
func (in invocation) list(ctx context.Context, c Config, repository string, asJSON bool) error {
	show := printTable
	if asJSON {
		show = printLines
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

func printLines(w io.Writer, entries iter.Seq2[entry, error]) error {
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
