package access

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/entrepot/entrepot/storage"
)

// Whoever is revoked has at most two times between looks at files and store, and what one look may take where the store
// hangs: three of its limits, one for each of what it reads there.
const (
	refreshEvery = 5 * time.Second
	nonceTime    = time.Second
	sourceTime   = 2 * time.Second
)

// Events are told from whatever goroutine it happens in, and must not wait.
type Events interface {
	LoggedIn(as Subject)             // by a password that was looked at: once for as long as it is remembered, robots each time
	Refused(r Reason)                // a login, or a request
	Reloaded(what string, err error) // changed content was read; what is one of Sources
}

// Sources are what a guard reads, by the names that Events.Reloaded gives them.
func Sources() []string { return []string{sourceUsers, sourcePolicy, sourceKeys, sourceRobots} }

const (
	sourceUsers  = "users"
	sourcePolicy = "policy"
	sourceKeys   = "keys"
	sourceRobots = "robots"
)

// Options: Store is needed where there are users, the rest is optional.
type Options struct {
	Htpasswd string // file of users; empty: there are none, and everybody may pull
	Policy   string // file; empty: the default policy
	TokenKey string // file of keys that sign tokens (PEM); empty: they are made, and kept in Store

	Upstreams []string                // hosts that a policy may name
	Hosted    func(first string) bool // names of several elements that begin so are hosted here; nil: all of them
	Store     storage.Store           // of robots and keys; everything below it is this package's
	Service   string                  // whose tokens these are, the same on every replica; empty: entrepot

	Events Events
	Log    *slog.Logger
	Now    func() time.Time
	Random io.Reader
}

func (o *Options) complete() error {
	if o.Store == nil && o.Htpasswd != "" {
		return errors.New("users need a store, for the keys of their tokens")
	}
	if o.Hosted == nil {
		o.Hosted = func(string) bool { return true }
	}
	if o.Service == "" {
		o.Service = "entrepot"
	}
	if o.Events == nil {
		o.Events = noEvents{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return nil
}

type noEvents struct{}

func (noEvents) LoggedIn(Subject)       {}
func (noEvents) Refused(Reason)         {}
func (noEvents) Reloaded(string, error) {}

// Guard knows who there is, and what the policy is. Its methods may be called from many goroutines.
type Guard struct {
	o        Options
	robots   *Robots
	attempts *attempts
	daemons  *attempts           // of those who only pull: see check
	checks   *semaphore.Weighted // of passwords, which take a processor for a while
	memory   []byte              // key of the hash by which logins are remembered
	state    atomic.Pointer[state]

	mu      sync.Mutex // held while sources are read; guards the rest
	users   file
	policy  file
	keyFile file
	told    map[string]string // the last error of each source
	watch   watch             // of the store
}

// Open reads the files and what is in the store. Its error holds every mistake of the files, each with its line. A store
// that fails is no error: until it answers, nobody gets a token.
func Open(ctx context.Context, o Options) (*Guard, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	g := &Guard{
		o: o, robots: NewRobots(o.Store, o.Now, o.Random), attempts: newAttempts(o.Now), daemons: newAttempts(o.Now), told: map[string]string{},
		checks: semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)-1))), memory: make([]byte, 32),
		users: file{path: o.Htpasswd}, policy: file{path: o.Policy}, keyFile: file{path: o.TokenKey},
	}
	if _, err := io.ReadFull(o.Random, g.memory); err != nil {
		return nil, err
	}
	if err := g.begin(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

// Everybody is the guard of a server without users: it refuses nobody.
func Everybody() *Guard {
	g := &Guard{}
	_ = g.o.complete() // which asks for nothing where there are no users
	g.state.Store(newState(DefaultPolicy(false), nil, nil, nil))
	return g
}

// Closed reports whether there are users: what is not allowed to everybody takes a login.
func (g *Guard) Closed() bool { return g.o.Htpasswd != "" }

// Service is whose tokens these are.
func (g *Guard) Service() string { return g.o.Service }

// Robots are the accounts of pipelines. After a change, Refresh makes it count here at once.
func (g *Guard) Robots() *Robots { return g.robots }

// Run looks for changes until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	ticks := time.NewTicker(refreshEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			_ = g.look(ctx, false) // which has told
		}
	}
}
