package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/entrepot/entrepot/proxy/access"
)

// accessFiles is what the files say, without a server.
type accessFiles struct {
	policy *access.Policy
	users  []string // sorted
}

// readAccess reads the files of users and policy as the server does. Its error names every mistake of both.
func (c Config) readAccess() (f accessFiles, err error) {
	closed, names := c.Htpasswd != "", c.names()
	f.policy = access.DefaultPolicy(closed)
	var errs []error
	if closed {
		f.users, err = parsed(c.Htpasswd, access.UserNames)
		errs = append(errs, err)
	}
	if c.Policy != "" {
		f.policy, err = parsed(c.Policy, func(text []byte) (*access.Policy, error) {
			return access.CheckedPolicy(text, closed, names.Upstreams, hostedBy(names))
		})
		errs = append(errs, err)
	}
	return f, c.byFile(errors.Join(errs...))
}

// parsed reads a file. Each mistake in it begins with its path.
func parsed[T any](path string, parse func([]byte) (T, error)) (is T, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return is, err
	}
	if is, err = parse(text); err == nil {
		return is, nil
	}
	return is, access.InFile(path, err)
}

// checkFiles tells what the files hold, or every mistake in them.
func (c Config) checkFiles(out io.Writer) error {
	f, err := c.readAccess()
	if err != nil {
		return usageError{err}
	}
	if c.Htpasswd == "" {
		fmt.Fprintf(out, "users: none, since %sHTPASSWD is not set\n", prefix)
	} else {
		fmt.Fprintf(out, "users: %d, of %s\n", len(f.users), c.Htpasswd)
	}
	of := c.Policy
	if of == "" {
		of = "the default"
	}
	fmt.Fprintf(out, "policy: %s, of %s\n", f.policy.Summary(), of)
	for _, name := range f.policy.Names() {
		if _, found := slices.BinarySearch(f.users, name); !found {
			fmt.Fprintf(out, "note: the policy names %s, who is no user\n", name)
		}
	}
	return nil
}
