package tools

import (
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// pins are a package.json and its lock file. It names versions and hashes but no registry: npm asks the one that it is set
// up with. To change a version: `npm install --save-dev --save-exact NAME@VERSION` in the folder npm.
//
//go:embed npm/package.json npm/package-lock.json
var pins embed.FS

// Npm returns a folder whose node_modules holds the npm packages that the tests use, as they are pinned, fetching them
// first where this user never did. It needs npm, which it installs on Debian.
func Npm(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("npm"); err != nil {
		if err := Debian(ctx, "nodejs", "npm"); err != nil {
			return "", fmt.Errorf("npm: %w", err)
		}
	}
	lockFile, err := pins.ReadFile("npm/package-lock.json")
	if err != nil {
		return "", err
	}
	dir, err := once(fmt.Sprintf("npm@%.12x", sha256.Sum256(lockFile)), func(dir string) error { return fetchNpm(ctx, dir) })
	if err != nil {
		return "", fmt.Errorf("fetch the npm packages: %w", err)
	}
	return dir, nil
}

func fetchNpm(ctx context.Context, dir string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), "npm-fetching-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := pins.ReadFile("npm/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name), b, 0o644); err != nil {
			return err
		}
	}
	if err := run(ctx, work, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		return err
	}
	return os.Rename(work, dir)
}
