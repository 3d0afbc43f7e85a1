// Package sandbox runs real clients and daemons for tests: each in a folder of its own, with the programs it may use and no
// way to the internet, ended with the test.
package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/tools"
)

// Sandbox is where one client lives.
type Sandbox struct {
	Dir string   // its home, its configuration and its data; short, because addresses of Unix sockets are
	Env []string // of its programs

	t    testing.TB
	path []string // where programs are looked for, in this order
}

// New makes the tools available, or fails the test with what to install. Everything in it ends with the test.
func New(t testing.TB, use ...tools.Tool) *Sandbox {
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
	b := &Sandbox{Dir: dir, t: t}
	t.Cleanup(b.remove)
	for _, tool := range use {
		programs, err := tools.Dir(t.Context(), tool)
		if err != nil {
			t.Fatal(err)
		}
		b.path = append(b.path, programs)
	}
	b.path = append(b.path, "/usr/sbin", "/usr/bin", "/sbin", "/bin") // Debian's clients, whatever else the machine has
	b.Env = []string{
		"PATH=" + strings.Join(b.path, ":"), "HOME=" + dir, "TMPDIR=" + dir, "XDG_RUNTIME_DIR=" + dir,
		"HTTPS_PROXY=http://127.0.0.1:1", // nobody listens there: a client that falls back to the real registry fails at once
	}
	return b
}

// remove unmounts what engines left mounted, which would keep the folder from being removed.
func (b *Sandbox) remove() {
	mounts, _ := os.ReadFile("/proc/mounts") // absent where there is nothing to unmount
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 1 && strings.HasPrefix(fields[1], b.Dir+"/") {
			if out, err := exec.Command("umount", "-l", fields[1]).CombinedOutput(); err != nil {
				b.t.Logf("unmount %s: %v: %s", fields[1], err, out)
			}
		}
	}
	if err := os.RemoveAll(b.Dir); err != nil {
		b.t.Log(err)
	}
}

// File writes a file of the sandbox and returns its path.
func (b *Sandbox) File(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.Dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		b.t.Fatal(err)
	}
	return path
}
