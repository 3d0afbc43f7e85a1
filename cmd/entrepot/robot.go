package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

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

// addRobot makes an account for a pipeline and prints its secret, this once.
func addRobot(ctx context.Context, in invocation) error {
	q := robotRequest{lifetime: robotLife}
	set, asJSON := in.flagSet("robot add")
	set.StringVar(&q.lifetime, "expires", q.lifetime, "")
	set.StringVar(&q.note, "note", "", "")
	args, err := in.parse(set, 1, 1)
	if err != nil {
		return err
	}
	if _, err := parseLifetime(q.lifetime); err != nil { // the server reads it too: its clock counts
		return usageError{fmt.Errorf("expires: %w", err)}
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	q.name = robotName(args[0])
	added, err := onRobots(ctx, in, c, http.MethodPost, q, func(r robots) (addedRobot, error) { return r.add(ctx, q) })
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(in.out).Encode(added)
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
func listRobots(ctx context.Context, in invocation) error {
	set, asJSON := in.flagSet("robot list")
	if _, err := in.parse(set, 0, 0); err != nil {
		return err
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	found, err := onRobots(ctx, in, c, http.MethodGet, robotRequest{}, func(r robots) (robotList, error) { return newRobotList(r.List(ctx)), nil })
	if err != nil {
		return err
	}
	show := printRobots
	if *asJSON {
		show = printRobotLines
	}
	err = show(in.out, found.Robots)
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

func printRobotLines(w io.Writer, all []access.Robot) error {
	lines := json.NewEncoder(w)
	for _, r := range all {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// revokeRobot ends an account: what is logged in with it is refused from then on.
func revokeRobot(ctx context.Context, in invocation) error {
	set, asJSON := in.flagSet("robot revoke")
	args, err := in.parse(set, 1, 1)
	if err != nil {
		return err
	}
	c, err := in.configure()
	if err != nil {
		return err
	}
	q := robotRequest{name: robotName(args[0])}
	gone, err := onRobots(ctx, in, c, http.MethodDelete, q, func(r robots) (revokedRobot, error) { return r.revoke(ctx, q.name) })
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(in.out).Encode(gone)
	}
	in.warn(gone.Warning)
	_, err = fmt.Fprintf(in.out, "revoked %s\n", access.RobotSubject(gone.Name))
	return err
}
