package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/access"
)

func policyCommand(in invocation) *cobra.Command {
	return family(&cobra.Command{
		Use:        "policy",
		Short:      "Who may do what: check, default",
		SuggestFor: []string{"access", "acl", "permissions"},
	}, checkPolicyCommand(in), defaultPolicyCommand(in))
}

func defaultPolicyCommand(in invocation) *cobra.Command {
	return &cobra.Command{
		Use:     "default",
		Short:   "Print the policy that holds for users without a file",
		Example: `  entrepot policy default > policy.yaml`,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(in.out, access.DefaultPolicyText)
			return err
		},
	}
}

func checkPolicyCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:   "check [USER ACTION IMAGE]",
		Short: "Say whether somebody may do something, and why, or check the files",
		Long: `Say whether a USER, robot+NAME or anonymous may pull, push, delete or admin an
IMAGE or a repository, and why: exit status 1 says that it is not allowed.
Without arguments, check the files of users and policy: exit status 2 says that
there are mistakes in them. It reads the files alone, and needs no server.`,
		Example: `  entrepot policy check
  entrepot policy check alice push team/app
  entrepot policy check --json anonymous pull docker.io/library/nginx:1.27`,
	}
	asJSON := jsonFlag(c)
	c.RunE = in.configured(func(_ context.Context, c Config, args []string) error {
		if len(args) == 0 {
			return in.checkFiles(c, *asJSON)
		}
		return in.checkPolicy(c, args[0], args[1], args[2], *asJSON)
	})
	actions := suggestWords(access.Pull.String(), access.Push.String(), access.Delete.String(), access.Admin.String())
	c.ValidArgsFunction = in.completing(suggestSubjects, actions, suggestRepositories)
	return c
}

// question is what policy check is asked.
type question struct {
	who    access.Subject
	action access.Action
	home   proxy.Home
	ref    string // empty: the repository as such
}

// decision is the answer of policy check --json.
type decision struct {
	User       string   `json:"user"`
	Action     string   `json:"action"`
	Repository string   `json:"repository"`
	Allowed    bool     `json:"allowed"`
	Policy     string   `json:"policy"`            // what it says
	Against    []string `json:"against,omitempty"` // what keeps it from happening, whatever the policy allows
	Notes      []string `json:"notes,omitempty"`
}

func (d decision) print(w io.Writer) error {
	text := d.Policy + "\n"
	for _, reason := range d.Against {
		text += "but " + reason + "\n"
	}
	for _, note := range d.Notes {
		text += "note: " + note + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// checkPolicy says whether somebody may do something, and why. That something is not allowed is an error.
func (in invocation) checkPolicy(c Config, who, action, reference string, asJSON bool) error {
	q, err := c.question(who, action, reference)
	if err != nil {
		return usageError{fmt.Errorf("policy check: %w", err)}
	}
	f, err := c.readAccess()
	if err != nil {
		return usageError{err}
	}
	d := c.decide(f, q)
	if asJSON {
		err = printJSON(in, d)
	} else {
		err = d.print(in.out)
	}
	if err == nil && !d.Allowed {
		err = fmt.Errorf("%s may not %s %s", d.User, d.Action, d.Repository)
	}
	return err
}

func (c Config) decide(f accessFiles, q question) decision {
	repo := access.Repository{Upstream: q.home.Registry, Name: q.home.Name}
	against := c.against(f, q, repo)
	return decision{
		User: q.who.String(), Action: q.action.String(), Repository: repo.String(),
		Allowed: f.policy.Decide(q.who, q.action, repo).Allowed && len(against) == 0,
		Policy:  f.policy.Explain(q.who, q.action, repo), Against: against, Notes: c.beside(f, q, repo),
	}
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
