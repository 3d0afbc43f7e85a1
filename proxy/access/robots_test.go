package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/disk"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func atNoon() time.Time { return noon }

// eachStore runs a test over every kind of store.
func eachStore(t *testing.T, test func(t *testing.T, s storage.Store)) {
	t.Run("mem", func(t *testing.T) { test(t, mem.New(atNoon)) })
	t.Run("disk", func(t *testing.T) {
		s, err := disk.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, s)
	})
}

func robotsOf(s storage.Store) *Robots { return NewRobots(s, atNoon, rand.Reader) }

// addRobots makes robots and gives their secrets.
func addRobots(t *testing.T, r *Robots, names ...string) (secrets map[string]string) {
	t.Helper()
	secrets = map[string]string{}
	for _, name := range names {
		_, secret, err := r.Add(t.Context(), name, "", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = secret
	}
	return secrets
}

func revoke(t *testing.T, r *Robots, name string) {
	t.Helper()
	if err := r.Revoke(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func loaded(t *testing.T, r *Robots) robots {
	t.Helper()
	rs, err := r.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func wantNames(t *testing.T, rs robots, want ...string) {
	t.Helper()
	if got := slices.Sorted(maps.Keys(rs)); !slices.Equal(got, want) {
		t.Errorf("robots %q, want %q", got, want)
	}
}

func TestARobotLogsIn(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store) {
		r := robotsOf(s)
		added, secret, err := r.Add(t.Context(), "ci", "builds of team a", time.Time{})
		if want := (Robot{Name: "ci", Note: "builds of team a", Created: noon}); err != nil || added != want {
			t.Fatalf("added %+v, %v; want %+v", added, err, want)
		}
		if len(secret) != len("ept_")+43 || !strings.HasPrefix(secret, "ept_") {
			t.Errorf("secret %q", secret)
		}
		other := addRobots(t, r, "cd")["cd"]
		rs := loaded(t, r)
		for _, c := range []struct {
			name, secret string
			want         bool
		}{
			{"ci", secret, true}, {"cd", other, true}, {"ci", other, false}, {"cd", secret, false}, {"ci", "", false},
			{"ci", secret + "=", false}, {"ci", secret[4:], false}, {"c", secret, false}, {"", "", false}, {"robot+ci", secret, false},
		} {
			if got := rs.check(c.name, c.secret, noon); got != c.want {
				t.Errorf("check(%q, %q) = %v, want %v", c.name, c.secret, got, c.want)
			}
		}
	})
}

func TestEveryBitOfTheHashCounts(t *testing.T) {
	right := robot{Robot: Robot{Name: "ci"}, hash: sha256.Sum256([]byte("secret"))}
	if !(robots{"ci": right}).check("ci", "secret", noon) {
		t.Fatal("the right secret is none")
	}
	for bit := range 8 * len(right.hash) {
		wrong := right
		wrong.hash[bit/8] ^= 1 << (bit % 8)
		if (robots{"ci": wrong}).check("ci", "secret", noon) {
			t.Errorf("bit %d", bit)
		}
	}
}

func TestNoSecretIsKept(t *testing.T) {
	s := mem.New(atNoon)
	secret := addRobots(t, robotsOf(s), "ci")["ci"]
	record, _, err := s.Get(t.Context(), "robots/ci")
	if err != nil || strings.Contains(string(record), strings.TrimPrefix(secret, secretPrefix)) {
		t.Errorf("%s, %v", record, err)
	}
}

func TestRobotsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name, robot, note string
		expires           time.Time
	}{
		{"no name", "", "", time.Time{}},
		{"upper case", "CI", "", time.Time{}},
		{"a folder", "team/ci", "", time.Time{}},
		{"the folder above", "..", "", time.Time{}},
		{"a dash in front", "-ci", "", time.Time{}},
		{"a plus", "robot+ci", "", time.Time{}},
		{"an umlaut", "für", "", time.Time{}},
		{"a long name", strings.Repeat("x", 65), "", time.Time{}},
		{"a note of two lines", "ci", "a\nb", time.Time{}},
		{"a note that moves the cursor", "ci", "\x1b[A", time.Time{}},
		{"a note that is no text", "ci", "\xff", time.Time{}},
		{"a long note", "ci", strings.Repeat("x", 201), time.Time{}},
		{"one that ends when it begins", "ci", "", noon},
		{"one that has ended", "ci", "", noon.Add(-time.Hour)},
		{"one that ends after the calendar", "ci", "", time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mem.New(atNoon)
			added, secret, err := robotsOf(s).Add(t.Context(), c.robot, c.note, c.expires)
			if err == nil || added != (Robot{}) || secret != "" {
				t.Errorf("%+v, %q, %v", added, secret, err)
			}
			wantNames(t, loaded(t, robotsOf(s)))
		})
	}
	for _, name := range []string{"0", "a-b_c.d", strings.Repeat("x", 64)} {
		if _, _, err := robotsOf(mem.New(atNoon)).Add(t.Context(), name, strings.Repeat("ü", 100), time.Time{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecretThatCannotBeMade(t *testing.T) {
	s := mem.New(atNoon)
	broken := errors.New("no entropy")
	_, secret, err := NewRobots(s, atNoon, iotest.ErrReader(broken)).Add(t.Context(), "ci", "", time.Time{})
	if !errors.Is(err, broken) || secret != "" {
		t.Errorf("%q, %v", secret, err)
	}
	wantNames(t, loaded(t, robotsOf(s)))
}

func TestRobotsExpire(t *testing.T) {
	s := mem.New(atNoon)
	r := robotsOf(s)
	ends := noon.Add(time.Hour)
	_, secret, err := r.Add(t.Context(), "ci", "", ends.In(time.FixedZone("", 7200)))
	if err != nil {
		t.Fatal(err)
	}
	rs := loaded(t, r)
	for _, c := range []struct {
		now  time.Time
		want bool
	}{{noon, true}, {ends.Add(-1), true}, {ends, false}, {ends.Add(time.Hour), false}} {
		mark, expires, ok := rs.mark("ci", c.now)
		if ok != c.want || rs.check("ci", secret, c.now) != c.want || (mark != "") != c.want || ok && !expires.Equal(ends) {
			t.Errorf("at %v: mark %q, %v, %v; want %v", c.now, mark, expires, ok, c.want)
		}
	}
	later := NewRobots(s, func() time.Time { return ends }, rand.Reader)
	if list, err := later.List(t.Context()); err != nil || len(list) != 1 || list[0].Expires != ends {
		t.Errorf("listed %+v, %v", list, err)
	}
	if _, _, err := later.Add(t.Context(), "ci", "", time.Time{}); !errors.Is(err, ErrRobotExists) {
		t.Errorf("its name is given to another: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store) {
		r := robotsOf(s)
		was := addRobots(t, r, "cd", "ci")
		before := loaded(t, r)
		revoke(t, r, "ci")
		after := loaded(t, r)
		wantNames(t, before, "cd", "ci")
		wantNames(t, after, "cd")
		if after.check("ci", was["ci"], noon) || !after.check("cd", was["cd"], noon) || after.equal(before) {
			t.Error("the one that was revoked logs in, or the other does not")
		}
		is := addRobots(t, r, "ci")
		again := loaded(t, r)
		if again.check("ci", was["ci"], noon) || !again.check("ci", is["ci"], noon) {
			t.Error("what was revoked has come back with the name")
		}
		oldMark, _, _ := before.mark("ci", noon)
		if mark, _, ok := again.mark("ci", noon); !ok || mark == oldMark || len(mark) != 12 {
			t.Errorf("mark %q, %v; that of the one before was %q", mark, ok, oldMark)
		}
		for _, name := range []string{"nobody", "", "..", "../robots/ci", "CI"} {
			if err := r.Revoke(t.Context(), name); !errors.Is(err, ErrRobotUnknown) {
				t.Errorf("revoke %q: %v", name, err)
			}
		}
		wantNames(t, loaded(t, r), "cd", "ci")
	})
}

func TestListOfRobots(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store) {
		r := robotsOf(s)
		addRobots(t, r, "b", "a.b", "a-b", "a")
		list, err := r.List(t.Context())
		var names []string
		for _, robot := range list {
			names = append(names, robot.Name)
		}
		if want := []string{"a", "a-b", "a.b", "b"}; err != nil || !slices.Equal(names, want) {
			t.Errorf("%q, %v; want %q", names, err, want)
		}
	})
}

func TestOneOfManyGetsTheName(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store) {
		r := robotsOf(s)
		var won sync.Map
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, secret, err := r.Add(t.Context(), "ci", "", time.Time{})
				if err == nil {
					won.Store(secret, true)
				} else if !errors.Is(err, ErrRobotExists) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		rs, n := loaded(t, r), 0
		won.Range(func(secret, _ any) bool {
			n++
			return rs.check("ci", secret.(string), noon)
		})
		if n != 1 {
			t.Errorf("%d have won", n)
		}
	})
}

