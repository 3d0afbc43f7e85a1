package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage/disk"
)

func mustClaim(t *testing.T, dir string) *disk.DataDir {
	t.Helper()
	d, err := disk.Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestClaimTellsHowTheLastOwnerEnded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	for i, c := range []struct{ want, release bool }{
		{true, true}, {true, false}, {false, false}, {false, true}, {true, true}, {true, true},
	} {
		d := mustClaim(t, dir)
		if d.Clean != c.want {
			t.Errorf("claim %d: Clean = %t, want %t", i+1, d.Clean, c.want)
		}
		if err := d.Release(c.release); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClaimLeavesNothingButItsFiles(t *testing.T) {
	dir := t.TempDir()
	if err := mustClaim(t, dir).Release(true); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if got := strings.Join(names, " "); got != "clean format lock" {
		t.Errorf("the directory has %q", got)
	}
}

func TestTheDataDirectoryIsItsOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := mustClaim(t, dir)
	defer d.Release(false)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v; want 0700", info.Mode(), err)
	}
}

func TestASecondClaimIsRefusedAndNamesTheFirst(t *testing.T) {
	dir := t.TempDir()
	first := mustClaim(t, dir)
	_, err := disk.Claim(dir)
	if !errors.Is(err, disk.ErrInUse) {
		t.Fatalf("Claim = %v, want ErrInUse", err)
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d ", os.Getpid()), "stop it, or choose another directory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := first.Release(true); err != nil {
		t.Fatal(err)
	}
	again := mustClaim(t, dir)
	if !again.Clean {
		t.Error("the refused claim took the mark of a clean end away")
	}
	if err := again.Release(true); err != nil {
		t.Fatal(err)
	}
}

func TestClaimRefusesAFormatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct{ name, format, want string }{
		{"newer", "2\n", "has format 2, and this version knows 1 at most"},
		{"much newer", "100", "has format 100"},
		{"empty", "", "does not name a format"},
		{"garbage", "one\n", "does not name a format"},
		{"none that was ever", "0\n", "does not name a format"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "format")
			if err := os.WriteFile(path, []byte(c.format), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the refusal gives the lock back
				if _, err := disk.Claim(dir); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("Claim = %v, want %q", err, c.want)
				}
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != c.format {
				t.Errorf("format is now %q, %v", text, err)
			}
		})
	}
}

func TestAStoreMayLieInAClaimedDirectory(t *testing.T) {
	dir := t.TempDir()
	d := mustClaim(t, dir)
	defer d.Release(false)
	open(t, dir)
}
