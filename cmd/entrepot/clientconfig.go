package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entrepot/entrepot/proxy/clientconfig"
)

func clientConfigCommand(in invocation) *cobra.Command {
	var words []string
	for _, c := range clientconfig.Clients() {
		words = append(words, cobra.CompletionWithDesc(c.Word, c.Name))
	}
	c := &cobra.Command{
		Use:        "client-config CLIENT",
		Short:      "Print how to make a client use this server",
		SuggestFor: []string{"client", "setup", "mirror"},
		Long: `Print the files to write and the commands to run so that a client uses this
server: docker, containerd, podman, k3s, kind or buildkit. They are made for
ENTREPOT_PUBLIC_URL, or else for the address that the server listens on, and
for its upstreams. Commands are printed as comments. Nothing is changed.`,
		Example: `  entrepot client-config docker
  entrepot client-config containerd --url http://cache.corp:5000
  entrepot client-config podman --json`,
		ValidArgsFunction: cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp),
	}
	asJSON := jsonFlag(c)
	at := c.Flags().String("url", "", "`URL` by which the client reaches the server")
	c.RunE = in.configured(func(_ context.Context, c Config, args []string) error {
		return in.clientConfig(c, args[0], *at, *asJSON)
	})
	return c
}

func (in invocation) clientConfig(c Config, client, at string, asJSON bool) error {
	if at == "" {
		var err error
		if at, err = c.reachable(); err != nil {
			return usageError{fmt.Errorf("client-config: %w", err)}
		}
	}
	names := c.names()
	steps, err := clientconfig.Config(client, clientconfig.Server{URL: at, Upstreams: names.Upstreams, Default: names.Default, Users: c.Htpasswd != ""})
	if err != nil {
		return usageError{fmt.Errorf("client-config: %w", err)}
	}
	if asJSON {
		return printJSON(in, steps...)
	}
	var text strings.Builder
	for i, step := range steps {
		if i > 0 {
			text.WriteString("\n")
		}
		fmt.Fprintf(&text, "# %s\n", step.Does)
		if step.Path != "" {
			fmt.Fprintf(&text, "# %s\n%s", step.Path, step.Content)
			continue
		}
		for line := range strings.Lines(step.Content) {
			text.WriteString("#   " + line) // a comment, so that the text of one file can be redirected into it
		}
	}
	_, err = io.WriteString(in.out, text.String())
	return err
}

// reachable is the URL by which clients reach the server, as far as the configuration tells it.
func (c Config) reachable() (string, error) {
	if c.PublicURL != "" {
		return string(c.PublicURL), nil
	}
	host, port, err := net.SplitHostPort(string(c.Listen))
	if ip := net.ParseIP(host); err != nil || host == "" || ip.IsUnspecified() {
		return "", fmt.Errorf("the server listens on all interfaces (%sLISTEN=%s), so say how clients reach it: --url http://cache.corp:%s, or %sPUBLIC_URL", prefix, c.Listen, port, prefix)
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	if c.TLSCert != "" {
		u.Scheme = "https"
	}
	return u.String(), nil
}
