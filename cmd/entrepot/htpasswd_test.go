package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/errgroup"
)

// typed runs a command that reads its standard input.
func typed(stdin string, env map[string]string, args ...string) (code int, out, errs string) {
	var o, e strings.Builder
	code = run(context.Background(), invocation{args: args, environment: env, stdin: strings.NewReader(stdin), out: &o, errs: &e})
	return code, o.String(), e.String()
}

func wantCode(t *testing.T, want, code int, errs string) {
	t.Helper()
	if code != want {
		t.Fatalf("code %d, want %d: %s", code, want, errs)
	}
}

// passwords are the users of an htpasswd file with their hashes.
func passwords(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, hash, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			all[name] = hash
		}
	}
	return all
}

func isPassword(t *testing.T, path, user, password string) {
	t.Helper()
	if err := bcrypt.CompareHashAndPassword([]byte(passwords(t, path)[user]), []byte(password)); err != nil {
		t.Errorf("%s: %q is not the password of %s: %v", path, password, user, err)
	}
}

func TestPasswordsAreSetChangedAndRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	env := environment("HTPASSWD=" + path)

	code, out, errs := typed("s3cr3t\nthe next line\n", env, "htpasswd", "alice")
	wantCode(t, exitOK, code, errs)
	if strings.Contains(out+errs, "s3cr3t") {
		t.Errorf("the password is shown: %q %q", out, errs)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of a file that is made: %v, %v", info.Mode(), err)
	}
	first := passwords(t, path)["alice"]

	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	code, _, errs = typed("of bob\r\n", nil, "htpasswd", "--file", path, "bob") // which needs no configuration
	wantCode(t, exitOK, code, errs)
	code, _, errs = typed("another", env, "htpasswd", "alice")
	wantCode(t, exitOK, code, errs)
	if now := passwords(t, path)["alice"]; first == "" || now == "" || now == first {
		t.Errorf("changed from %q to %q", first, now)
	}
	isPassword(t, path, "bob", "of bob")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is not kept: %v, %v", info.Mode(), err)
	}

	code, _, errs = typed("", env, "htpasswd", "--delete", "alice")
	wantCode(t, exitOK, code, errs)
	if all := passwords(t, path); len(all) != 1 || all["bob"] == "" {
		t.Errorf("left after the removal: %v", all)
	}
	code, _, errs = typed("", env, "htpasswd", "--delete", "alice")
	wantCode(t, exitFailed, code, errs)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestTheFileOfUsersStaysWhereAndWhoseItIs(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	owner := os.Getuid()
	if owner == 0 { // only root can give files away
		owner = 65532
		if err := os.Chown(file, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	code, _, errs := typed("s3cr3t\n", nil, "htpasswd", "--file", link, "alice")
	wantCode(t, exitOK, code, errs)
	if passwords(t, file)["alice"] == "" {
		t.Error("the file that the link names has not the user")
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is replaced: %v, %v", info.Mode(), err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if now := int(info.Sys().(*syscall.Stat_t).Uid); now != owner {
		t.Errorf("the file belongs to %d, want %d", now, owner)
	}
}

// Two commands at once would both have read the file before either of them wrote it.
func TestOfSeveralWhoRewriteAFileNoneUndoesAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	const writers = 16
	var all errgroup.Group
	for i := range writers {
		all.Go(func() error {
			return rewrite(path, func(text []byte) ([]byte, error) { return fmt.Appendf(text, "user%d:hash\n", i), nil })
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := len(passwords(t, path)); got != writers {
		t.Errorf("%d of %d users are in the file", got, writers)
	}
}

func TestAFileThatCannotBeReplacedLeavesNothingBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	err := rewrite(path, func([]byte) ([]byte, error) { return nil, os.Mkdir(path, 0o700) }) // a file takes no folder's place
	if err == nil {
		t.Error("a folder was replaced")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestTheFolderThatIsMissingIsNamed(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "nosuch")
	code, _, errs := typed("s3cr3t\n", nil, "htpasswd", "--file", filepath.Join(folder, "users"), "alice")
	wantCode(t, exitFailed, code, errs)
	if want := "open " + folder + ": no such file or directory"; !strings.Contains(errs, want) {
		t.Errorf("got %q, want %q", errs, want)
	}
}

func TestPasswordsAreReadFromAnInputThatMayFail(t *testing.T) {
	if _, err := readLine(iotest.ErrReader(errors.New("gone"))); err == nil || !strings.Contains(err.Error(), "read the password: gone") {
		t.Errorf("a broken input: %v", err)
	}
	if password, err := readLine(nil); password != "" || err != nil {
		t.Errorf("no input: %q, %v", password, err)
	}
}

func TestPasswordsThatAreNotSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	for name, c := range map[string]struct {
		stdin string
		env   map[string]string
		args  []string
		want  int
	}{
		"no file is named":        {"s3cr3t\n", environment(), []string{"alice"}, exitUsage},
		"no user is named":        {"s3cr3t\n", environment(), []string{"--file", path}, exitUsage},
		"a password among words":  {"", environment(), []string{"--file", path, "alice", "s3cr3t"}, exitUsage},
		"an empty password":       {"\n", environment(), []string{"--file", path, "alice"}, exitFailed},
		"no input at all":         {"", environment(), []string{"--file", path, "alice"}, exitFailed},
		"a robot's name":          {"s3cr3t\n", environment(), []string{"--file", path, "robot+ci"}, exitFailed},
		"a folder that is not":    {"s3cr3t\n", environment(), []string{"--file", path + "/users", "alice"}, exitFailed},
		"a mistake in a variable": {"s3cr3t\n", environment("HTPASSWD="+path, "TAG_TTL=5"), []string{"alice"}, exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := typed(c.stdin, c.env, append([]string{"htpasswd"}, c.args...)...)
			wantCode(t, c.want, code, errs)
			if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
				t.Errorf("left in the directory: %v, %v", left, err)
			}
		})
	}
}
