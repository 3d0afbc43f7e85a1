package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// verifyRate is how fast the command verify reads: faster than the scrub, since somebody waits, and slower than disks.
const verifyRate Size = 200 << 20

func verifyCommand(in invocation) *cobra.Command {
	rate := verifyRate
	c := &cobra.Command{
		Use:        "verify",
		Short:      "Read everything again and compare it with its digests",
		SuggestFor: []string{"check", "scrub", "fsck"},
		Long: `Read everything that is kept and compare it with its digests. What is damaged
in the cache is dropped and fetched again when it is wanted; what is damaged of
what was pushed is not served until it is pushed again, and makes the exit
status 1.`,
		Example: `  entrepot verify
  entrepot verify --rate 50MiB --json`,
	}
	asJSON := jsonFlag(c)
	c.Flags().Func("rate", fmt.Sprintf("read at most this `SIZE` a second; 0 is no limit (default %s)", rate), func(text string) error {
		return rate.UnmarshalText([]byte(text))
	})
	c.RunE = in.configured(func(ctx context.Context, c Config, _ []string) error { return in.verify(ctx, c, rate, *asJSON) })
	return c
}

// verify reads everything again: in the running server or, without one, in its directory. Damaged hosted content is an
// error, even when it was known before.
func (in invocation) verify(ctx context.Context, c Config, rate Size, asJSON bool) error {
	tell := func(v verified) {
		fmt.Fprintf(in.errs, "read %s hosted, %s cached; damaged: %d, %d\n", humanize.IBytes(uint64(v.Hosted.Bytes)),
			humanize.IBytes(uint64(v.Cached.Bytes)), len(v.Hosted.Damaged), len(v.Cached.Damaged))
	}
	report, err := longTask(ctx, in, c, "/verify", url.Values{"rate": {rate.String()}}, tell, func(u *upkeep) task[verified] { return u.verifyTask(rate) })
	show := printVerified
	if asJSON {
		show = func(_ io.Writer, v verified) error { return printJSON(in, v) }
	}
	hosted, cached := len(report.Hosted.Damaged), len(report.Cached.Damaged)
	if err == nil || hosted+cached > 0 { // also where something else could not be read
		err = errors.Join(show(in.out, report), err)
	}
	if hosted > 0 {
		err = errors.Join(err, fmt.Errorf("damaged hosted contents: %d; they are not served until they are pushed again", hosted))
	}
	return err
}

func (u *upkeep) verifyTask(rate Size) task[verified] {
	return func(ctx context.Context, tell func(verified)) (verified, error) {
		return u.verifyForCommand(ctx, rate, tell)
	}
}

func printVerified(w io.Writer, v verified) error {
	for _, d := range v.Hosted.Damaged {
		if _, err := fmt.Fprintf(w, "hosted %s is damaged\n", d); err != nil {
			return err
		}
	}
	for _, d := range v.Cached.Damaged {
		if _, err := fmt.Fprintf(w, "cached %s was damaged and is dropped\n", d); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "hosted: sound manifests: %d, sound blobs: %d, %s; damaged: %d\ncached: sound blobs: %d, %s; damaged: %d\n",
		v.Hosted.Manifests, v.Hosted.Blobs, humanize.IBytes(uint64(v.Hosted.Bytes)), len(v.Hosted.Damaged),
		v.Cached.Blobs-len(v.Cached.Damaged), humanize.IBytes(uint64(v.Cached.Bytes)), len(v.Cached.Damaged))
	return err
}