func TestEqualRobots(t *testing.T) {
	s := mem.New(atNoon)
	r := robotsOf(s)
	wantEqual := func(name string, a, b robots, want bool) {
		t.Helper()
		if a.equal(b) != want || b.equal(a) != want {
			t.Errorf("%s: equal is %v, want %v", name, a.equal(b), want)
		}
	}
	none := loaded(t, r)
	wantEqual("none and those not loaded", none, nil, true)
	addRobots(t, r, "ci")
	one := loaded(t, r)
	wantEqual("none and one", none, one, false)
	wantEqual("loaded twice", one, loaded(t, robotsOf(s)), true)
	addRobots(t, r, "cd")
	wantEqual("one and two", one, loaded(t, r), false)
	revoke(t, r, "cd")
	wantEqual("one, and one that another was revoked beside", one, loaded(t, r), true)
	revoke(t, r, "ci")
	addRobots(t, r, "ci")
	wantEqual("another of the name", one, loaded(t, r), false)
	shorter := maps.Clone(one)
	ci := shorter["ci"]
	ci.Expires = noon
	shorter["ci"] = ci
	wantEqual("another time", one, shorter, false)
}

func TestDamagedRobotsTakeNobodyAlong(t *testing.T) {
	for _, c := range []struct {
		name, key string
		damage    func(record string) string
	}{
		{"cut short", "robots/ci", func(r string) string { return r[:len(r)/2] }},
		{"empty", "robots/ci", func(string) string { return "" }},
		{"another's", "robots/ci", func(r string) string { return strings.Replace(r, `"ci"`, `"cd"`, 1) }},
		{"without a hash", "robots/ci", func(string) string { return `{"name":"ci"}` }},
		{"with a short hash", "robots/ci", func(string) string { return `{"name":"ci","sha256":"AAAA"}` }},
		{"of another kind", "robots/ci", func(string) string { return `["ci"]` }},
		{"huge", "robots/ci", func(r string) string { return r + strings.Repeat(" ", maxRobotRecord) }},
		{"under a name that is none", "robots/CI", func(r string) string { return strings.Replace(r, `"ci"`, `"CI"`, 1) }},
		{"in a folder", "robots/c/i", func(r string) string { return strings.Replace(r, `"ci"`, `"c/i"`, 1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mem.New(atNoon)
			r := robotsOf(s)
			addRobots(t, r, "aa", "ci", "zz")
			loaded(t, r)
			record, _, err := s.Get(t.Context(), "robots/ci")
			if err != nil {
				t.Fatal(err)
			}
			revoke(t, r, "ci")
			if _, err := s.PutIf(t.Context(), c.key, []byte(c.damage(string(record))), storage.Absent); err != nil {
				t.Fatal(err)
			}
			rs, err := r.load(t.Context())
			wantNames(t, rs, "aa", "zz")
			if want := fmt.Sprintf("robot %q: record is damaged", strings.TrimPrefix(c.key, "robots/")); err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			list, listErr := r.List(t.Context())
			if len(list) != 2 || fmt.Sprint(listErr) != fmt.Sprint(err) {
				t.Errorf("listed %+v, %v", list, listErr)
			}
			if c.key != "robots/ci" {
				return
			}
			revoke(t, r, "ci")
			addRobots(t, r, "ci")
			wantNames(t, loaded(t, r), "aa", "ci", "zz")
		})
	}
}

func TestARobotThatIsRevokedWhileItIsRead(t *testing.T) {
	s := mem.New(atNoon)
	addRobots(t, robotsOf(s), "cd", "ci")
	around := storagetest.Around(s, func(ctx context.Context, op storagetest.Op, key string, do func() error) error {
		if op == storagetest.Get && key == "robots/ci" {
			if err := s.Delete(ctx, key); err != nil {
				return err
			}
		}
		return do()
	})
	wantNames(t, loaded(t, robotsOf(around)), "cd")
}

// unreadable is a store that does not give one record.
func unreadable(s storage.Store, which *string) storage.Store {
	return storagetest.Around(s, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
		if (op == storagetest.Get || op == storagetest.Stat) && key == *which {
			return storagetest.ErrInjected
		}
		return do()
	})
}

