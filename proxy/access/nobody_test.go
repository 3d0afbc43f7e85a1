package access

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// watched is an installation with nobody in it, and what it logs.
func watched(t *testing.T, store storage.Store) (i *installation, nobody func() int) {
	t.Helper()
	var log strings.Builder
	i = &installation{t: t, users: filepath.Join(t.TempDir(), "htpasswd"), now: noon}
	i.write(i.users, "# nobody yet\n\n")
	var err error
	i.Guard, err = Open(t.Context(), Options{Htpasswd: i.users, Store: store, Now: func() time.Time { return i.now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return i, func() int { return strings.Count(log.String(), "nobody can log in") }
}

// A file of users that a full disk left empty is read like any other.
func TestThatNobodyCanLogInIsTold(t *testing.T) {
	i, nobody := watched(t, mem.New(atNoon))
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"at the start", func() {}, 1},
		{"nothing changes", func() {}, 1},
		{"somebody comes", func() { i.write(i.users, line(t, "alice", "ecila")) }, 1},
		{"and leaves", func() { i.write(i.users, "") }, 2},
		{"a robot comes", func() {
			if _, _, err := i.Robots().Add(t.Context(), "ci", "", noon.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, 2},
		{"beside it somebody leaves", func() { i.write(i.users, "# nobody\n") }, 2},
		{"and once it has expired", func() { i.now = noon.Add(time.Hour); i.write(i.users, "# nobody at all\n") }, 3},
	} {
		step.do()
		i.refresh()
		if got := nobody(); got != step.want {
			t.Errorf("%s: told %d times, want %d", step.name, got, step.want)
		}
	}
}

func TestWhetherThereAreRobotsIsNotKnownOfAStoreThatFails(t *testing.T) {
	broken := storagetest.Around(mem.New(atNoon), func(context.Context, storagetest.Op, string, func() error) error {
		return errors.New("the store is down")
	})
	if _, nobody := watched(t, broken); nobody() > 0 {
		t.Error("told that there are no robots")
	}
}
