package main

import (
	"cmp"
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

// filesReport is the answer of policy check --json without a question.
type filesReport struct {
	Htpasswd string   `json:"htpasswd"` // empty: there are no users
	Users    int      `json:"users"`
	Policy   string   `json:"policy"` // empty: the default
	Holds    string   `json:"holds"`  // what the policy is made of
	Unknown  []string `json:"unknown,omitempty"`
}

// checkFiles tells what the files hold, or every mistake in them.
func (in invocation) checkFiles(c Config, asJSON bool) error {
	f, err := c.readAccess()
	if err != nil {
		return usageError{err}
	}
	r := filesReport{Htpasswd: c.Htpasswd, Users: len(f.users), Policy: c.Policy, Holds: f.policy.Summary()}
	for _, name := range f.policy.Names() {
		if _, found := slices.BinarySearch(f.users, name); !found {
			r.Unknown = append(r.Unknown, name)
		}
	}
	if asJSON {
		return printJSON(in, r)
	}
	return r.print(in.out)
}

func (r filesReport) print(w io.Writer) error {
	users := fmt.Sprintf("%d, of %s", r.Users, r.Htpasswd)
	if r.Htpasswd == "" {
		users = "none, since " + prefix + "HTPASSWD is not set"
	}
	text := fmt.Sprintf("users: %s\npolicy: %s, of %s\n", users, r.Holds, cmp.Or(r.Policy, "the default"))
	for _, name := range r.Unknown {
		text += "note: the policy names " + name + ", who is no user\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
