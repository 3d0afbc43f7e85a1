package access

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

const day = 24 * time.Hour

// sharedAt is what a replica with that clock reads.
func sharedAt(t *testing.T, s storage.Store, now time.Time) *keys {
	t.Helper()
	k, err := sharedKeys(t.Context(), s, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signs gives the number of the key that signs. Numbers of those that verify come after it.
func signs(t *testing.T, s storage.Store, k *keys) []int {
	t.Helper()
	var signer, others []int
	for _, name := range records(t, s) {
		record, _, err := s.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		number, _ := keyNumber(name)
		key, _, ok := parseKeyRecord(record)
		switch {
		case !ok:
		case key.Equal(k.signer):
			signer = append(signer, number)
		case k.verifiers[must(keyID(&key.PublicKey))] != nil:
			others = append(others, number)
		}
	}
	return append(signer, others...)
}

func wantKeys(t *testing.T, s storage.Store, k *keys, want ...int) {
	t.Helper()
	if got := signs(t, s, k); !slices.Equal(got, want) || len(k.verifiers) != len(want) {
		t.Errorf("keys %v of %d, want %v", got, len(k.verifiers), want)
	}
}

func records(t *testing.T, s storage.Store) (names []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), keyFolder, "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Key)
	}
	return names
}

// putKey writes a key that was made then.
func putKey(t *testing.T, s storage.Store, number int, created time.Time) {
	t.Helper()
	if err := makeKey(t.Context(), s, number, created, rand.Reader); err != nil {
		t.Fatal(err)
	}
}

func damage(t *testing.T, s storage.Store, name string, how func(record string) string) {
	t.Helper()
	record, v, err := s.Get(t.Context(), name)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := s.PutIf(t.Context(), name, []byte(how(string(record))), v); err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstKeySignsAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store) {
		first := sharedAt(t, s, noon)
		wantKeys(t, s, first, 1)
		if again := sharedAt(t, s, noon.Add(time.Hour)); !again.equal(first) {
			t.Error("another replica reads other keys")
		}
		if got := records(t, s); !slices.Equal(got, []string{"keys/00000001"}) {
			t.Errorf("records %v", got)
		}
	})
}

func TestALifeOfKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store) {
		second, third := noon.Add(30*day), noon.Add(60*day)
		for _, c := range []struct {
			at   time.Time
			want []int // the one that signs, and those that verify
		}{
			{noon, []int{1}},
			{second.Add(-1), []int{1}},
			{second, []int{1, 2}},
			{second.Add(time.Minute - 1), []int{1, 2}},
			{second.Add(time.Minute), []int{2, 1}},
			{second.Add(time.Hour + time.Minute - 1), []int{2, 1}},
			{second.Add(time.Hour + time.Minute), []int{2}},
			{third.Add(-1), []int{2}},
			{third, []int{2, 3}},
			{third.Add(100 * day), []int{3, 4}}, // nobody was there meanwhile
			{third.Add(101 * day), []int{4}},
		} {
			k := sharedAt(t, s, c.at)
			wantKeys(t, s, k, c.want...)
			if got := len(records(t, s)); got != len(c.want) {
				t.Errorf("%d records, want %d", got, len(c.want))
			}
		}
	})
}

