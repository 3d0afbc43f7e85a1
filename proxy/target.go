package proxy

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// Names is the configuration that decides whose name a name is. Nothing else does: never what happens to be stored.
type Names struct {
	Default   string            // upstream of names without a prefix; empty: such names are hosted
	Upstreams []string          // hosts of all configured upstreams
	Hosted    []string          // first path elements that are hosted; "*": every name
	Hosts     map[string]string // Host header to upstream
	Self      []string          // hosts by which this server is known
}

// Home is where a name lives.
type Home struct {
	Hosted   bool
	Registry string // upstream's host; empty when hosted
	Name     string // the repository there
	Scoped   bool   // the request had an ns, and the answer repeats it in OCI-Namespace
}

const dockerHub = "docker.io"

// Canonical folds the names by which clients call Docker Hub into one. The host is in lower case.
func Canonical(host string) string {
	switch host {
	case "registry-1.docker.io", "index.docker.io":
		return dockerHub
	}
	return host
}

// Target says whose repository a request names: ns and host are the query parameter and the Host header. It asks nobody.
// Errors are *Error: an open ns would be an open proxy, so what is not configured is not found.
func Target(cfg *Names, name, ns, host string) (Home, error) {
	registry, byNS, err := scope(cfg, ns, host)
	if err != nil {
		return Home{}, err
	}
	if registry != "" && !(byNS && registry == cfg.Default) {
		return Home{Registry: registry, Name: hubName(registry, name), Scoped: ns != ""}, nil
	}
	home, err := unscoped(cfg, name, byNS)
	home.Scoped = ns != ""
	return home, err
}

// scope is the registry that ns or the Host header names, and whether it was ns; empty when neither does. An ns that names
// this server says nothing.
func scope(cfg *Names, ns, host string) (registry string, byNS bool, err error) {
	if ns != "" && ns != host && !slices.Contains(cfg.Self, ns) {
		if registry, ok := cfg.upstream(ns); ok {
			return registry, true, nil
		}
		return "", false, newError(CodeNameUnknown, fmt.Sprintf("no upstream %.255q is configured here", ns))
	}
	if len(cfg.Hosts) == 0 {
		return "", false, nil
	}
	if registry, ok := cfg.Hosts[host]; ok {
		return registry, false, nil
	}
	if bare, _, err := net.SplitHostPort(host); err == nil {
		return cfg.Hosts[bare], false, nil
	}
	return "", false, nil
}

// unscoped is the home of a name that stands for itself. toDefault: ns named the default upstream, so that a name of one
// element is a name there.
func unscoped(cfg *Names, name string, toDefault bool) (Home, error) {
	first, rest, slash := strings.Cut(name, "/")
	if slash {
		if registry, ok := cfg.upstream(first); ok {
			return Home{Registry: registry, Name: hubName(registry, rest)}, nil
		}
	}
	switch {
	case cfg.Owns(first):
		return Home{Hosted: true, Name: name}, nil
	case slash && strings.IndexByte(first, '.') >= 0:
		return Home{}, newError(CodeNameUnknown, fmt.Sprintf("%q looks like a registry, and no such upstream is configured here", first))
	case cfg.Default == "", !slash && !toDefault:
		return Home{Hosted: true, Name: name}, nil
	}
	return Home{Registry: cfg.Default, Name: hubName(cfg.Default, name)}, nil
}

// within is the home that a name has inside of its home: asked for docker.io/gcr.io/app, a cache that stands in for docker.io
// gives gcr.io/app.
func (cfg *Names) within(home Home) (inner Home, ok bool) {
	first, rest, slash := strings.Cut(home.Name, "/")
	registry, ok := cfg.upstream(first)
	if home.Hosted || !slash || !ok {
		return Home{}, false
	}
	return Home{Registry: registry, Name: hubName(registry, rest)}, true
}

// upstream gives the configured upstream of that name. The string is the configuration's, not the request's.
func (cfg *Names) upstream(host string) (string, bool) {
	host = Canonical(host)
	for _, u := range cfg.Upstreams {
		if u == host {
			return u, true
		}
	}
	return "", false
}

// Owns reports whether names that begin with that element are hosted, whatever upstreams there are.
func (cfg *Names) Owns(first string) bool {
	return slices.Contains(cfg.Hosted, first) || slices.Contains(cfg.Hosted, "*")
}

// hubName: Docker Hub's official images live in library/, and people leave that out.
func hubName(registry, name string) string {
	if registry == dockerHub && strings.IndexByte(name, '/') < 0 {
		return "library/" + name
	}
	return name
}
