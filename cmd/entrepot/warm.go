package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entrepot/entrepot/cache"
)

func warmCommand(in invocation) *cobra.Command {
	q := warmRequest{}
	c := &cobra.Command{
		Use:        "warm [IMAGE...]",
		Short:      "Fetch whole images, so that they can be pulled without their upstream",
		SuggestFor: []string{"pull", "fetch", "prefetch", "preload", "sync"},
		Long: `Fetch images through the cache: every platform, its layers, and what refers
to them, such as signatures. They can be pulled then by tag and by digest while
their upstream is away. The running server does it, with its limits and its
policy; without one, this process does. Since somebody waits for it, it may use
up an upstream's rate limit, below ENTREPOT_RATE_FLOOR too, and then stops. It
says what is missing, and ends with status 1 if anything is. Run again, it
fetches only that.`,
		Example: `  entrepot warm nginx:1.27 gcr.io/distroless/static
  entrepot warm --platform linux/amd64,linux/arm64 --file images.txt
  entrepot warm --json --file - < images.txt`,
	}
	asJSON := jsonFlag(c)
	file := c.Flags().String("file", "", "read more images from `FILE`, one on each line, # begins a comment; - is the standard input")
	completeByFiles(c, "file")
	c.Flags().StringSliceVar(&q.Platforms, "platform", nil, "only these `PLATFORMS` of images that have several: linux/amd64,linux/arm/v7")
	c.Flags().BoolVar(&q.Referrers, "referrers", true, "signatures, SBOMs and what else refers to the images too")
	c.RunE = in.configured(func(ctx context.Context, c Config, args []string) error {
		var err error
		if q.Images, err = in.imagesOf(*file, args); err != nil {
			return usageError{fmt.Errorf("warm: %w", err)}
		}
		return in.warm(ctx, c, q, *asJSON)
	})
	return c
}

// warmRequest is what the command asks for.
type warmRequest struct {
	Images    []string `json:"images"`
	Platforms []string `json:"platforms,omitempty"`
	Referrers bool     `json:"referrers"`
}

// warmState is how far it is and, in the end, what came of each image.
type warmState struct {
	cache.WarmProgress
	Reports []cache.WarmReport `json:"reports,omitempty"`
}

// imagesOf are those that are named, and those of a file.
func (in invocation) imagesOf(file string, named []string) ([]string, error) {
	if file == "" && len(named) == 0 {
		return nil, errors.New("name images, or a file of them by --file")
	}
	images := named
	if file != "" {
		text, err := in.read(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			images = append(images, strings.Fields(line)...)
		}
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("%s names no image", file)
	}
	return images, nil
}

func (in invocation) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(in.stdin)
	}
	return os.ReadFile(file)
}

// warm has the running server fetch the images or, without one, does it here, with the directory taken.
func (in invocation) warm(ctx context.Context, c Config, q warmRequest, asJSON bool) error {
	if _, err := parsePlatforms(q.Platforms); err != nil {
		return usageError{fmt.Errorf("warm: %w", err)}
	}
	shown := in.showWarming()
	state, err := warmThere(ctx, c, q, shown.tell)
	if errors.Is(err, errNoServer) {
		state, err = in.warmHere(ctx, c, q, shown)
	}
	if state.Images > 0 {
		shown.tell(state) // what was not told yet
	}
	shown.end()
	if len(state.Reports) > 0 {
		err = errors.Join(err, in.reportWarmed(state.Reports, asJSON))
	}
	if ctx.Err() != nil {
		return errors.New("warm: interrupted; what came stays, and the same command goes on from there")
	}
	return err
}

func warmThere(ctx context.Context, c Config, q warmRequest, tell func(warmState)) (warmState, error) {
	request, err := json.Marshal(q)
	if err != nil {
		return warmState{}, err
	}
	body, err := dialServer(c.Data).send(ctx, http.MethodPost, "/warm", nil, bytes.NewReader(request))
	if err != nil {
		return warmState{}, err
	}
	defer body.Close()
	return follow(body, tell)
}

// warmHere puts a server together that listens nowhere. Unlike other commands it keeps to the limits that are configured, for it
// fills the cache.
func (in invocation) warmHere(ctx context.Context, c Config, q warmRequest, shown warming) (state warmState, err error) {
	limitMemory(c)
	a, err := wire(c, shown.logs, newLogger(c, shown.logs))
	if err != nil {
		return warmState{}, whoseDirectory(c, err)
	}
	state, err = a.warmer(c).task(q)(ctx, shown.tell)
	a.upkeep.stop()
	return state, errors.Join(err, a.close())
}
