package access

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

const (
	addressBurst = 20
	addressEvery = 3 * time.Second
	nameBurst    = 30
	nameEvery    = 10 * time.Second

	// countedLogins bounds the addresses, and the names, of which wrong logins are counted: about 200 bytes each. To make
	// room for a full count by being wrong elsewhere takes so many passwords to be looked at that it pays nobody.
	countedLogins = 16_384
)

// attempts bounds how many passwords can be guessed: from one address, so that nobody tries them on many names, and for one
// name, so that nobody tries them from many addresses.
type attempts struct {
	now  func() time.Time
	seed maphash.Seed

	mu        sync.Mutex // guards all buckets
	addresses *buckets[netip.Prefix]
	names     *buckets[uint64] // by the hash of the name: a name that is asked for may be long
	known     *buckets[login]
}

// outcome is what came of an attempt.
type outcome uint8

const (
	isWrong outcome = iota // the only one that counts
	isRight
	isUntried // the password was not looked at
)

// login is a name from somewhere. Where it has succeeded before, it is counted apart: what strangers guess elsewhere, or
// of other names, keeps nobody out.
type login struct {
	network netip.Prefix
	name    uint64
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{
		now: now, seed: maphash.MakeSeed(),
		addresses: newBuckets[netip.Prefix](addressEvery, addressBurst),
		names:     newBuckets[uint64](nameEvery, nameBurst),
		known:     newBuckets[login](nameEvery, nameBurst),
	}
}

// begin takes an attempt before the password is looked at. wait > 0: there are none left, and after that time there is one;
// end is nil. Else end is called once, when it is known whether the password was right: then it did not count. Until then it
// counts as wrong, so that guesses at the same time are no more than guesses one by one.
func (a *attempts) begin(user string, from netip.Addr) (end func(outcome), wait time.Duration) {
	of := login{networkOf(from), maphash.String(a.seed, user)}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	counted := a.countedBy(of)
	for _, b := range counted {
		if wait := b.wait(now); wait > 0 {
			return nil, wait
		}
	}
	for _, b := range counted {
		b.underWay++
	}
	return func(came outcome) {
		a.mu.Lock()
		defer a.mu.Unlock()
		now := a.now()
		for _, b := range counted {
			b.end(came == isWrong, now)
		}
		if came == isRight {
			a.known.of(of)
		}
	}, 0
}

// countedBy gives the buckets of a login. a.mu is held.
func (a *attempts) countedBy(of login) []*bucket {
	if a.known.used.Contains(of) {
		return []*bucket{a.known.of(of)}
	}
	return []*bucket{a.addresses.of(of.network), a.names.of(of.name)}
}

// networkOf is what one host may choose its address from: of IPv6 that is a /64 at least.
func networkOf(from netip.Addr) netip.Prefix {
	from = from.Unmap()
	bits := 64
	if from.Is4() {
		bits = 32
	}
	network, _ := from.Prefix(bits) // fails on no address only; all that have none share one
	return network
}

// buckets are those used last.
type buckets[K comparable] struct {
	used  *simplelru.LRU[K, *bucket]
	every time.Duration
	burst int
}

func newBuckets[K comparable](every time.Duration, burst int) *buckets[K] {
	used, err := simplelru.NewLRU[K, *bucket](countedLogins, nil)
	if err != nil {
		panic(err) // countedLogins is positive
	}
	return &buckets[K]{used: used, every: every, burst: burst}
}

func (b *buckets[K]) of(key K) *bucket {
	if found, ok := b.used.Get(key); ok {
		return found
	}
	full := &bucket{left: rate.NewLimiter(rate.Every(b.every), b.burst), every: b.every}
	b.used.Add(key, full)
	return full
}

// bucket holds the attempts of an address or a name.
type bucket struct {
	left     *rate.Limiter
	every    time.Duration
	underWay int // attempts of which it is not known yet whether they count
}

// wait is how long until there is an attempt.
func (b *bucket) wait(now time.Time) time.Duration {
	const rounding = 1e-6 // after a wait, the sum may be that far from 1
	missing := 1 - (b.left.TokensAt(now) - float64(b.underWay))
	if missing < rounding {
		return 0
	}
	return time.Duration(missing * float64(b.every))
}

func (b *bucket) end(counts bool, now time.Time) {
	b.underWay--
	if counts {
		b.left.ReserveN(now, 1) // unlike AllowN, also where rounding has left it a little short
	}
}
