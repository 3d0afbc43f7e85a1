package compose

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/server"
)

// TestSettingsAreKnown: a name that the server does not know would keep it from starting, if somebody gave it a value.
func TestSettingsAreKnown(t *testing.T) {
	known, code := server.New(t, server.Options{Env: map[string]string{
		"UPSTREAM_0_HOST": "docker.io", "UPSTREAM_0_USERNAME": "somebody", "UPSTREAM_0_PASSWORD": "x", "HTPASSWD": "/users",
	}}).Run("config")
	if code != 0 {
		t.Fatalf("config ends with %d: %s", code, known)
	}
	for file, form := range map[string]string{
		"docker-compose.yml":              `(?m)^      (ENTREPOT_\w+):`, // of the container, not of the file itself
		"deploy/compose/s3.env":           `(?m)^(ENTREPOT_\w+)=`,
		"deploy/compose/tls.env":          `(?m)^(ENTREPOT_\w+)=`,
		"deploy/systemd/entrepot.env":     `(?m)^#?(ENTREPOT_\w+)=`,
		"deploy/systemd/entrepot.service": `(?m)^Environment=(ENTREPOT_\w+)=`,
	} {
		names := regexp.MustCompile(form).FindAllStringSubmatch(read(t, file), -1)
		if len(names) == 0 {
			t.Errorf("%s names no setting", file)
		}
		for _, name := range names {
			if !strings.Contains("\n"+known, "\n"+strings.TrimSuffix(name[1], "_FILE")+"=") {
				t.Errorf("%s has %s, which the server does not know", file, name[1])
			}
		}
	}
}

// read gives a file of the checkout.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(server.Root(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