func TestTokensOutliveARotation(t *testing.T) {
	s := mem.New(atNoon)
	change := noon.Add(keyLife + keySettles)
	sharedAt(t, s, noon)
	sharedAt(t, s, noon.Add(keyLife))
	c := aliceAtNoon()
	c.Issued, c.Expires = change.Add(-1), change.Add(TokenLife)
	token := signed(t, sharedAt(t, s, c.Issued), c)
	for at := change; at.Before(c.Expires); at = at.Add(time.Minute) {
		if _, err := sharedAt(t, s, at).verify(token, "entrepot", at); err != nil {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

func TestReplicasThatRaceEndWithTheSameKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store) {
		for _, c := range []struct {
			name string
			now  time.Time
			want []int
		}{{"at first start", noon, []int{1}}, {"at rotation", noon.Add(keyLife), []int{1, 2}}, {"when the old one goes", noon.Add(keyLife + 2*time.Hour), []int{2}}} {
			var read [8]*keys
			var all sync.WaitGroup
			for i := range read {
				all.Go(func() {
					var err error
					if read[i], err = sharedKeys(t.Context(), s, c.now, rand.Reader); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			for _, k := range read {
				if !k.equal(read[0]) {
					t.Errorf("%s: replicas have other keys", c.name)
				}
			}
			wantKeys(t, s, read[0], c.want...)
			if got := records(t, s); len(got) != len(c.want) {
				t.Errorf("%s: records %v", c.name, got)
			}
		}
	})
}

// Whatever fails, what is read is good, and when nothing fails any more all is as if nothing had.
func TestKeysOfAStoreThatFails(t *testing.T) {
	for _, state := range []struct {
		name string
		now  time.Time
		want []int
	}{{"at first start", noon, []int{1}}, {"at rotation", noon.Add(keyLife), []int{1, 2}}, {"when the old one goes", noon.Add(keyLife + 2*time.Hour), []int{2}}} {
		for _, lost := range []bool{false, true} {
			for n := int64(1); ; n++ {
				s := mem.New(func() time.Time { return state.now })
				if state.now != noon {
					putKey(t, s, 1, noon)
				}
				if state.now.After(noon.Add(keyLife)) {
					putKey(t, s, 2, noon.Add(keyLife))
				}
				failing := storagetest.NewFailing(s, storagetest.Failure{N: n, Lost: lost})
				k, err := sharedKeys(t.Context(), failing, state.now, rand.Reader)
				if !failing.Failed() {
					break
				}
				name := fmt.Sprintf("%s, operation %d, its answer lost: %v", state.name, n, lost)
				if k == nil && !errors.Is(err, storagetest.ErrInjected) {
					t.Errorf("%s: no keys, %v", name, err)
				}
				if k != nil {
					if _, err := k.verify(signed(t, k, aliceAtNoon()), "entrepot", noon); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				t.Run(name, func(t *testing.T) { wantKeys(t, s, sharedAt(t, s, state.now), state.want...) })
			}
		}
	}
}

func TestAStoreThatDoesNotAnswer(t *testing.T) {
	s := mem.New(atNoon)
	putKey(t, s, 1, noon)
	for op := range 3 {
		failing := storagetest.NewFailing(s, storagetest.Failure{N: int64(op + 1), Onward: true})
		if k, err := sharedKeys(t.Context(), failing, noon.Add(time.Hour), rand.Reader); k != nil || !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("operation %d: %v, %v", op+1, k, err)
		}
	}
	if got := records(t, s); len(got) != 1 {
		t.Errorf("records %v", got)
	}
}

// A store that cannot be written to keeps the keys that it has, however old.
func TestAStoreThatIsReadOnly(t *testing.T) {
	s := mem.New(atNoon)
	putKey(t, s, 1, noon)
	failing := storagetest.Around(s, func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if op == storagetest.PutIf {
			return storagetest.ErrInjected
		}
		return do()
	})
	k, err := sharedKeys(t.Context(), failing, noon.Add(100*day), rand.Reader)
	if !errors.Is(err, storagetest.ErrInjected) {
		t.Errorf("told: %v", err)
	}
	wantKeys(t, s, k, 1)
}

// The newest may be good: another would be one too many, every time that it cannot be read.
func TestAKeyThatCannotBeRead(t *testing.T) {
	s := mem.New(atNoon)
	putKey(t, s, 1, noon)
	putKey(t, s, 2, noon.Add(keyLife))
	for _, c := range []struct {
		unread string
		want   []int
	}{{"keys/00000001", []int{2}}, {"keys/00000002", []int{1}}} {
		failing := storagetest.Around(s, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
			if op == storagetest.Get && key == c.unread {
				return storagetest.ErrInjected
			}
			return do()
		})
		k, err := sharedKeys(t.Context(), failing, noon.Add(keyLife+2*keySettles), rand.Reader)
		if !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("told: %v", err)
		}
		wantKeys(t, s, k, c.want...)
	}
	if got := records(t, s); len(got) != 2 {
		t.Errorf("records %v", got)
	}
}

