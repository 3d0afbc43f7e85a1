// Package tools makes the clients and registries that the end-to-end tests drive available: Go programs built once per
// pinned version into the user's cache folder, and Debian packages installed when they are missing. Whatever cannot be had
// is an error that says what to install; nothing is skipped.
package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// A Tool is one or more programs of one Go module at a pinned version.
type Tool struct {
	Name     string            // the first part of the folder's name in the cache
	Module   string            // module path
	Version  string            // module version, "v1.2.3"
	Programs map[string]string // program name to the package it is built from, relative to the module

	measured   bool     // benchmarks run it, so it is compiled as its makers would
	cgo        bool     // link C libraries; the rest are static
	tags       string   // build tags
	debian     []string // packages that building needs
	throwaway  bool     // the module has replace directives, which `go install` refuses: build it as a dependency
	stampedVar string   // a string variable that must hold the version
}

// Dir returns the folder that holds the tool's programs, building them first where this user never did.
func Dir(ctx context.Context, tool Tool) (string, error) {
	dir, err := once(tool.Name+"@"+tool.Version, func(dir string) error { return build(ctx, tool, dir) })
	if err != nil {
		return "", fmt.Errorf("build %s %s with the Go command: %w", tool.Name, tool.Version, err)
	}
	return dir, nil
}

// once returns a folder of the user's cache, having it made first where it is not there. Processes that ask at the same time
// make it once: the others wait. What is broken off leaves nothing behind, if it is made elsewhere and renamed.
func once(name string, fill func(dir string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w", err)
	}
	dir := filepath.Join(cache, "entrepot-e2e", name)
	if built(dir) {
		return dir, nil
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if built(dir) {
		return dir, nil
	}
	return dir, fill(dir)
}

// built tells whether dir is there: it appears by rename, so it is whole.
func built(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

// lock waits for the exclusive lock on file, which the kernel drops when this process dies.
func lock(file string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file, err), f.Close())
	}
	return func() { f.Close() }, nil
}

func build(ctx context.Context, tool Tool, dir string) error {
	if err := Debian(ctx, tool.debian...); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), tool.Name+"-building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if tool.throwaway {
		if err := depend(ctx, tool, work); err != nil {
			return err
		}
	}
	bin := filepath.Join(work, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	for program, pkg := range tool.Programs {
		if err := compile(ctx, tool, work, path.Join(tool.Module, pkg), filepath.Join(bin, program)); err != nil {
			return err
		}
	}
	return os.Rename(bin, dir)
}

// depend makes work a module that requires the tool.
func depend(ctx context.Context, tool Tool, work string) error {
	if err := run(ctx, work, nil, "go", "mod", "init", "throwaway"); err != nil {
		return err
	}
	for _, pkg := range tool.Programs {
		if err := run(ctx, work, nil, "go", "get", path.Join(tool.Module, pkg)+"@"+tool.Version); err != nil {
			return err
		}
	}
	return nil
}

func compile(ctx context.Context, tool Tool, work, pkg, program string) error {
	ldflags := "-s -w"
	if tool.stampedVar != "" {
		ldflags += " -X " + tool.stampedVar + "=" + tool.Version
	}
	env := []string{"CGO_ENABLED=0", "GOWORK=off"}
	if tool.cgo {
		env[0] = "CGO_ENABLED=1"
	}
	flags := []string{"-trimpath", "-tags", tool.tags, "-ldflags", ldflags}
	if !tool.measured {
		flags = append(flags, "-gcflags=all=-N -l -dwarf=false") // takes a third less of the processor than optimizing what runs for seconds
	}
	if tool.throwaway {
		return run(ctx, work, env, "go", append(append([]string{"build"}, flags...), "-o", program, pkg)...)
	}
	env = append(env, "GOBIN="+work)
	if err := run(ctx, work, env, "go", append(append([]string{"install"}, flags...), pkg+"@"+tool.Version)...); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, path.Base(pkg)), program)
}

// run runs one command in dir and puts what it printed into the error.
func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(out, 4096))
	}
	return nil
}

func tail(out []byte, n int) []byte {
	return out[max(0, len(out)-n):]
}
