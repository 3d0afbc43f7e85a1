// Package clientconfig says how to make each client use a server: the files to write and the commands to run. The page and the
// command client-config show the same.
package clientconfig

// Server is what a client is to use.
type Server struct {
	URL       string   // where clients reach it: http://cache.corp:5000, without a path
	Upstreams []string // hosts of the registries behind it
	Default   string   // that of names without a host; empty: none
}

// Client is one that is known.
type Client struct{ Word, Name string } // docker, "Docker"

// Step is a file to write or a command to run.
type Step struct {
	Does    string // one sentence: what for, and what to do about what is there already
	Path    string // of the file; empty: Content is to be run in a shell
	Content string
}
