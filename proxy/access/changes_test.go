package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// looks lets a guard look as Run does, for that long.
func (i *installation) looks(during time.Duration) {
	i.t.Helper()
	for end := i.now.Add(during); i.now.Before(end); {
		i.now = i.now.Add(refreshEvery)
		_ = i.look(i.t.Context(), false) // some tests let the store fail
	}
}

// added makes a robot that a guard knows which has settled since.
func (i *installation) added(store storage.Store, name string) (secret string) {
	i.t.Helper()
	secret = addRobots(i.t, NewRobots(store, i.clock, i.o.Random), name)[name]
	i.looks(unsettled + refreshEvery)
	i.logsIn(name, secret, true)
	return secret
}

func (i *installation) clock() time.Time { return i.now }

func (i *installation) logsIn(name, secret string, want bool) {
	i.t.Helper()
	if _, err := i.Basic("robot+"+name, secret, here); (err == nil) != want {
		i.t.Errorf("robot %s: %v, want it to log in: %v", name, err, want)
	}
}

func TestALookIsOneReadWhileNothingChanges(t *testing.T) {
	store := storagetest.NewCounting(mem.New(time.Now))
	i := install(t, store)
	addRobots(t, i.Robots(), "a", "b", "c")
	i.looks(unsettled + refreshEvery)
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		during     time.Duration
		gets, list int
	}{
		{"nothing changes", wholeEvery - refreshEvery, 59, 0},
		{"the next look reads everything: three robots, one key", refreshEvery, 1 + 4, 2},
		{"an hour", time.Hour, 720 + 12*4, 12 * 2},
	} {
		gets, list := store.Count(storagetest.Get), store.Count(storagetest.List)
		i.looks(c.during)
		if gets, list = store.Count(storagetest.Get)-gets, store.Count(storagetest.List)-list; gets != c.gets || list != c.list {
			t.Errorf("%s: %d reads and %d listings, want %d and %d", c.name, gets, list, c.gets, c.list)
		}
	}
}

func TestWhatAnotherServerChangesCountsAtTheNextLook(t *testing.T) {
	store := mem.New(time.Now)
	i := install(t, store)
	another := NewRobots(store, i.clock, i.o.Random)
	i.looks(unsettled + refreshEvery)
	secret := addRobots(t, another, "ci")["ci"]
	i.looks(refreshEvery)
	i.logsIn("ci", secret, true)
	for _, since := range []time.Duration{refreshEvery, unsettled - refreshEvery, unsettled, unsettled + time.Minute} {
		i.looks(since)
		revoke(t, another, "ci")
		i.looks(refreshEvery)
		i.logsIn("ci", secret, false)
		secret = addRobots(t, another, "ci")["ci"]
		i.looks(refreshEvery)
		i.logsIn("ci", secret, true)
	}
}

// A server dies at each step of revoking a robot, and the other one looks at the moment that is the worst.
func TestARobotIsRefusedWhereverTheServerDiesThatRevokesIt(t *testing.T) {
	for n := int64(1); ; n++ {
		for _, lost := range []bool{false, true} {
			store := mem.New(time.Now)
			i := install(t, store)
			secret := i.added(store, "ci")
			dies := storagetest.NewFailing(store, storagetest.Failure{N: n, Onward: true, Lost: lost})
			watched := storagetest.Around(dies, func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
				if op == storagetest.Delete {
					i.looks(changeTime) // as long as the nonce before it may be old
				}
				return do()
			})
			_ = NewRobots(watched, i.clock, i.o.Random).Revoke(t.Context(), "ci")
			_, err := store.Stat(t.Context(), "robots/ci")
			i.looks(2 * refreshEvery)
			i.logsIn("ci", secret, err == nil)
			if !dies.Failed() {
				if err == nil {
					t.Error("it was not revoked")
				}
				return
			}
		}
	}
}

func TestAServerThatWasStoppedOverARevocationTellsOfItWhenItGoesOn(t *testing.T) {
	store := mem.New(time.Now)
	i := install(t, store)
	secret := i.added(store, "ci")
	stopped := storagetest.Around(store, func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if op == storagetest.Delete {
			i.looks(unsettled + time.Minute)
		}
		return do()
	})
	revoke(t, NewRobots(stopped, i.clock, i.o.Random), "ci")
	i.looks(refreshEvery)
	i.logsIn("ci", secret, false)
}

func TestNothingIsRevokedThatOtherServersCannotBeToldOf(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		revoked bool
	}{{"no space", storage.ErrNoSpace, true}, {"anything else", storage.ErrUnavailable, false}} {
		t.Run(c.name, func(t *testing.T) {
			store, full := mem.New(time.Now), false
			i := install(t, storagetest.Around(store, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
				if full && op == storagetest.Put {
					return fmt.Errorf("write %s: %w", key, c.err)
				}
				return do()
			}))
			secret := i.added(store, "ci")
			full = true
			if err := i.Robots().Revoke(t.Context(), "ci"); (err == nil) != c.revoked || err != nil && !errors.Is(err, c.err) {
				t.Errorf("revoke: %v", err)
			}
			i.refresh()
			i.logsIn("ci", secret, !c.revoked)
		})
	}
}

func TestWhatNobodyAnnouncesIsFoundInMinutes(t *testing.T) {
	store := mem.New(time.Now)
	i := install(t, store)
	secret := i.added(store, "ci")
	if err := store.Delete(t.Context(), "robots/ci"); err != nil {
		t.Fatal(err)
	}
	i.looks(wholeEvery)
	i.logsIn("ci", secret, false)
}

func TestWhatCannotBeReadIsReadAtTheNextLook(t *testing.T) {
	for fact, prefix := range map[string]string{"the nonce": changedRecord, "a robot": robotFolder, "a key": keyFolder} {
		t.Run(fact, func(t *testing.T) {
			store, down := mem.New(time.Now), false
			i := install(t, storagetest.Around(store, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
				if down && op == storagetest.Get && strings.HasPrefix(key, prefix) {
					return storagetest.ErrInjected
				}
				return do()
			}))
			secret := i.added(store, "ci")
			down = true
			i.looks(wholeEvery)
			if err := store.Delete(t.Context(), "robots/ci"); err != nil { // which nobody announces
				t.Fatal(err)
			}
			down = prefix == changedRecord
			i.looks(refreshEvery)
			i.logsIn("ci", secret, false)
		})
	}
}

func TestAKeyIsKnownEverywhereBeforeItSigns(t *testing.T) {
	for fact, before := range map[string]func(i *installation, store storage.Store){
		"the next one": func(i *installation, _ storage.Store) {
			i.now = i.now.Add(keyLife - unsettled - time.Minute)
			i.looks(refreshEvery) // at everything
			i.now = i.now.Add(time.Minute)
		},
		"the first one again": func(i *installation, store storage.Store) {
			for _, name := range records(t, store) {
				if err := store.Delete(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(fact, func(t *testing.T) {
			store := mem.New(time.Now)
			i := install(t, store)
			i.looks(unsettled + refreshEvery)
			before(i, store)
			sharedAt(t, store, i.now) // another server makes it
			i.looks(keySettles)
			begun, err := Open(t.Context(), Options{Htpasswd: i.users, Policy: i.policy, Upstreams: i.o.Upstreams, Store: store, Now: i.clock})
			if err != nil {
				t.Fatal(err)
			}
			token, err := begun.Login(LoginRequest{User: "alice", Password: "ecila", Scopes: pushes, From: here})
			if err != nil {
				t.Fatal(err)
			}
			i.asks(token, Push, teamA, nil)
		})
	}
}
