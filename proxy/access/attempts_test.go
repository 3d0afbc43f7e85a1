package access

import (
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"
)

// guesses are attempts by a time that only the test moves.
type guesses struct {
	*attempts
	t   *testing.T
	now time.Time
}

func newGuesses(t *testing.T) *guesses {
	g := &guesses{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	g.attempts = newAttempts(func() time.Time { return g.now })
	return g
}

// wrong guesses n times.
func (g *guesses) wrong(n int, user, from string) {
	g.t.Helper()
	for i := range n {
		end, wait := g.begin(user, netip.MustParseAddr(from))
		if wait > 0 {
			g.t.Fatalf("guess %d of %d has to wait for %v", i+1, n, wait)
		}
		end(isWrong)
	}
}

func (g *guesses) wantWait(user, from string, want time.Duration) {
	g.t.Helper()
	end, wait := g.begin(user, netip.MustParseAddr(from))
	if wait != want || (end == nil) != (want > 0) {
		g.t.Fatalf("%.20q from %s waits for %v, want %v", user, from, wait, want)
	}
	if end != nil {
		end(isUntried)
	}
}

func TestGuessesFromOneAddress(t *testing.T) {
	g := newGuesses(t)
	for i := range addressBurst {
		g.wrong(1, strconv.Itoa(i), "192.0.2.1")
	}
	g.wantWait("another", "192.0.2.1", 3*time.Second)
	g.wantWait("another", "192.0.2.2", 0)
	g.now = g.now.Add(time.Second)
	g.wantWait("another", "192.0.2.1", 2*time.Second)
	g.now = g.now.Add(2 * time.Second)
	g.wrong(1, "another", "192.0.2.1")
	g.wantWait("another", "192.0.2.1", 3*time.Second)
	g.now = g.now.Add(time.Hour)
	g.wrong(addressBurst, "one more", "192.0.2.1")
	g.wantWait("one more", "192.0.2.1", 3*time.Second)
}

func TestGuessesAtOneName(t *testing.T) {
	g := newGuesses(t)
	for i := range nameBurst {
		g.wrong(1, "alice", fmt.Sprintf("192.0.2.%d", i))
	}
	g.wantWait("alice", "192.0.2.100", 10*time.Second)
	g.wantWait("alic", "192.0.2.100", 0)
	g.now = g.now.Add(10 * time.Second)
	g.wrong(1, "alice", "192.0.2.100")
	g.wantWait("alice", "192.0.2.101", 10*time.Second)
}

func TestWhoIsRefusedByNameHasUsedNothingOfTheAddress(t *testing.T) {
	g := newGuesses(t)
	for i := range nameBurst {
		g.wrong(1, "alice", fmt.Sprintf("192.0.2.%d", i))
	}
	for range 2 * addressBurst {
		g.wantWait("alice", "192.0.2.100", 10*time.Second)
	}
	g.wrong(addressBurst, "bob", "192.0.2.100")
}

// right logs in.
func (g *guesses) right(user, from string) {
	g.t.Helper()
	end, wait := g.begin(user, netip.MustParseAddr(from))
	if wait > 0 {
		g.t.Fatalf("who knows the password has to wait for %v", wait)
	}
	end(isRight)
}

func TestRightPasswordsDoNotCount(t *testing.T) {
	g := newGuesses(t)
	for range 10 * nameBurst {
		g.right("alice", "192.0.2.1")
	}
	g.wrong(addressBurst, "bob", "192.0.2.1")
	g.wantWait("bob", "192.0.2.1", 3*time.Second)
}

func TestWhatWasNotTriedDoesNotCount(t *testing.T) {
	g := newGuesses(t)
	for range 10 * nameBurst {
		g.wantWait("alice", "192.0.2.1", 0)
	}
	g.wrong(addressBurst, "alice", "192.0.2.1")
	g.wantWait("alice", "192.0.2.1", 3*time.Second)
}

func TestWhereANameHasLoggedInItIsCountedApart(t *testing.T) {
	g := newGuesses(t)
	g.right("alice", "192.0.2.1")
	g.wrong(addressBurst, "bob", "192.0.2.1")
	for i := range nameBurst {
		g.wrong(1, "alice", fmt.Sprintf("198.51.100.%d", i))
	}
	g.wantWait("alice", "198.51.100.200", 10*time.Second)
	g.wrong(nameBurst, "alice", "192.0.2.1")
	g.wantWait("alice", "192.0.2.1", 10*time.Second)
}

func TestGuessesUnderWayCount(t *testing.T) {
	g := newGuesses(t)
	from := netip.MustParseAddr("192.0.2.1")
	var ends []func(outcome)
	for range addressBurst {
		end, wait := g.begin("alice", from)
		if wait > 0 {
			t.Fatalf("%d guesses are under way, and the next waits for %v", len(ends), wait)
		}
		ends = append(ends, end)
	}
	g.wantWait("alice", "192.0.2.1", 3*time.Second)
	ends[0](isUntried)
	g.wrong(1, "alice", "192.0.2.1")
	g.wantWait("alice", "192.0.2.1", 3*time.Second)
	for _, end := range ends[1:] {
		end(isUntried)
	}
	g.wrong(addressBurst-1, "alice", "192.0.2.1")
	g.wantWait("alice", "192.0.2.1", 3*time.Second)
}

func TestAfterTheWaitThereIsAnAttempt(t *testing.T) {
	g := newGuesses(t)
	g.wrong(addressBurst, "alice", "192.0.2.1")
	for i := range 1000 {
		g.now = g.now.Add(time.Duration(i) * 1_234_577)
		if _, wait := g.begin("bob", netip.MustParseAddr("192.0.2.1")); wait > 0 {
			g.now = g.now.Add(wait)
			g.wantWait("bob", "192.0.2.1", 0)
		}
		g.attempts = newAttempts(g.attempts.now)
		g.wrong(addressBurst, "alice", "192.0.2.1")
	}
}

func TestGuessesFromNetworks(t *testing.T) {
	for _, c := range []struct {
		name, from, next string
		shared           bool
	}{
		{"one /64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"two /64s", "2001:db8::1", "2001:db8:0:1::1", false},
		{"IPv4 as IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"two of IPv4 as IPv6", "::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"one link by two names", "fe80::1%eth0", "fe80::1%eth1", true},
		{"IPv4 and the IPv6 that looks like it", "192.0.2.1", "::c000:201", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGuesses(t)
			g.wrong(addressBurst, "alice", c.from)
			want := time.Duration(0)
			if c.shared {
				want = 3 * time.Second
			}
			g.wantWait("alice", c.next, want)
		})
	}
}

func TestGuessesFromNoAddressShareOne(t *testing.T) {
	g := newGuesses(t)
	for range addressBurst {
		end, wait := g.begin("alice", netip.Addr{})
		if wait > 0 {
			t.Fatalf("waits for %v", wait)
		}
		end(isWrong)
	}
	if _, wait := g.begin("bob", netip.Addr{}); wait != 3*time.Second {
		t.Errorf("waits for %v", wait)
	}
	g.wantWait("bob", "192.0.2.1", 0)
}

func TestWhatIsCountedIsBounded(t *testing.T) {
	g := newGuesses(t)
	g.wrong(addressBurst, "alice", "10.0.0.1")
	for i := range countedLogins + 100 {
		g.wrong(1, strconv.Itoa(i), netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}).String())
	}
	if got := []int{g.addresses.used.Len(), g.names.used.Len()}; got[0] != countedLogins || got[1] != countedLogins {
		t.Errorf("%d addresses and names are counted, want %d", got, countedLogins)
	}
	g.wantWait("alice", "10.0.0.1", 0)
}

func TestGuessesEndAtTheSameTime(t *testing.T) {
	g := newGuesses(t)
	var all sync.WaitGroup
	all.Add(addressBurst)
	var ended sync.WaitGroup
	for range addressBurst {
		ended.Go(func() {
			end, wait := g.begin("alice", netip.MustParseAddr("192.0.2.1"))
			all.Done()
			all.Wait()
			if wait > 0 {
				t.Errorf("waits for %v", wait)
				return
			}
			end(isUntried)
		})
	}
	ended.Wait()
	g.wrong(addressBurst, "alice", "192.0.2.1")
}

func TestParallelGuessesAreNoMoreThanOthers(t *testing.T) {
	g := newGuesses(t)
	from := netip.MustParseAddr("192.0.2.1")
	var mu sync.Mutex
	began := 0
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 10 {
				end, wait := g.begin("alice", from)
				if wait > 0 {
					continue
				}
				mu.Lock()
				began++
				mu.Unlock()
				end(isWrong)
			}
		})
	}
	all.Wait()
	if began != addressBurst {
		t.Errorf("%d passwords were looked at, want %d", began, addressBurst)
	}
}
