package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// auditFile is an audit log in a file, with a clock that the test moves.
func auditFile(t *testing.T, path string) (a *auditLog, clock *time.Time, log *strings.Builder) {
	t.Helper()
	log = new(strings.Builder)
	w, err := openAudit(AuditLog(path), nil, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	a, clock = w.(*auditLog), new(time.Unix(1_700_000_000, 0))
	a.now = func() time.Time { return *clock }
	return a, clock, log
}

func write(t *testing.T, a *auditLog, line string) {
	t.Helper()
	if n, err := a.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatalf("%q: %d, %v", line, n, err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", filepath.Base(path), got, err, want)
	}
}

func TestAnAuditFileIsAppendedToAndForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for _, line := range []string{"one\n", "two\n"} {
		a, _, _ := auditFile(t, path)
		write(t, a, line)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, path, "one\ntwo\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAnAuditFileThatWasMovedAwayIsBegunAnewWithinASecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	a, clock, _ := auditFile(t, path)
	write(t, a, "one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	*clock = clock.Add(lookEvery - 1)
	write(t, a, "two\n") // nothing is looked at
	*clock = clock.Add(1)
	write(t, a, "three\n")
	wantFile(t, path+".1", "one\ntwo\n")
	wantFile(t, path, "three\n")

	if err := os.WriteFile(path+".new", []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { // another file in its place
		t.Fatal(err)
	}
	*clock = clock.Add(lookEvery)
	write(t, a, "four\n")
	wantFile(t, path, "another\nfour\n")
}

func TestALineGoesToTheOldFileWhileNoNewOneCanBeMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "audit.log")
	a, clock, log := auditFile(t, path)
	write(t, a, "one\n")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		*clock = clock.Add(lookEvery)
		write(t, a, "two\n")
		write(t, a, "three\n") // between two looks
	}
	wantFile(t, filepath.Join(dir+".old", "audit.log"), "one\ntwo\nthree\ntwo\nthree\n")
	if told := strings.Count(log.String(), "cannot be written"); told != 1 {
		t.Errorf("told %d times:\n%s", told, log)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	*clock = clock.Add(lookEvery)
	write(t, a, "four\n")
	wantFile(t, path, "four\n")
	if strings.Count(log.String(), "written again") != 1 {
		t.Errorf("nobody was told of the end:\n%s", log)
	}
}

func TestALineIsKeptWhileItsPathCannotBeLookedAt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a, clock, log := auditFile(t, filepath.Join(dir, "audit.log"))
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder was
		t.Fatal(err)
	}
	*clock = clock.Add(lookEvery)
	write(t, a, "one\n")
	wantFile(t, filepath.Join(dir+".old", "audit.log"), "one\n")
	if told := strings.Count(log.String(), "cannot be written"); told != 1 {
		t.Errorf("told %d times:\n%s", told, log)
	}
}

// fullDisk takes so many bytes and no more.
type fullDisk struct {
	strings.Builder
	room int
}

func (f *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	f.Builder.Write(b[:n])
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func TestALineThatWasTornDoesNotSpoilTheNext(t *testing.T) {
	disk := &fullDisk{room: 6}
	a := &auditLog{out: disk, log: slog.New(slog.DiscardHandler)}
	write(t, a, "one\n")
	for range 2 {
		if _, err := a.Write([]byte("two\n")); err == nil {
			t.Error("a full disk is no error")
		}
	}
	disk.room = 100
	write(t, a, "three\n")
	if got := disk.String(); got != "one\ntw\nthree\n" {
		t.Errorf("got %q", got)
	}
}

func TestAuditLogsThatAreNoFiles(t *testing.T) {
	var out strings.Builder
	w, err := openAudit("stdout", &out, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.(*auditLog), "one\n")
	if err := w.Close(); err != nil || out.String() != "one\n" {
		t.Errorf("stdout: %q, %v", out.String(), err)
	}
	if w, err := openAudit("off", &out, nil); w != nil || err != nil {
		t.Errorf("off: %v, %v", w, err)
	}
	if _, err := openAudit(AuditLog(t.TempDir()), &out, nil); err == nil {
		t.Error("a directory is no error")
	}
}
