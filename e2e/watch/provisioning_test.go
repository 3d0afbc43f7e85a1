package watch

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// What Grafana and Prometheus are told agrees with each other and with where docker-compose.yml puts it.
func TestProvisioningAgreesWithCompose(t *testing.T) {
	type service struct {
		Volumes []any `json:"volumes"` // short ones are strings
	}
	compose := read[struct {
		Services map[string]service `json:"services"`
	}](t, shipped(t, "docker-compose.yml"))
	scraping := read[struct {
		Global struct {
			Interval string `json:"scrape_interval"`
		} `json:"global"`
		Rules []string `json:"rule_files"`
		Jobs  []struct {
			Name    string `json:"job_name"`
			Statics []struct{ Targets []string }
		} `json:"scrape_configs"`
	}](t, shipped(t, "deploy/prometheus/prometheus.yml"))
	sources := read[struct {
		Datasources []struct {
			Type, URL string
			Data      struct {
				Interval string `json:"timeInterval"`
			} `json:"jsonData"`
		}
	}](t, shipped(t, "deploy/grafana/provisioning/datasources/entrepot.yml")).Datasources
	providers := read[struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}](t, shipped(t, "deploy/grafana/provisioning/dashboards/entrepot.yml")).Providers

	if len(sources) != 1 || sources[0].Type != "prometheus" || sources[0].URL != "http://prometheus:9090" {
		t.Fatalf("data sources: %+v", sources)
	}
	if of := scraping.Global.Interval; of == "" || sources[0].Data.Interval != of {
		t.Errorf("Prometheus scrapes every %q, and Grafana believes %q: rates would be taken over too little, or too much", of, sources[0].Data.Interval)
	}
	if len(scraping.Jobs) != 1 || scraping.Jobs[0].Name != "entrepot" || !slices.Equal(scraping.Rules, []string{"alerts.yml"}) {
		t.Errorf("jobs: %+v, rules: %q", scraping.Jobs, scraping.Rules)
	}
	for _, name := range []string{"entrepot", "prometheus", "grafana"} {
		if _, there := compose.Services[name]; !there {
			t.Errorf("docker-compose.yml has no service %s", name)
		}
	}
	if len(providers) != 1 || providers[0].Type != "file" {
		t.Fatalf("providers: %+v", providers)
	}
	for _, m := range []struct{ service, here, there string }{
		{"grafana", "deploy/grafana/boards", providers[0].Options.Path},
		{"grafana", "deploy/grafana/provisioning", "/etc/grafana/provisioning"},
		{"prometheus", "deploy/prometheus", "/etc/prometheus"},
	} {
		if !slices.ContainsFunc(compose.Services[m.service].Volumes, func(v any) bool {
			text, _ := v.(string)
			from, to, _ := strings.Cut(strings.TrimSuffix(text, ":ro"), ":")
			return path.Clean(from) == m.here && to == m.there
		}) {
			t.Errorf("docker-compose.yml does not put %s where %s looks: %s; it has %v", m.here, m.service, m.there, compose.Services[m.service].Volumes)
		}
	}
}
