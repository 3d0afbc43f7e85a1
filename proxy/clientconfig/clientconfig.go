// Package clientconfig says how to make each client use a server: the files to write and the commands to run. The page and the
// command client-config show the same.
package clientconfig

import (
	"fmt"
	"slices"
	"strings"
)

// Server is what a client is to use.
type Server struct {
	URL       string   // where clients reach it: http://cache.corp:5000, without a path
	Upstreams []string // hosts of the registries behind it
	Default   string   // that of names without a host; empty: none
	Users     bool     // pushes take a login
}

// Client is one that is known.
type Client struct {
	Word string `json:"word"` // docker
	Name string `json:"name"` // Docker

	steps func(Server, address) []Step
}

// Step is a file to write or a command to run.
type Step struct {
	Does    string `json:"does"`           // one sentence: what for, and what to do about what is there already
	Path    string `json:"path,omitempty"` // of the file; empty: Content is to be run in a shell
	Content string `json:"content"`
}

// Clients lists them, those that most people use first.
func Clients() []Client {
	return []Client{
		{"docker", "Docker", docker},
		{"containerd", "containerd, nerdctl, Kubernetes nodes", containerd},
		{"podman", "Podman, Skopeo, Buildah, CRI-O", podman},
		{"k3s", "k3s, RKE2", k3s},
		{"kind", "kind", kind},
		{"buildkit", "BuildKit, docker buildx", buildkit},
	}
}

// Config gives the steps for one client. It fails for a word that is none of Clients, and for a URL that is more or less than
// a scheme, a host and a port.
func Config(word string, s Server) ([]Step, error) {
	all := Clients()
	i := slices.IndexFunc(all, func(c Client) bool { return c.Word == word })
	if i < 0 {
		var words []string
		for _, c := range all {
			words = append(words, c.Word)
		}
		return nil, fmt.Errorf("no client %q is known: name one of %s", word, strings.Join(words, ", "))
	}
	at, err := parse(s.URL)
	if err != nil {
		return nil, err
	}
	return all[i].steps(s, at), nil
}
