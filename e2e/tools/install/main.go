// Command install makes everything available that the end-to-end tests drive, so that the tests themselves only use it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/entrepot/entrepot/e2e/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := install(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e tools:", err)
		os.Exit(1)
	}
}

func install(ctx context.Context) error {
	if err := tools.Debian(ctx, tools.ClientPackages()...); err != nil {
		return err
	}
	if _, err := tools.Npm(ctx); err != nil {
		return err
	}
	for _, tool := range tools.All() {
		start := time.Now()
		dir, err := tools.Dir(ctx, tool)
		if err != nil {
			return err
		}
		fmt.Printf("%-14s %-16s %4.0f s  %s\n", tool.Name, tool.Version, time.Since(start).Seconds(), dir)
	}
	return nil
}
