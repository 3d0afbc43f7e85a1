package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// healthcheck asks the admin listener, or the socket where there is none: a volume may be of a kind that has no sockets.
func healthcheck(ctx context.Context, in invocation) error {
	if err := in.noArguments(); err != nil {
		return err
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if c.AdminListen.Off() {
		body, err := dialServer(c.Data).do(ctx, http.MethodGet, "/healthz", nil)
		if err != nil {
			return err
		}
		return body.Close()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.AdminListen.dialable()+"/healthz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return errors.Join(errNoServer, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // as much of the reason as arrives
		return fmt.Errorf("not healthy: %s %s", response.Status, text)
	}
	return nil
}
