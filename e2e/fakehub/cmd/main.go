// Command cmd runs a fake Docker Hub by hand:
//
//	go run ./fakehub/cmd -addr 127.0.0.1:7301 -bandwidth 25000000 -latency 30ms
//
// It has library/small:1 (1 MiB), library/big:1 (three layers of 100 MiB) and the multi-arch library/multi:1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

func main() {
	var o fakehub.Options
	flag.StringVar(&o.Addr, "addr", "127.0.0.1:7301", "address of the registry")
	flag.BoolVar(&o.TLS, "tls", false, "https")
	flag.StringVar(&o.CAFile, "ca", "", "file that the CA certificate is written to")
	flag.BoolVar(&o.NoAuth, "no-auth", false, "ask no tokens")
	flag.BoolVar(&o.NoRedirect, "no-redirect", false, "send blobs from the registry itself")
	flag.BoolVar(&o.NoRanges, "no-ranges", false, "ignore Range")
	flag.BoolVar(&o.NoReferrers, "no-referrers", false, "no referrers API")
	flag.DurationVar(&o.TokenLife, "token-life", 0, "life of a token (300s)")
	flag.DurationVar(&o.URLLife, "url-life", 0, "life of a signed address (60s)")
	flag.Int64Var(&o.Bandwidth, "bandwidth", 0, "bytes a second of each connection")
	flag.DurationVar(&o.Latency, "latency", 0, "wait before each answer")
	flag.IntVar(&o.RateLimit, "rate-limit", 0, "manifest GETs allowed")
	flag.Parse()
	o.Log = os.Stderr
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o fakehub.Options) error {
	h, err := fakehub.Start(o)
	if err != nil {
		return err
	}
	defer h.Close()
	fill(h)
	fmt.Printf("registry %s\ntokens   %s\ncdn      %s\nca       %s\n",
		h.URL(), h.HostAddr(fakehub.Token), h.HostAddr(fakehub.CDN), h.CAFile())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return nil
}

func fill(h *fakehub.Hub) {
	h.Repo("library/small").AddImage(fakehub.NewImage(fakehub.Spec{Layers: []int64{1 << 20}, Docker: true}), "1", "latest")
	h.Repo("library/big").AddImage(fakehub.NewImage(fakehub.Spec{Layers: []int64{100 << 20, 100 << 20, 100 << 20}, Seed: 1}), "1", "latest")
	amd := fakehub.NewImage(fakehub.Spec{Layers: []int64{1 << 20}, Seed: 2})
	arm := fakehub.NewImage(fakehub.Spec{Layers: []int64{1 << 20}, Seed: 3, Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}})
	images := []fakehub.Image{amd, arm}
	h.Repo("library/multi").AddIndex(fakehub.NewIndex(false, images...), images, "1", "latest")
}
