package main

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/cache"
)

func TestReferencesAsPeopleWriteThem(t *testing.T) {
	names := load(t, "HOSTED=team", "UPSTREAM_0_HOST=registry.corp:5000").names()
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for text, want := range map[string]struct {
		repo cache.Repo
		ref  string
	}{
		"nginx":                           {cache.Repo{Registry: "docker.io", Name: "library/nginx"}, ""},
		"nginx:1.27":                      {cache.Repo{Registry: "docker.io", Name: "library/nginx"}, "1.27"},
		"library/nginx:1.27":              {cache.Repo{Registry: "docker.io", Name: "library/nginx"}, "1.27"},
		"docker.io/nginx":                 {cache.Repo{Registry: "docker.io", Name: "library/nginx"}, ""},
		"index.docker.io/bitnami/redis:7": {cache.Repo{Registry: "docker.io", Name: "bitnami/redis"}, "7"},
		"gcr.io/distroless/static@" + d:   {cache.Repo{Registry: "gcr.io", Name: "distroless/static"}, d},
		"quay.io/a/b/c:v1@" + d:           {cache.Repo{Registry: "quay.io", Name: "a/b/c"}, d},
		"registry.corp:5000/x/y:1":        {cache.Repo{Registry: "registry.corp:5000", Name: "x/y"}, "1"},
	} {
		repo, ref, err := parseReference(&names, text)
		if err != nil || repo != want.repo || ref != want.ref {
			t.Errorf("%s: got %v %q %v, want %v %q", text, repo, ref, err, want.repo, want.ref)
		}
	}
	for text, want := range map[string]string{
		"":                     "not the name",
		"Nginx":                "not the name",
		"nginx:":               "not a tag",
		"nginx:a b":            "not a tag",
		"nginx@sha256:abc":     "not a digest",
		"nginx@":               "not a digest",
		"../../etc/passwd":     "no such upstream",
		"team/app:1":           "hosted",
		"unknown.example/a/b":  "no such upstream",
		"localhost:5000/nginx": "not the name",
	} {
		if repo, ref, err := parseReference(&names, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v %q %v, want an error with %q", text, repo, ref, err, want)
		}
	}
}

func TestRepositoriesMayBeCachedOrHosted(t *testing.T) {
	names := load(t, "HOSTED=team").names()
	hub := func(name string) cache.Repo { return cache.Repo{Registry: "docker.io", Name: name} }
	for text, want := range map[string]repository{
		"":              {all: true},
		"nginx":         {cached: hub("library/nginx"), hosted: "nginx"},
		"library/nginx": {cached: hub("library/nginx")},
		"team/app":      {hosted: "team/app"},
		"gcr.io/a/b":    {cached: cache.Repo{Registry: "gcr.io", Name: "a/b"}},
	} {
		if got, err := parseRepository(&names, text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"nginx:1", "team/app@sha256:abc", "Nginx", "unknown.example/a", "team/APP"} {
		if got, err := parseRepository(&names, text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, seed := range []string{"nginx", "gcr.io/a/b:c", "a@sha256:00", "::@@//", "docker.io/"} {
		f.Add(seed)
	}
	names := Config{DefaultUpstream: "docker.io", Upstreams: []UpstreamSpec{{Host: "docker.io"}, {Host: "gcr.io"}}}.names()
	f.Fuzz(func(t *testing.T, text string) {
		repo, ref, err := parseReference(&names, text)
		if err == nil && (repo.Registry == "" || repo.Name == "" || strings.Contains(repo.Name, "..") || strings.ContainsAny(ref, "/ ")) {
			t.Errorf("%q became %+v %q", text, repo, ref)
		}
	})
}
