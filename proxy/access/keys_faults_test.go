package access

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

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
	}{{"keys/00000001", []int{2}}, {"keys/00000002", []int{1}}, {"keys/", nil}} {
		failing := storagetest.Around(s, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
			if op == storagetest.Get && strings.HasPrefix(key, c.unread) {
				return storagetest.ErrInjected
			}
			return do()
		})
		k, err := sharedKeys(t.Context(), failing, noon.Add(keyLife+2*keySettles), rand.Reader)
		if !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("told: %v", err)
		}
		if c.want != nil {
			wantKeys(t, s, k, c.want...)
		} else if k != nil {
			t.Errorf("keys of what could not be read: %v", k)
		}
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
	if got := records(t, s); len(got) != 1 {
		t.Errorf("records %v", got)
	}
}

func TestAKeyThatGoesWhileItIsRead(t *testing.T) {
	s := mem.New(atNoon)
	putKey(t, s, 1, noon)
	putKey(t, s, 2, noon.Add(keyLife))
	another := storagetest.Around(s, func(ctx context.Context, op storagetest.Op, key string, do func() error) error {
		if op == storagetest.Get && key == "keys/00000001" {
			_ = s.Delete(ctx, key) // which mem never fails
		}
		return do()
	})
	wantKeys(t, s, sharedAt(t, another, noon.Add(keyLife+2*time.Hour)), 2)
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
