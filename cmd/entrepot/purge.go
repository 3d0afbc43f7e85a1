package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func purgeCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:        "purge IMAGE",
		Short:      "Make the cache forget a tag, a digest or a whole repository",
		SuggestFor: []string{"rm", "remove", "delete", "forget"},
		Long: `Make the cache forget a tag, a digest or a whole repository; the next pull asks
upstream again. That there is nothing to forget is a failure. What was pushed
is not touched: registry clients delete that.`,
		Example: `  entrepot purge nginx:1.27
  entrepot purge ghcr.io/team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  entrepot purge --json docker.io/library/nginx`,
	}
	asJSON := jsonFlag(c)
	c.RunE = in.configured(func(ctx context.Context, c Config, args []string) error { return in.purge(ctx, c, args[0], *asJSON) })
	c.ValidArgsFunction = unspaced(in.completing(suggestCached))
	return c
}

// purge forgets something cached, in the running server or, without one, in its directory.
func (in invocation) purge(ctx context.Context, c Config, reference string, asJSON bool) error {
	gone, err := purgeThere(ctx, c, reference)
	if errors.Is(err, errNoServer) {
		err = offline(c, in.errs, func(s *stored) (err error) {
			gone, err = s.contents(c).purge(ctx, reference)
			return err
		})
	}
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(in, gone)
	}
	_, err = fmt.Fprintf(in.out, "%s: forgot tags: %d, manifests and blobs: %d\n", gone.Repository, gone.Tags, gone.Digests)
	return err
}

// purgeThere asks the running server.
func purgeThere(ctx context.Context, c Config, reference string) (gone purged, err error) {
	body, err := dialServer(c.Data).do(ctx, http.MethodDelete, "/cached", url.Values{"ref": {reference}})
	if err != nil {
		return purged{}, err
	}
	defer body.Close()
	err = json.NewDecoder(body).Decode(&gone)
	return gone, err
}
