package clientconfig

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// address is a server's URL taken apart.
type address struct {
	url      string // http://cache.corp:5000
	host     string // cache.corp:5000, as it stands in image names
	plain    bool   // http
	loopback bool   // the client's own machine
}

func parse(s string) (address, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(u.Host, foreign) || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return address{}, fmt.Errorf("%q is not the address of a server: write http://cache.corp:5000 or https://registry.example", s)
	}
	at := address{host: nameable(u), plain: u.Scheme == "http", loopback: isLoopback(u.Hostname())}
	at.url = u.Scheme + "://" + at.host
	return at, nil
}

// foreign: a host goes into files and commands as it is, and net/url lets quotes and more stand in one.
func foreign(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune(".:-_[]", r)
}

// nameable is the host with a port where image names need one: what has neither a dot nor a colon is no host to them.
func nameable(u *url.URL) string {
	if u.Port() != "" || strings.ContainsAny(u.Host, ".:") || u.Host == "localhost" {
		return u.Host
	}
	if u.Scheme == "https" {
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}

// sample is an image of an upstream for an example that can be run.
func sample(upstream string) string {
	known := map[string]string{
		"docker.io":         "library/alpine",
		"gcr.io":            "distroless/static",
		"ghcr.io":           "astral-sh/uv",
		"quay.io":           "prometheus/busybox",
		"registry.k8s.io":   "pause:3.10",
		"mcr.microsoft.com": "dotnet/runtime-deps:9.0",
		"public.ecr.aws":    "docker/library/alpine",
	}
	if name := known[upstream]; name != "" {
		return upstream + "/" + name
	}
	return upstream + "/REPOSITORY:TAG"
}

// others are the upstreams without one of them.
func (s Server) others(than string) []string {
	var all []string
	for _, u := range s.Upstreams {
		if u != than {
			all = append(all, u)
		}
	}
	return all
}
