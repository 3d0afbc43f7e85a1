package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/entrepot/entrepot/storage/hosted"
)

// gcRequest is what the command gc asks for.
type gcRequest struct {
	dryRun bool
	grace  string // as it was written; empty: the server's own
}

func (q gcRequest) values() url.Values {
	return url.Values{"dry-run": {strconv.FormatBool(q.dryRun)}, "grace": {q.grace}}
}

func (q gcRequest) options() (hosted.CollectOptions, error) {
	o := hosted.CollectOptions{DryRun: q.dryRun, Grace: -1}
	if q.grace == "" {
		return o, nil
	}
	var grace Duration
	if err := grace.UnmarshalText([]byte(q.grace)); err != nil {
		return o, fmt.Errorf("grace: %w", err)
	}
	o.Grace = time.Duration(grace)
	return o, nil
}

func gcCommand(in invocation) *cobra.Command {
	var q gcRequest
	c := &cobra.Command{
		Use:        "gc",
		Short:      "Delete pushed blobs that no manifest names, abandoned uploads and the like",
		SuggestFor: []string{"collect", "prune", "garbage-collect"},
		Long: `Delete what was pushed and no manifest names any more: blobs, abandoned
uploads, parts of either. The server does this by itself each
ENTREPOT_GC_INTERVAL; pushes and pulls go on meanwhile. Manifests stay unless
ENTREPOT_GC_UNTAGGED says otherwise.`,
		Example: `  entrepot gc --dry-run
  entrepot gc --grace 1h --json`,
	}
	asJSON := jsonFlag(c)
	c.Flags().BoolVar(&q.dryRun, "dry-run", false, "only say what would be deleted")
	c.Flags().StringVar(&q.grace, "grace", "", "spare what was pushed within this `DURATION` (default ENTREPOT_GC_GRACE)")
	c.RunE = in.configured(func(ctx context.Context, c Config, _ []string) error { return in.gc(ctx, c, q, *asJSON) })
	return c
}

// gc collects in the running server or, without one, in its directory.
func (in invocation) gc(ctx context.Context, c Config, q gcRequest, asJSON bool) error {
	o, err := q.options()
	if err != nil {
		return usageError{fmt.Errorf("gc: %w", err)}
	}
	tell := func(r hosted.CollectReport) {
		fmt.Fprintf(in.errs, "looked at repositories: %d, manifests: %d; %s blobs: %d\n", r.Repositories, r.Manifests, freed(r), r.Freed)
	}
	report, err := longTask(ctx, in, c, "/gc", q.values(), tell, func(u *upkeep) task[hosted.CollectReport] { return u.gcTask(o) })
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(in, report)
	}
	return printCollection(in.out, report)
}

func (u *upkeep) gcTask(o hosted.CollectOptions) task[hosted.CollectReport] {
	return func(ctx context.Context, tell func(hosted.CollectReport)) (hosted.CollectReport, error) {
		o.Progress = tell
		return u.collectForCommand(ctx, o)
	}
}

// longTask has the running server do it, or, without one, does it here with the directory taken.
func longTask[T any](ctx context.Context, in invocation, c Config, path string, query url.Values, tell func(T), do func(*upkeep) task[T]) (report T, err error) {
	body, err := dialServer(c.Data).do(ctx, http.MethodPost, path, query)
	if errors.Is(err, errNoServer) {
		err = offline(c, in.errs, func(s *stored) (err error) {
			u := newUpkeep(s, unseenCounts(), newLogger(c, in.errs))
			defer u.stop()
			report, err = do(u)(ctx, eachSecond(tell))
			return err
		})
		return report, err
	}
	if err != nil {
		return report, err
	}
	defer body.Close()
	return follow(body, tell)
}

func freed(r hosted.CollectReport) string {
	if r.DryRun {
		return "would free"
	}
	return "freed"
}

func printCollection(w io.Writer, r hosted.CollectReport) error {
	_, err := fmt.Fprintf(w, "kept repositories: %d, manifests: %d, blobs: %d of %s\n%s blobs: %d of %s; deleted untagged manifests: %d, abandoned uploads: %d, orphaned parts: %d\n",
		r.Repositories, r.Manifests, r.Blobs, humanize.IBytes(uint64(r.Bytes)),
		freed(r), r.Freed, humanize.IBytes(uint64(r.FreedBytes)), r.Untagged, r.Uploads, r.Orphans)
	if err == nil && r.Condemned > 0 {
		_, err = fmt.Fprintf(w, "condemned blobs: %d; a later run frees them unless somebody pushes them until then\n", r.Condemned)
	}
	return err
}