func TestDamagedKeys(t *testing.T) {
	for name, how := range map[string]func(string) string{
		"cut":                func(r string) string { return r[:len(r)/2] },
		"empty":              func(string) string { return "" },
		"of another kind":    func(string) string { return `["created"]` },
		"without a key":      func(string) string { return `{"created":"2026-01-01T12:00:00Z"}` },
		"without a time":     func(r string) string { return strings.Replace(r, "created", "other", 1) },
		"with a changed key": func(r string) string { return strings.Replace(r, `\nM`, `\nX`, 1) },
		"huge":               func(r string) string { return r + strings.Repeat(" ", maxKeyRecord) },
	} {
		t.Run(name, func(t *testing.T) {
			s := mem.New(atNoon)
			sharedAt(t, s, noon)
			before, _, _ := s.Get(t.Context(), "keys/00000001")
			damage(t, s, "keys/00000001", how)
			k, err := sharedKeys(t.Context(), s, noon, rand.Reader)
			if err == nil || !strings.Contains(err.Error(), "key 1 ") {
				t.Fatalf("told: %v", err)
			}
			wantNoKey(t, err, string(before))
			wantKeys(t, s, k, 2)
			if again, _ := sharedKeys(t.Context(), s, noon, rand.Reader); !again.equal(k) {
				t.Error("another is made each time")
			}
			later := noon.Add(keySettles + keyLingers)
			_, _ = sharedKeys(t.Context(), s, later, rand.Reader) // deletes the damaged one, and tells of it for the last time
			wantKeys(t, s, sharedAt(t, s, later), 2)
		})
	}
}

func TestADamagedNewestKeyLeavesTheOneBefore(t *testing.T) {
	s := mem.New(atNoon)
	putKey(t, s, 1, noon)
	damage(t, s, "keys/00000002", func(string) string { return "{}" })
	damage(t, s, "keys/readme", func(string) string { return "what is this" })
	for _, c := range []struct {
		at   time.Time
		want []int
	}{{noon.Add(time.Hour), []int{1}}, {noon.Add(keyLife), []int{1, 3}}, {noon.Add(keyLife + 2*time.Hour), []int{3}}} {
		k, err := sharedKeys(t.Context(), s, c.at, rand.Reader)
		if err == nil || !strings.Contains(err.Error(), "keys/readme") {
			t.Errorf("told: %v", err)
		}
		wantKeys(t, s, k, c.want...)
	}
	if got, want := records(t, s), []string{"keys/00000003", "keys/readme"}; !slices.Equal(got, want) {
		t.Errorf("records %v, want %v", got, want)
	}
}

func TestWrongClocks(t *testing.T) {
	ahead, behind := noon.Add(3650*day), noon.Add(-3650*day)
	clock := noon
	at := func(d time.Duration) time.Time { clock = noon.Add(d); return clock } // the store's clock is right
	s := mem.New(func() time.Time { return clock })

	wantKeys(t, s, sharedAt(t, s, ahead), 1)
	wantKeys(t, s, sharedAt(t, s, at(time.Hour)), 1)
	wantKeys(t, s, sharedAt(t, s, at(keyLife-1)), 1)
	wantKeys(t, s, sharedAt(t, s, at(keyLife)), 1, 2) // a key made in the future does not live for ever
	wantKeys(t, s, sharedAt(t, s, behind), 1, 2)
	wantKeys(t, s, sharedAt(t, s, behind.Add(keyLife)), 1, 2)
	wantKeys(t, s, sharedAt(t, s, at(keyLife+2*time.Hour)), 2)
	for range 3 { // who is ahead replaces a key that looks old, once
		wantKeys(t, s, sharedAt(t, s, ahead.Add(time.Hour)), 2, 3)
	}
	wantKeys(t, s, sharedAt(t, s, at(keyLife+2*time.Hour+2*keySettles)), 3, 2)
}

func TestAKeyThatCannotBeMade(t *testing.T) {
	broken := errors.New("no entropy")
	if k, err := sharedKeys(t.Context(), mem.New(atNoon), noon, iotest.ErrReader(broken)); k != nil || !errors.Is(err, broken) {
		t.Errorf("%v, %v", k, err)
	}
	s := mem.New(atNoon)
	putKey(t, s, lastKey, noon)
	k, err := sharedKeys(t.Context(), s, noon.Add(keyLife), rand.Reader)
	if err == nil {
		t.Error("nothing is told of numbers that have run out")
	}
	wantKeys(t, s, k, lastKey)
}

// A store whose writes are not seen by its listing has no keys, and says so.
func TestAKeyThatIsNotThere(t *testing.T) {
	forgetful := storagetest.Around(mem.New(atNoon), func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if op == storagetest.PutIf {
			return nil
		}
		return do()
	})
	if k, err := sharedKeys(t.Context(), forgetful, noon, rand.Reader); k != nil || err == nil {
		t.Errorf("%v, %v", k, err)
	}
}
