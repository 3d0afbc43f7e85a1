package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// built is the program's path; it is built once by each test process.
var built = sync.OnceValues(build)

// Binary is the path of the program under test, built from this checkout. ENTREPOT_BINARY names another one;
// E2E_RACE=1 builds it with the race detector.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Root is the project's folder.
func Root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(here)))
}

// build replaces the program by a rename: other test processes may be running the one before.
func build() (string, error) {
	if path := os.Getenv("ENTREPOT_BINARY"); path != "" {
		return path, nil
	}
	out := filepath.Join(Root(), "e2e", "out")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", fmt.Errorf("folder for the program: %w", err)
	}
	made := filepath.Join(out, fmt.Sprintf("entrepot.%d", os.Getpid()))
	args := []string{"build", "-trimpath", "-o", made}
	if os.Getenv("E2E_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/entrepot")...)
	cmd.Dir = Root()
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build entrepot: %w\n%s", err, output), os.RemoveAll(made))
	}
	path := filepath.Join(out, "entrepot")
	return path, os.Rename(made, path)
}
