package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal gives both ends of a pseudo-terminal: a keyboard, and what the program has as its standard input.
func terminal(t *testing.T) (keyboard, stdin *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	stdin, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	return keyboard, stdin
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Error(err)
		return false
	}
	return state.Lflag&unix.ECHO != 0
}

func TestAPasswordIsAskedForTwice(t *testing.T) {
	for name, c := range map[string]struct {
		typed string
		want  int
	}{
		"the same twice": {"s3cr3t\ns3cr3t\n", exitOK},
		"a slip":         {"s3cr3t\ns3cret\n", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "users")
			keyboard, stdin := terminal(t)
			if _, err := keyboard.WriteString(c.typed); err != nil {
				t.Fatal(err)
			}
			var out, errs strings.Builder
			code := run(context.Background(), invocation{args: []string{"htpasswd", "--file", path, "alice"}, stdin: stdin, out: &out, errs: &errs})
			wantCode(t, c.want, code, errs.String())
			if !strings.Contains(errs.String(), "New password of alice: ") || !echoes(t, stdin) {
				t.Errorf("asked %q; the echo is back: %v", errs.String(), echoes(t, stdin))
			}
			if c.want == exitOK {
				isPassword(t, path, "alice", "s3cr3t")
			} else if _, err := os.Stat(path); err == nil {
				t.Error("a password is set all the same")
			}
		})
	}
}

func TestWhoInterruptsTheQuestionHasTheEchoBack(t *testing.T) {
	_, stdin := terminal(t)
	ctx, interrupt := context.WithTimeout(t.Context(), 10*time.Second)
	defer interrupt()
	go func() { // until the question is asked
		for echoes(t, stdin) && ctx.Err() == nil {
			runtime.Gosched()
		}
		interrupt()
	}()
	var errs strings.Builder
	code := run(ctx, invocation{args: []string{"htpasswd", "--file", filepath.Join(t.TempDir(), "users"), "alice"}, stdin: stdin, errs: &errs})
	wantCode(t, exitFailed, code, errs.String())
	if !strings.Contains(errs.String(), "interrupted") || !echoes(t, stdin) {
		t.Errorf("said %q; the echo is back: %v", errs.String(), echoes(t, stdin))
	}
}
