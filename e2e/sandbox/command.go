package sandbox

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// commandLimit bounds every command.
const commandLimit = 6 * time.Minute

// command prepares a program of the sandbox's path, without its parent's environment.
func (b *Sandbox) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	for _, dir := range b.path {
		program := filepath.Join(dir, name)
		if info, err := os.Stat(program); err == nil && info.Mode().IsRegular() {
			cmd := exec.CommandContext(ctx, program, args...)
			cmd.Env, cmd.Dir = b.Env, b.Dir
			cmd.WaitDelay = 10 * time.Second // what a killed client leaves behind may hold its output open
			return cmd, nil
		}
	}
	return nil, fmt.Errorf("no program %q in %s", name, strings.Join(b.path, ":"))
}

// Result is what a command did.
type Result struct {
	Stdout string
	All    string // stdout and stderr, as they came
	Err    error
}

// Try runs a command and notes how long it took.
func (b *Sandbox) Try(name string, args ...string) Result {
	start := time.Now()
	r := b.Quiet(name, args...)
	b.t.Logf("%s %s: %s, %v", name, strings.Join(args, " "), time.Since(start).Round(time.Millisecond), r.Err)
	return r
}

// Quiet is Try for what is asked many times.
func (b *Sandbox) Quiet(name string, args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd, err := b.command(ctx, name, args...)
	if err != nil {
		return Result{Err: err}
	}
	var stdout, all lockedBuffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, &all), &all
	err = cmd.Run()
	return Result{stdout.String(), all.String(), err}
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

// Run is for commands that must succeed. It returns their stdout.
func (b *Sandbox) Run(name string, args ...string) string {
	b.t.Helper()
	r := b.Try(name, args...)
	if r.Err != nil {
		b.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), r.Err, r.All)
	}
	return r.Stdout
}
