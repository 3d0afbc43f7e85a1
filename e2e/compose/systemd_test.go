package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// TestSystemdTakesTheUnit: there is no mistake in it, and it leaves the service little to do harm with.
func TestSystemdTakesTheUnit(t *testing.T) {
	if err := tools.Debian(t.Context(), "systemd"); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "entrepot.service")
	text := strings.Replace(read(t, "deploy/systemd/entrepot.service"), "/usr/local/bin/entrepot", server.Binary(t), 1)
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", "--recursive-errors=no", unit}, {"security", "--offline=true", "--threshold=20", unit}} {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

// TestTheUnitFitsTheProgram: what the unit says of the program's ways is so.
func TestTheUnitFitsTheProgram(t *testing.T) {
	unit := read(t, "deploy/systemd/entrepot.service")
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("the unit has no %s", name)
		}
		return m[1]
	}
	command := strings.Fields(value("ExecStart"))
	s := server.New(t, server.Options{Data: filepath.Join(t.TempDir(), "data")})
	out, code := s.Run("config")
	if code != 0 {
		t.Fatal(out)
	}
	drain := regexp.MustCompile(`(?m)^ENTREPOT_DRAIN_TIMEOUT=(.*)$`).FindStringSubmatch(out)
	if drain == nil {
		t.Fatalf("no DRAIN_TIMEOUT: %s", out)
	}
	if stop, drain := duration(t, value("TimeoutStopSec")), duration(t, drain[1]); stop <= drain {
		t.Errorf("killed after %v, while it may drain for %v", stop, drain)
	}
	if data := value("Environment"); data != "ENTREPOT_DATA=/var/lib/"+value("StateDirectory") {
		t.Errorf("the data is in %s", data)
	}
	s.Set("LISTEN", "nonsense")
	if out, code := s.Run(command[1:]...); code != 2 || value("RestartPreventExitStatus") != "2" {
		t.Errorf("%s with a wrong setting ends with %d: %s", command, code, out)
	}
}

// A crash must not look like a mistake in the settings, after which the server stays down.
func TestTheUnitStartsItAgainAfterACrash(t *testing.T) {
	setting := regexp.MustCompile(`(?m)^Environment=(GOTRACEBACK=.*)$`).FindStringSubmatch(read(t, "deploy/systemd/entrepot.service"))
	if setting == nil {
		t.Fatal("the unit says nothing of crashes")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { panic(1) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", "crash", "main.go")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	crash := exec.Command("sh", "-c", "ulimit -c 0; exec ./crash")
	crash.Dir, crash.Env = dir, append(os.Environ(), setting[1])
	_ = crash.Run() // which cannot end well
	if status := crash.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
		t.Errorf("a crash ends with status %d, not by a signal", status.ExitStatus())
	}
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
