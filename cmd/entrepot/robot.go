package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/entrepot/entrepot/proxy/access"
)

// robotLife is how long a secret is good for unless the command says otherwise: what is forgotten ends by itself.
const robotLife = "90d"

// robotRequest is what the commands of robots ask for.
type robotRequest struct {
	name, note string
	lifetime   string // as it was written
}

func (q robotRequest) values() url.Values {
	return url.Values{"name": {q.name}, "note": {q.note}, "expires": {q.lifetime}}
}

// robotName is also taken in the form by which the robot logs in.
func robotName(arg string) string {
	if name, prefixed := access.Subject(arg).Robot(); prefixed {
		return name
	}
	return arg
}

func robotCommand(in invocation) *cobra.Command {
	return family(&cobra.Command{
		Use:        "robot",
		Short:      "Accounts of pipelines: add, list, revoke",
		SuggestFor: []string{"token", "tokens", "account"},
		Long: `Accounts of pipelines, which log in as robot+NAME with a secret that expires.
They need users (ENTREPOT_HTPASSWD); what they may do is up to the policy. A
change counts at once in the running server.`,
	}, addRobotCommand(in), listRobotsCommand(in), revokeRobotCommand(in))
}

func addRobotCommand(in invocation) *cobra.Command {
	q := robotRequest{lifetime: robotLife}
	c := &cobra.Command{
		Use:        "add NAME",
		Short:      "Make an account and print its secret, this once",
		SuggestFor: []string{"create", "new"},
		Example: `  entrepot robot add ci
  entrepot robot add --expires never --note "nightly builds" --json nightly`,
	}
	asJSON := jsonFlag(c)
	c.Flags().StringVar(&q.lifetime, "expires", q.lifetime, "how long the secret is good for: a `LIFETIME` like 90d or 12h, or never")
	c.Flags().StringVar(&q.note, "note", "", "a `TEXT` that robot list shows")
	c.RunE = in.configured(func(ctx context.Context, c Config, args []string) error {
		q.name = robotName(args[0])
		return in.addRobot(ctx, c, q, *asJSON)
	})
	return c
}

func listRobotsCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:        "list",
		Short:      "List the accounts, expired ones too",
		SuggestFor: []string{"ls"},
		Example:    `  entrepot robot list --json`,
	}
	asJSON := jsonFlag(c)
	c.RunE = in.configured(func(ctx context.Context, c Config, _ []string) error { return in.listRobots(ctx, c, *asJSON) })
	return c
}

func revokeRobotCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:        "revoke NAME",
		Short:      "End an account at once",
		SuggestFor: []string{"rm", "remove", "delete"},
		Example:    `  entrepot robot revoke ci`,
	}
	asJSON := jsonFlag(c)
	c.RunE = in.configured(func(ctx context.Context, c Config, args []string) error {
		return in.revokeRobot(ctx, c, robotName(args[0]), *asJSON)
	})
	c.ValidArgsFunction = in.completing(suggestRobots)
	return c
}

// addRobot makes an account for a pipeline and prints its secret, this once.
func (in invocation) addRobot(ctx context.Context, c Config, q robotRequest, asJSON bool) error {
	if _, err := parseLifetime(q.lifetime); err != nil { // the server reads it too: its clock counts
		return usageError{fmt.Errorf("expires: %w", err)}
	}
	added, err := onRobots(ctx, in, c, http.MethodPost, q, func(r robots) (addedRobot, error) { return r.add(ctx, q) })
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(in, added)
	}
	in.warn(added.Warning)
	return printAdded(in.out, added, cmp.Or(c.PublicURL.host(), c.Listen.dialable()))
}

func printAdded(w io.Writer, r addedRobot, host string) error {
	_, err := fmt.Fprintf(w, "user:    %s\nsecret:  %s\nexpires: %s\n"+
		"The secret is not shown again. With it on the standard input:\n"+
		"  docker login --username %s --password-stdin %s\n", r.User, r.Secret, expiry(r.Expires, time.Now()), r.User, host)
	return err
}

// expiry says when, for people: in days where a lifetime is likely written so, since 89 of them are not two months.
func expiry(t, now time.Time) string {
	const day = 24 * time.Hour
	if t.IsZero() {
		return "never"
	}
	left := t.Sub(now).Round(time.Minute) // it was a day a second ago
	if n := left.Round(time.Hour) / day; n >= 2 && n < 120 {
		return fmt.Sprintf("%s, %d days from now", t.Format(time.DateOnly), n)
	}
	return t.Format(time.DateOnly) + ", " + humanize.RelTime(now.Add(left), now, "ago", "from now")
}

// warn tells of what is no failure.
func (in invocation) warn(warning string) {
	if warning != "" {
		fmt.Fprintln(in.errs, "entrepot: "+warning)
	}
}

// listRobots prints the accounts of pipelines, expired ones too.
func (in invocation) listRobots(ctx context.Context, c Config, asJSON bool) error {
	found, err := onRobots(ctx, in, c, http.MethodGet, robotRequest{}, func(r robots) (robotList, error) { return newRobotList(r.List(ctx)), nil })
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(in, found.Robots...)
	} else {
		err = printRobots(in.out, found.Robots)
	}
	if found.Error != "" {
		err = errors.Join(err, errors.New(found.Error))
	}
	return err
}

func printRobots(w io.Writer, all []access.Robot) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "USER\tCREATED\tEXPIRES\tNOTE")
	for _, r := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", access.RobotSubject(r.Name), r.Created.Format(time.DateOnly), expiry(r.Expires, time.Now()), r.Note)
	}
	return table.Flush()
}

// revokeRobot ends an account: what is logged in with it is refused from then on.
func (in invocation) revokeRobot(ctx context.Context, c Config, name string, asJSON bool) error {
	q := robotRequest{name: name}
	gone, err := onRobots(ctx, in, c, http.MethodDelete, q, func(r robots) (revokedRobot, error) { return r.revoke(ctx, q.name) })
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(in, gone)
	}
	in.warn(gone.Warning)
	_, err = fmt.Fprintf(in.out, "revoked %s\n", access.RobotSubject(gone.Name))
	return err
}