func TestRobotsThatCannotBeReadForATime(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(r *Robots)
		want      []string
		err       error
	}{
		{"stay", func(*Robots) {}, []string{"cd", "ci"}, storagetest.ErrInjected},
		{"are revoked all the same", func(r *Robots) { revoke(t, r, "ci") }, []string{"cd"}, nil},
		{"are not taken for those of their name before", func(r *Robots) {
			revoke(t, r, "ci")
			if _, _, err := r.Add(t.Context(), "ci", "another record", time.Time{}); err != nil {
				t.Fatal(err)
			}
		}, []string{"cd"}, storagetest.ErrInjected},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, which := mem.New(atNoon), ""
			whole, partly := robotsOf(s), robotsOf(unreadable(s, &which))
			addRobots(t, whole, "cd", "ci")
			wantNames(t, loaded(t, partly), "cd", "ci")
			c.meanwhile(whole)
			which = "robots/ci"
			for range 2 {
				rs, err := partly.load(t.Context())
				wantNames(t, rs, c.want...)
				if !errors.Is(err, c.err) {
					t.Errorf("%v, want %v", err, c.err)
				}
			}
		})
	}
}

func TestARobotThatWasNeverReadIsLeftOut(t *testing.T) {
	which := "robots/ci"
	r := robotsOf(unreadable(mem.New(atNoon), &which))
	addRobots(t, r, "cd", "ci")
	rs, err := r.load(t.Context())
	wantNames(t, rs, "cd")
	if !errors.Is(err, storagetest.ErrInjected) {
		t.Errorf("%v", err)
	}
	revoke(t, r, "ci")
	wantNames(t, loaded(t, r), "cd")
}

