package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// purge forgets something cached, in the running server or, without one, in its directory.
func purge(ctx context.Context, in invocation) error {
	set, asJSON := in.flagSet("purge")
	args, err := in.parse(set, 1, 1)
	if err != nil {
		return err
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	gone, err := purgeThere(ctx, c, args[0])
	if errors.Is(err, errNoServer) {
		err = offline(c, in.errs, func(s *stored) (err error) {
			gone, err = s.contents(c).purge(ctx, args[0])
			return err
		})
	}
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(in.out).Encode(gone)
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
