package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/entrepot/entrepot/proxy/access"
)

func htpasswdCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:        "htpasswd USER",
		Short:      "Set a user's password, or remove a user",
		SuggestFor: []string{"passwd", "password", "user", "users", "adduser"},
		Long: `Set a user's password in the file of users, or remove a user. The password is
read from the terminal, without echo, or from one line of the standard input. A
running server reads the file by itself.`,
		Example: `  entrepot htpasswd alice
  entrepot htpasswd --file ./users alice < password.txt
  entrepot htpasswd --delete alice`,
	}
	remove := c.Flags().Bool("delete", false, "remove the user")
	path := c.Flags().String("file", "", "the `FILE` of users (default ENTREPOT_HTPASSWD)")
	completeByFiles(c, "file")
	c.ValidArgsFunction = in.completing(suggestUsers(path))
	c.RunE = func(c *cobra.Command, args []string) error {
		if *path != "" { // then the configuration may be what it wants
			return in.htpasswd(c.Context(), *path, args[0], *remove)
		}
		config, err := in.configure()
		if err == nil && config.Htpasswd == "" {
			err = usageError{errors.New("htpasswd: which file? give --file FILE, or set " + prefix + "HTPASSWD")}
		}
		if err != nil {
			return err
		}
		return in.htpasswd(c.Context(), config.Htpasswd, args[0], *remove)
	}
	return c
}

// htpasswd sets a user's password in the file of users, or removes a user. A running server reads the file by itself.
func (in invocation) htpasswd(ctx context.Context, path, user string, remove bool) error {
	if remove {
		return rewrite(path, func(text []byte) ([]byte, error) {
			rest, found := access.RemoveUser(text, user)
			if !found {
				return nil, fmt.Errorf("there is no user %q", user)
			}
			return rest, nil
		})
	}
	password, err := in.newPassword(ctx, user)
	if err != nil {
		return err
	}
	return rewrite(path, func(text []byte) ([]byte, error) { return access.SetPassword(text, user, password) })
}

// newPassword asks for one, twice and without echo, or reads one line where nobody sits there. It is never an argument:
// other users of the machine can read those.
func (in invocation) newPassword(ctx context.Context, user string) (string, error) {
	terminal, isFile := in.stdin.(*os.File)
	if !isFile || !term.IsTerminal(int(terminal.Fd())) {
		return readLine(in.stdin)
	}
	password, err := in.ask(ctx, terminal, "New password of "+user+": ")
	if err != nil {
		return "", err
	}
	again, err := in.ask(ctx, terminal, "The same again: ")
	if err == nil && again != password {
		err = errors.New("the two passwords differ; nothing is changed")
	}
	return password, err
}

// ask reads a line without echo. Whoever interrupts it has the echo back.
func (in invocation) ask(ctx context.Context, terminal *os.File, question string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	fmt.Fprint(in.errs, question)
	defer fmt.Fprintln(in.errs) // the newline that was typed is not echoed either
	var answer []byte
	answered := make(chan error, 1)
	go func() { // ends with a line, or with the process
		line, err := term.ReadPassword(fd)
		answer = line
		answered <- err
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(errors.New("interrupted; nothing is changed"), term.Restore(fd, before))
	case err := <-answered:
		if err != nil {
			err = fmt.Errorf("read the password: %w", err)
		}
		return string(answer), err
	}
}

// readLine gives the first line. An end of input without any is an empty password, which is refused where it is set.
func readLine(r io.Reader) (string, error) {
	if r == nil {
		return "", nil
	}
	line, err := bufio.NewReader(io.LimitReader(r, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// rewrite replaces a file's text whole: whoever reads meanwhile has the one or the other, and whoever rewrites it at the same
// time waits, so that nobody's change undoes another's. A file that is missing is made.
func rewrite(path string, change func(text []byte) ([]byte, error)) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	folder, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close() // which unlocks it
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if text, err = change(text); err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	err = errors.Join(fill(next, text, path), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return folder.Sync()
}

// lockFolder waits for the lock of a folder; whoever closes it, or ends, gives it back. It is not the file that is locked,
// since another takes its place. NFS locks no folders: there it is up to people not to do two things at once.
func lockFolder(path string) (*os.File, error) {
	folder, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = syscall.EINTR
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX)
	}
	if err != nil && !errors.Is(err, syscall.EBADF) && !errors.Is(err, errors.ErrUnsupported) {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), folder.Close())
	}
	return folder, nil
}

// fill writes the file that shall replace the one at path, and lets the same users read it.
func fill(next *os.File, text []byte, path string) error {
	if _, err := next.Write(text); err != nil {
		return err
	}
	was, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return next.Sync()
	case err != nil:
		return err
	}
	if owner, known := was.Sys().(*syscall.Stat_t); known {
		if err := next.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("keep the owner of %s: %w", path, err)
		}
	}
	if err := next.Chmod(was.Mode().Perm()); err != nil {
		return err
	}
	return next.Sync()
}