func TestNothingIsKnownWhereTheStoreDoesNotList(t *testing.T) {
	s := mem.New(atNoon)
	addRobots(t, robotsOf(s), "cd", "ci")
	for _, n := range []int64{1, 2, 3} { // the listing's beginning, and each of its robots
		r := robotsOf(storagetest.NewFailing(s, storagetest.Failure{N: n}))
		if rs, err := r.load(t.Context()); rs != nil || !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("operation %d fails: %v, %v", n, rs, err)
		}
		r = robotsOf(storagetest.NewFailing(s, storagetest.Failure{N: n}))
		if list, err := r.List(t.Context()); list != nil || !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("operation %d fails: listed %v, %v", n, list, err)
		}
	}
}

func TestNoFailureKeepsOneThatIsRevokedOrTakesOthersAlong(t *testing.T) {
	for n := int64(1); ; n++ {
		s := mem.New(atNoon)
		r := robotsOf(s)
		addRobots(t, r, "a", "b", "c")
		failing := storagetest.NewFailing(s, storagetest.Failure{N: n})
		flaky := robotsOf(failing)
		flaky.known = loaded(t, r)
		revoke(t, r, "b")
		if rs, err := flaky.load(t.Context()); rs != nil {
			wantNames(t, rs, "a", "c")
		} else if err == nil {
			t.Errorf("operation %d fails: neither robots nor an error", n)
		}
		if !failing.Failed() {
			break
		}
		wantNames(t, loaded(t, flaky), "a", "c")
	}
}

