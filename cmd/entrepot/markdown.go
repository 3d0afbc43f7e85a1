package main

import (
	"fmt"
	"io"
	"strings"
)

const markdownHead = `# Configuration

<!-- Written by "make docs" from the struct in cmd/entrepot/config.go. Edit that. -->

entrepôt reads its configuration from environment variables and from nothing else. An empty variable counts as not set, but for ` + "`ENTREPOT_HTPASSWD`" + `. A name
that begins with ` + "`ENTREPOT_`" + ` and is not listed here is refused, and all mistakes are reported at once.

- Sizes are written ` + "`512MiB`, `10GiB`, `500MB`" + `; durations ` + "`30s`, `5m`, `24h`" + `; yes and no are ` + "`true` and `false`" + `.
- ` + "`entrepot config`" + ` prints the effective values with secrets as stars.
- ` + "`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`" + ` apply to requests to upstreams and to S3, ` + "`GOMEMLIMIT`" + ` to the process, and the AWS SDK's own variables (` + "`AWS_...`" + `) to S3 and ECR.

## Server
`

const markdownUpstream = `
## One upstream

A block of variables gives one upstream its details. ` + "`n`" + ` is any number; it only holds the block together. Every block needs its ` + "`HOST`" + `:

` + "```sh" + `
ENTREPOT_UPSTREAM_0_HOST=docker.io
ENTREPOT_UPSTREAM_0_USERNAME=somebody
ENTREPOT_UPSTREAM_0_PASSWORD_FILE=/run/secrets/hub-token
` + "```" + `
`

// writeMarkdown writes docs/configuration.md.
func writeMarkdown(w io.Writer) error {
	var page strings.Builder
	page.WriteString(markdownHead)
	writeTable(&page, prefix, Config{})
	page.WriteString(markdownUpstream)
	writeTable(&page, blockPrefix("n"), UpstreamBlock{})
	_, err := io.WriteString(w, page.String())
	return err
}

func writeTable(w io.Writer, prefix string, config any) {
	fmt.Fprint(w, "\n| variable | default | meaning |\n|---|---|---|\n")
	for _, v := range variables(config) {
		standard := ""
		if v.Default != "" {
			standard = "`" + strings.ReplaceAll(v.Default, ",", "`, `") + "`"
		}
		fmt.Fprintf(w, "| `%s%s` | %s | %s |\n", prefix, v.Name, standard, v.Doc)
	}
}
