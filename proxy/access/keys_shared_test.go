package access

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
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
