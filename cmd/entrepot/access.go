package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/access"
)

// openAccess reads who may do what, and again whenever that changes, until close. Its error names every mistake in the files.
func (s *stored) openAccess(c Config, events access.Events, log *slog.Logger) (*access.Guard, error) {
	names := c.names()
	guard, err := access.Open(context.Background(), access.Options{
		Htpasswd: c.Htpasswd, Policy: c.Policy, TokenKey: c.TokenKey,
		Upstreams: names.Upstreams, Hosted: hostedBy(names), Store: s.accessStore, Service: c.PublicURL.host(),
		Events: events, Log: log,
	})
	if err != nil {
		return nil, usageError{c.byFile(err)}
	}
	s.runUntilClose(guard.Run)
	return guard, nil
}

// hostedBy reports whether names of several elements that begin so are hosted here.
func hostedBy(names proxy.Names) func(first string) bool {
	return func(first string) bool { return names.Default == "" || names.Owns(first) }
}

// openAudit gives whoever is told what was done; its file is closed at close. nil where nobody wants to know.
func (s *stored) openAudit(c Config, out io.Writer, log *slog.Logger) (func(access.Entry), error) {
	lines, err := openAudit(c.AuditLog, out, log)
	if err != nil {
		return nil, usageError{fmt.Errorf("%sAUDIT_LOG: %w", prefix, err)}
	}
	if lines == nil {
		return nil, nil
	}
	s.later(lines.Close)
	return access.NewAudit(lines, time.Now).Write, nil
}

// byFile puts before each mistake the variable that names its file.
func (c Config) byFile(err error) error {
	var errs []error
	for _, mistake := range apart(err) {
		errs = append(errs, c.byItsFile(mistake))
	}
	return errors.Join(errs...)
}

func (c Config) byItsFile(err error) error {
	var unreadable *fs.PathError
	for _, f := range []struct{ variable, path string }{{"HTPASSWD", c.Htpasswd}, {"POLICY", c.Policy}, {"TOKEN_KEY", c.TokenKey}} {
		if f.path != "" && (strings.HasPrefix(err.Error(), f.path+": ") || errors.As(err, &unreadable) && unreadable.Path == f.path) {
			return fmt.Errorf("%s%s: %w", prefix, f.variable, err)
		}
	}
	return err
}

// apart takes joined errors apart.
func apart(err error) []error {
	if err == nil {
		return nil
	}
	joined, several := err.(interface{ Unwrap() []error })
	if !several {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, apart(e)...)
	}
	return all
}