func TestAddingWhileTheStoreFails(t *testing.T) {
	eachFailure(t, func(t *testing.T, s storage.Store, failing *Robots) {
		_, secret, err := failing.Add(t.Context(), "ci", "", time.Time{})
		r := robotsOf(s)
		if err == nil {
			if !loaded(t, r).check("ci", secret, noon) {
				t.Error("it was added, and does not log in")
			}
			return
		}
		if secret != "" {
			t.Errorf("a secret with %v", err)
		}
		if err := r.Revoke(t.Context(), "ci"); err != nil && !errors.Is(err, ErrRobotUnknown) {
			t.Error(err)
		}
		if added := addRobots(t, r, "ci"); !loaded(t, r).check("ci", added["ci"], noon) {
			t.Error("it does not log in, added again")
		}
	})
}

func TestRevokingWhileTheStoreFails(t *testing.T) {
	eachFailure(t, func(t *testing.T, s storage.Store, failing *Robots) {
		r := robotsOf(s)
		addRobots(t, r, "cd", "ci")
		if err := failing.Revoke(t.Context(), "ci"); err != nil {
			if err := failing.Revoke(t.Context(), "ci"); err != nil && !errors.Is(err, ErrRobotUnknown) {
				t.Errorf("again: %v", err)
			}
		}
		wantNames(t, loaded(t, r), "cd")
	})
}

// eachFailure runs a test once for each operation that fails in it, with and without effect.
func eachFailure(t *testing.T, test func(t *testing.T, s storage.Store, failing *Robots)) {
	for _, lost := range []bool{false, true} {
		for n, more := int64(1), true; more; n++ {
			t.Run(fmt.Sprintf("operation %d, lost: %v", n, lost), func(t *testing.T) {
				s := mem.New(atNoon)
				failing := storagetest.NewFailing(s, storagetest.Failure{N: n, Lost: lost})
				test(t, s, robotsOf(failing))
				more = failing.Failed()
			})
		}
	}
}

func TestARequestThatLosesAgainstItselfHasWon(t *testing.T) {
	s := mem.New(atNoon)
	twice := storagetest.Around(s, func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if op == storagetest.PutIf {
			_ = do()
		}
		return do()
	})
	secret := addRobots(t, robotsOf(twice), "ci")["ci"]
	if !loaded(t, robotsOf(s)).check("ci", secret, noon) {
		t.Error("it does not log in")
	}
}

func TestMoreRobotsThanThereMayBe(t *testing.T) {
	s := mem.New(atNoon)
	r := robotsOf(s)
	for i := range maxRobots {
		record := fmt.Sprintf(`{"name":"r%05d","sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`, i)
		if _, err := s.PutIf(t.Context(), fmt.Sprintf("robots/r%05d", i), []byte(record), storage.Absent); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.Add(t.Context(), "zz", "", time.Time{}); err == nil || !strings.Contains(err.Error(), "there are 10000 robots") {
		t.Errorf("one more: %v", err)
	}
	if rs := loaded(t, r); len(rs) != maxRobots {
		t.Errorf("%d robots", len(rs))
	}
	if _, err := s.PutIf(t.Context(), "robots/zz", []byte(`{}`), storage.Absent); err != nil {
		t.Fatal(err)
	}
	revoke(t, r, "r00003")
	if _, err := s.PutIf(t.Context(), "robots/zzz", []byte(`{}`), storage.Absent); err != nil {
		t.Fatal(err)
	}
	rs, err := r.load(t.Context())
	if _, still := rs["r00003"]; still || len(rs) != maxRobots-1 || !strings.Contains(fmt.Sprint(err), "more than 10000 robots, and those from robots/zzz on") {
		t.Errorf("%d robots, one that is revoked: %v; %v", len(rs), still, err)
	}
}
