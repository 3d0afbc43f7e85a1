package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/access"
)

// printDefaultPolicy prints what holds for users without a policy file.
func printDefaultPolicy(_ context.Context, in invocation) error {
	if err := in.noArguments(); err != nil {
		return err
	}
	_, err := io.WriteString(in.out, access.DefaultPolicyText)
	return err
}

// question is what policy check is asked.
type question struct {
	who    access.Subject
	action access.Action
	home   proxy.Home
	ref    string // empty: the repository as such
}

// checkPolicy says whether somebody may do something, and why, or, asked nothing, what the files hold. It needs the files
// alone. That something is not allowed is an error.
func checkPolicy(_ context.Context, in invocation) error {
	set, _ := in.flagSet("policy check")
	args, err := in.parse(set, 0, 3)
	if err != nil {
		return err
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	switch len(args) {
	case 0:
		return c.checkFiles(in.out)
	case 1, 2:
		return usageError{fmt.Errorf("policy check: who, what and where are one question\nusage: %s", in.command.usage())}
	}
	q, err := c.question(args[0], args[1], args[2])
	if err != nil {
		return usageError{fmt.Errorf("policy check: %w", err)}
	}
	f, err := c.readAccess()
	if err != nil {
		return usageError{err}
	}
	repo := access.Repository{Upstream: q.home.Registry, Name: q.home.Name}
	fmt.Fprintln(in.out, f.policy.Explain(q.who, q.action, repo))
	against := c.against(f, q, repo)
	for _, reason := range against {
		fmt.Fprintln(in.out, "but "+reason)
	}
	for _, note := range c.beside(f, q, repo) {
		fmt.Fprintln(in.out, "note: "+note)
	}
	if !f.policy.Decide(q.who, q.action, repo).Allowed || len(against) > 0 {
		return fmt.Errorf("%s may not %s %s", q.who, q.action, repo)
	}
	return nil
}

// question reads the arguments. The repository is written as a client of this server writes it.
func (c Config) question(who, action, reference string) (q question, err error) {
	if who != "anonymous" {
		q.who = access.Subject(who)
	}
	if who == "" || strings.HasPrefix(who, "@") || slices.Contains([]string{"everyone", "users", "robots"}, who) {
		return q, fmt.Errorf("%q is nobody in particular: name a user, robot+NAME or anonymous", who)
	}
	var known bool
	if q.action, known = access.ParseAction(action); !known {
		return q, fmt.Errorf("%q is none of: pull, push, delete, admin", action)
	}
	name, ref, err := splitReference(reference)
	if err != nil {
		return q, err
	}
	names := c.names()
	q.ref = ref
	if q.home, err = proxy.Target(&names, name, "", ""); err != nil {
		return q, err
	}
	if !proxy.ValidName(q.home.Name) {
		return q, fmt.Errorf("%q is not the name of a repository", name)
	}
	return q, nil
}

// against is what keeps it from happening, whatever the policy allows.
func (c Config) against(f accessFiles, q question, repo access.Repository) (all []string) {
	note := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	_, robot := q.who.Robot()
	if c.Htpasswd != "" && q.who != access.Anonymous && !robot && !slices.Contains(f.users, string(q.who)) {
		note("%s has no user %s, who cannot log in", c.Htpasswd, q.who)
	}
	changes := q.action == access.Push || q.action == access.Delete
	if changes && !q.home.Hosted {
		note("%s belongs to the upstream %s, so nobody can %s it here; %sHOSTED decides which names are hosted", repo, q.home.Registry, q.action, prefix)
	}
	if changes && c.ReadOnly {
		note("%sREAD_ONLY is set, so nothing is pushed or deleted", prefix)
	}
	if q.action == access.Delete && c.Delete == (Deletable{}) {
		note("%sDELETE is none, so nothing is deleted", prefix)
	}
	if q.action == access.Pull && !q.home.Hosted {
		if why := f.policy.Refuses(repo, q.ref); why != "" {
			note("it may not come in, whoever asks: %s", why)
		}
	}
	return all
}

// beside is what else is good to know.
func (c Config) beside(f accessFiles, q question, repo access.Repository) (all []string) {
	note := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if c.Htpasswd == "" {
		note("there are no users (%sHTPASSWD): everybody is anonymous, and only who comes from a loopback, private or link-local address may push and delete", prefix)
	}
	if name, robot := q.who.Robot(); robot && c.Htpasswd != "" {
		note("robots are not looked up here; entrepot robot list says whether there is one named %s", name)
	}
	if q.action == access.Admin && c.ReadOnly {
		note("%sREAD_ONLY is set, so nothing is pushed or deleted", prefix)
	}
	if q.action == access.Delete && c.Delete != (Deletable{}) && c.Delete != (Deletable{true, true, true}) {
		note("%sDELETE allows to delete %s only", prefix, c.Delete)
	}
	if q.home.Hosted && !strings.Contains(q.home.Name, "/") && c.DefaultUpstream == "docker.io" {
		note("a mirror's client that asks for Docker Hub's image of that name asks for docker.io/library/%s", q.home.Name)
	}
	if q.action == access.Pull && c.privateUpstream(q.home.Registry) && !f.policy.Decide(q.who, q.action, repo).Lent {
		note("our credential for %s is not lent to %s, who gets only what can be read there without one", q.home.Registry, q.who)
	}
	return all
}

// privateUpstream reports whether that upstream is asked with credentials that are not for everybody.
func (c Config) privateUpstream(host string) bool {
	i := indexHost(c.upstreams(), host)
	return i >= 0 && c.upstreams()[i].guarded(c.DockerConfig)
}
