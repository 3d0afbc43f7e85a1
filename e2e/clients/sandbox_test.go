package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/tools"
)

// commandLimit bounds every client command.
const commandLimit = 2 * time.Minute

// sandbox is where one client lives: a folder of its own for its home, its configuration and its data, the programs it may
// use, and no way to the internet.
type sandbox struct {
	t    *testing.T
	dir  string   // short, because addresses of Unix sockets are
	path []string // where programs are looked for, in this order
	env  []string
}

// newSandbox makes the tools available, or fails the test with what to install. Everything in it ends with the test.
func newSandbox(t *testing.T, use ...tools.Tool) *sandbox {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the container engines of these tests need root")
	}
	if err := tools.Debian(t.Context(), tools.ClientPackages()...); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	b := &sandbox{t: t, dir: dir}
	t.Cleanup(b.remove)
	for _, tool := range use {
		programs, err := tools.Dir(t.Context(), tool)
		if err != nil {
			t.Fatal(err)
		}
		b.path = append(b.path, programs)
	}
	b.path = append(b.path, "/usr/sbin", "/usr/bin", "/sbin", "/bin") // Debian's clients, whatever else the machine has
	b.env = []string{
		"PATH=" + strings.Join(b.path, ":"), "HOME=" + dir, "TMPDIR=" + dir, "XDG_RUNTIME_DIR=" + dir,
		"HTTPS_PROXY=http://127.0.0.1:1", // nobody listens there: a client that falls back to the real registry fails at once
	}
	return b
}

// remove unmounts what engines left mounted, which would keep the folder from being removed.
func (b *sandbox) remove() {
	mounts, _ := os.ReadFile("/proc/mounts") // absent where there is nothing to unmount
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 1 && strings.HasPrefix(fields[1], b.dir+"/") {
			if out, err := exec.Command("umount", "-l", fields[1]).CombinedOutput(); err != nil {
				b.t.Logf("unmount %s: %v: %s", fields[1], err, out)
			}
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		b.t.Log(err)
	}
}

// file writes a file of the sandbox and returns its path.
func (b *sandbox) file(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// command prepares a program of the sandbox's path, without its parent's environment.
func (b *sandbox) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	for _, dir := range b.path {
		program := filepath.Join(dir, name)
		if info, err := os.Stat(program); err == nil && info.Mode().IsRegular() {
			cmd := exec.CommandContext(ctx, program, args...)
			cmd.Env, cmd.Dir = b.env, b.dir
			return cmd, nil
		}
	}
	return nil, fmt.Errorf("no program %q in %s", name, strings.Join(b.path, ":"))
}

// result is what a command did.
type result struct {
	stdout string
	all    string // stdout and stderr, as they came
	err    error
}

// try runs a command and notes how long it took.
func (b *sandbox) try(name string, args ...string) result {
	start := time.Now()
	r := b.quiet(name, args...)
	b.t.Logf("%s %s: %s, %v", name, strings.Join(args, " "), time.Since(start).Round(time.Millisecond), r.err)
	return r
}

// quiet is try for what is asked many times.
func (b *sandbox) quiet(name string, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd, err := b.command(ctx, name, args...)
	if err != nil {
		return result{err: err}
	}
	var stdout, all lockedBuffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, &all), &all
	err = cmd.Run()
	return result{stdout.String(), all.String(), err}
}

// lockedBuffer is written by the two goroutines that os/exec reads a command's outputs with.
type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is for when the command has ended.
func (b *lockedBuffer) String() string { return b.buf.String() }

// run is for commands that must succeed. It returns their stdout.
func (b *sandbox) run(name string, args ...string) string {
	b.t.Helper()
	r := b.try(name, args...)
	if r.err != nil {
		b.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), r.err, r.all)
	}
	return r.stdout
}
