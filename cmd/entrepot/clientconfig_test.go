package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/proxy/clientconfig"
)

func TestClientConfig(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		vars []string
		want []string // in what is printed, or in the error
		code int
	}{
		{"of the address that is listened on", []string{"docker"}, []string{"LISTEN=127.0.0.1:5555"}, []string{`"http://127.0.0.1:5555"`, "# /etc/docker/daemon.json"}, exitOK},
		{"of a listener with TLS", []string{"docker"}, []string{"LISTEN=10.1.2.3:443", "TLS_CERT=c", "TLS_KEY=k"}, []string{`"https://10.1.2.3:443"`}, exitOK},
		{"of the public URL", []string{"podman"}, []string{"LISTEN=:5000", "PUBLIC_URL=https://registry.example"}, []string{`"registry.example/docker.io"`}, exitOK},
		{"of the URL that is said", []string{"k3s", "--url", "http://cache.corp:5000"}, []string{"LISTEN=:5000", "UPSTREAMS=quay.io,docker.io"}, []string{`"quay.io"`, `"http://cache.corp:5000"`}, exitOK},
		{"of all interfaces", []string{"docker"}, []string{"LISTEN=0.0.0.0:5000"}, []string{"--url http://cache.corp:5000", "ENTREPOT_LISTEN"}, exitUsage},
		{"of all interfaces, IPv6", []string{"docker"}, []string{"LISTEN=[::]:5000"}, []string{"--url"}, exitUsage},
		{"of an unknown client", []string{"rkt"}, nil, []string{"docker, containerd, podman, k3s, kind, buildkit"}, exitUsage},
		{"of no client", nil, nil, []string{"CLIENT is missing"}, exitUsage},
		{"of what is no URL", []string{"docker", "--url", "cache.corp:5000"}, nil, []string{"http://cache.corp:5000"}, exitUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := typed("", environment(c.vars...), append([]string{"client-config"}, c.args...)...)
			text := out
			if c.code != exitOK {
				text = errs
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q:\n%s", want, text)
				}
			}
			if code != c.code {
				t.Errorf("exit code %d: %s", code, errs)
			}
		})
	}
}

func TestClientConfigAsJSON(t *testing.T) {
	code, out, _ := typed("", environment(), "client-config", "docker", "--json")
	steps := 0
	for line := range strings.Lines(out) {
		var step clientconfig.Step
		if err := json.Unmarshal([]byte(line), &step); err != nil || step.Does == "" || step.Content == "" {
			t.Errorf("%s: %v", line, err)
		}
		steps++
	}
	if code != exitOK || steps < 3 {
		t.Errorf("code %d, %d steps", code, steps)
	}
}
