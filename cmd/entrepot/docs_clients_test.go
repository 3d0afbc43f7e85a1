package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/proxy/clientconfig"
)

// What pages show of clients' files is what client-config prints.
func TestDocumentedClientFilesAreThoseOfTheCommand(t *testing.T) {
	var contents []string
	lines := map[string]bool{}
	for _, url := range []string{"http://127.0.0.1:5000", "http://cache.corp:5000"} {
		for _, c := range clientconfig.Clients() {
			steps, err := clientconfig.Config(c.Word, clientconfig.Server{URL: url, Upstreams: builtInUpstreams(t), Default: "docker.io"})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range steps {
				contents = append(contents, s.Content)
				for scan := bufio.NewScanner(strings.NewReader(s.Content)); scan.Scan(); {
					lines[strings.TrimSpace(scan.Text())] = true
				}
			}
		}
	}
	found := 0
	for _, name := range []string{"README.md", "docs/clients.md"} {
		for _, f := range readPage(t, name).fence {
			switch f.language {
			case "json":
				found++
				if !slices.ContainsFunc(contents, func(c string) bool { return sameJSON(c, f.text) }) {
					t.Errorf("%s shows a file that client-config does not print: %s", name, f.text)
				}
			case "toml", "yaml":
				found++
				for line := range strings.Lines(f.text) {
					if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !lines[line] {
						t.Errorf("%s shows a line that client-config does not print: %s", name, line)
					}
				}
			}
		}
	}
	if found < 6 {
		t.Errorf("found only %d files", found)
	}
}

func builtInUpstreams(t *testing.T) (hosts []string) {
	t.Helper()
	c, err := LoadConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range c.Upstreams {
		hosts = append(hosts, u.Host)
	}
	return hosts
}

func sameJSON(a, b string) bool {
	var compactA, compactB bytes.Buffer
	return json.Compact(&compactA, []byte(a)) == nil && json.Compact(&compactB, []byte(b)) == nil && compactA.String() == compactB.String()
}
