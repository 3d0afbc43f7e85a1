package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func healthcheckCommand(in invocation) *cobra.Command {
	return &cobra.Command{
		Use:        "healthcheck",
		Short:      "Ask the running server whether it is well",
		SuggestFor: []string{"ping", "status", "ready"},
		Long: `Ask the running server whether it is well, at ENTREPOT_ADMIN_LISTEN or, where
that is off, at the socket in ENTREPOT_DATA. It prints nothing where all is
well, and fails after three seconds without an answer.`,
		Example: `  entrepot healthcheck`,
		RunE:    in.configured(healthcheck),
	}
}

// healthcheck asks the admin listener, or the socket where there is none: a volume may be of a kind that has no sockets.
func healthcheck(ctx context.Context, c Config, _ []string) error {
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
		return fmt.Errorf("no server answers at %sADMIN_LISTEN=%s: %w", prefix, c.AdminListen, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // as much of the reason as arrives
		return fmt.Errorf("not healthy: %s %s", response.Status, text)
	}
	return nil
}
