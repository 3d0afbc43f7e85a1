package tools

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClientPackages are the Debian packages of the clients that the tests drive and of what they run on.
func ClientPackages() []string {
	return []string{"docker.io", "containerd", "runc", "iptables", "podman", "skopeo", "buildah", "busybox-static", "ca-certificates", "haproxy", "prometheus", "chromium", "fonts-dejavu-core"}
}

// Debian installs those of the packages that are missing. It asks no package manager when all are there.
func Debian(ctx context.Context, packages ...string) error {
	missing := absent(ctx, packages)
	if len(missing) == 0 {
		return nil
	}
	install := "apt-get install --no-install-recommends " + strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("needed and not here: %s; this is not Debian, so install what they hold by hand (on Debian: %s)", strings.Join(missing, ", "), install)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("needed and not here: %s; as root: %s", strings.Join(missing, ", "), install)
	}
	unlock, err := lock(filepath.Join(os.TempDir(), "entrepot-e2e-apt.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if missing = absent(ctx, missing); len(missing) == 0 {
		return nil // whoever held the lock installed them
	}
	return aptInstall(ctx, missing)
}

// aptInstall starts none of the services the packages bring: the tests run daemons of their own.
func aptInstall(ctx context.Context, packages []string) error {
	env := []string{"DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"}
	if err := run(ctx, "", env, "apt-get", "update", "-q"); err != nil {
		return err
	}
	return run(ctx, "", env, "apt-get", append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)...)
}

// absent returns the packages that dpkg does not know as installed. Without dpkg that is all of them.
func absent(ctx context.Context, packages []string) []string {
	var missing []string
	for _, p := range packages {
		status, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status}", p).Output()
		if err != nil || string(status) != "installed" {
			missing = append(missing, p)
		}
	}
	return missing
}
