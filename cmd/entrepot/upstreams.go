package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/entrepot/entrepot/proxy/upstream"
)

// openUpstreams makes a registry of every configured upstream. Nothing is dialled yet; the error names all mistakes.
func openUpstreams(c Config, events upstream.Events, log *slog.Logger) ([]*upstream.Registry, error) {
	var all []*upstream.Registry
	var errs []error
	for _, block := range c.upstreams() {
		registry, err := upstream.New(upstreamOptions(c, block, events, log))
		errs = append(errs, err)
		all = append(all, registry)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError{err}
	}
	return all, nil
}

func upstreamOptions(c Config, b UpstreamBlock, events upstream.Events, log *slog.Logger) upstream.Options {
	return upstream.Options{
		Host:        canonical(b.Host),
		URL:         string(b.URL),
		Username:    b.Username,
		Password:    b.Secret(),
		Credential:  dockerCredentials(c.DockerConfig),
		Auth:        string(b.Auth),
		TokenHosts:  b.TokenHosts,
		CA:          b.CA,
		ClientCert:  b.ClientCert,
		ClientKey:   b.ClientKey,
		MaxRequests: b.MaxRequests,
		RateFloor:   c.RateFloor,
		Events:      events,
		Log:         log,
	}
}

// dockerCredentials reads a Docker config.json, which may be named by its directory, as Docker's own variable does.
func dockerCredentials(path string) func(context.Context, string) (auth.Credential, error) {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "config.json")
	}
	return upstream.DockerCredentials(path)
}
