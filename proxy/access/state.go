package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

const (
	fileLimit = 8 << 20

	rememberedCount = 8192    // tokens, and as many logins
	rememberedSize  = 1 << 10 // bytes of what one of them was asked for, about
	grantSize       = 150     // bytes beside the name
	rememberedToken = 2 << 10 // bytes of the longest token; longer ones are verified at each request
)

// state is who and what there is at one time. It changes only in what it remembers of requests: a new state has forgotten
// all of them, so whoever is revoked with it is looked at anew.
type state struct {
	policy    *Policy
	accounts  *accounts // nil: there are no users
	robots    robots
	keys      *keys // nil: none could be read yet
	anonymous *Caller
	tokens    *lru.Cache[string, *Caller] // that were verified, as they are: whoever reads this memory finds the key that signs them
}

// sum is the hash of a user name and a password, which are not kept.
type sum [32]byte

func newState(p *Policy, a *accounts, r robots, k *keys) *state {
	s := &state{policy: p, accounts: a, robots: r, keys: k, tokens: newMemory[string, *Caller]()}
	s.anonymous = &Caller{state: s}
	return s
}

// accounts are the users of a file, and what is remembered of logins: whether a user name goes with a password. It takes a
// while to find out, so it is forgotten only when the file changes.
type accounts struct {
	users  *users
	logins *lru.Cache[sum, bool]
	checks *singleflight.Group
}

func newAccounts(u *users) *accounts {
	return &accounts{users: u, logins: newMemory[sum, bool](), checks: new(singleflight.Group)}
}

func newMemory[K comparable, V any]() *lru.Cache[K, V] {
	memory, err := lru.New[K, V](rememberedCount)
	if err != nil {
		panic(err) // rememberedCount is positive
	}
	return memory
}

// file is a source on disk, as it was last read.
type file struct {
	path    string
	text    []byte // that counts; nil: none yet
	newer   []byte // that the last look has found and does not count yet; nil: none
	mistake error  // in text
}

// read gives the content, and whether it is another than the last time. Content is compared, not times: those of a mounted
// secret may stay as they are. It counts once two looks in a row have found the same, but for the first one: files are also
// written in place, and half a policy would be another policy.
func (f *file) read() (text []byte, changed bool, err error) {
	text, err = readFile(f.path)
	switch {
	case err != nil:
		return nil, false, err
	case f.text != nil && bytes.Equal(f.text, text):
		f.newer = nil
		return text, false, nil
	case f.text != nil && (f.newer == nil || !bytes.Equal(f.newer, text)):
		f.newer = append([]byte{}, text...)
		return f.text, false, nil
	}
	f.text, f.newer = append([]byte{}, text...), nil
	return text, true, nil
}

func readFile(path string) ([]byte, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close() // it was only read
	text, err := io.ReadAll(io.LimitReader(r, fileLimit+1))
	if len(text) > fileLimit {
		return nil, fmt.Errorf("%s has more than %d MiB", path, fileLimit>>20)
	}
	return text, err
}

// begin makes the first state.
func (g *Guard) begin(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := *newState(DefaultPolicy(g.Closed()), nil, nil, nil)
	var errs []error
	for _, source := range g.sources() {
		if _, err := source.load(ctx, &first); err != nil && source.file {
			errs = append(errs, err)
		} else {
			g.tell(source.name, false, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	g.state.Store(newState(first.policy, first.accounts, first.robots, first.keys))
	g.warnOfStrangers(&first)
	g.warnOfNobody(&first)
	return nil
}

// Refresh looks at everything. What has changed in a file counts when the next look finds the same; Run looks every few
// seconds. Each source counts whole or not at all: one with a mistake leaves the last good content of
// it in use, and the others count all the same, so that a broken policy keeps nobody from being revoked.
func (g *Guard) Refresh(ctx context.Context) error { return g.look(ctx, true) }

// look is Refresh, but for what is in the store: unless all is to be read, that is read only when it is due.
func (g *Guard) look(ctx context.Context, all bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	begun := g.o.Now()
	stored := g.Closed() && g.watch.due(ctx, g.o.Store, begun) || all
	was := g.state.Load()
	next, changed := *was, false
	var errs []error
	for _, source := range g.sources() {
		if !source.file && !stored {
			continue
		}
		differs, err := source.load(ctx, &next)
		g.tell(source.name, differs, err)
		changed = changed || differs
		errs = append(errs, err)
		if !source.file && err != nil {
			begun = time.Time{} // it counts for none: the next look reads everything
		}
	}
	if stored {
		g.watch.whole = begun
	}
	if changed {
		g.state.Store(newState(next.policy, next.accounts, next.robots, next.keys))
		g.warnOfStrangers(&next)
		g.warnOfNobody(&next)
	}
	return errors.Join(errs...)
}

// source is one of the things that make up a state.
type source struct {
	name string
	file bool                                                             // not in the store; a mistake in it is somebody's who starts the server
	load func(ctx context.Context, into *state) (changed bool, err error) // changes into, or leaves it
}

// sources begins with those by which most are revoked.
func (g *Guard) sources() []source {
	var all []source
	if g.Closed() {
		all = append(all, source{sourceUsers, true, g.loadUsers})
	}
	if g.o.Policy != "" {
		all = append(all, source{sourcePolicy, true, g.loadPolicy})
	}
	switch {
	case !g.Closed():
	case g.o.TokenKey != "":
		all = append(all, source{sourceRobots, false, g.loadRobots}, source{sourceKeys, true, g.loadKeyFile})
	default:
		all = append(all, source{sourceRobots, false, g.loadRobots}, source{sourceKeys, false, g.loadKeys})
	}
	return all
}

func (g *Guard) loadPolicy(_ context.Context, into *state) (bool, error) {
	return loadFile(&g.policy, &into.policy, func(text []byte) (*Policy, error) {
		return CheckedPolicy(text, g.Closed(), g.o.Upstreams, g.o.Hosted)
	})
}

func (g *Guard) loadUsers(_ context.Context, into *state) (bool, error) {
	return loadFile(&g.users, &into.accounts, func(text []byte) (*accounts, error) {
		u, err := parseUsers(text)
		return newAccounts(u), err
	})
}

func (g *Guard) loadKeyFile(_ context.Context, into *state) (bool, error) {
	return loadFile(&g.keyFile, &into.keys, parseKeys)
}

// loadFile leaves into as it is where the content did not change, or cannot be used.
func loadFile[T any](f *file, into **T, parse func([]byte) (*T, error)) (changed bool, err error) {
	text, changed, err := f.read()
	if err != nil {
		return false, err
	}
	if !changed {
		return false, f.mistake
	}
	parsed, err := parse(text)
	if err != nil {
		f.mistake = InFile(f.path, err)
		return false, f.mistake
	}
	f.mistake, *into = nil, parsed
	return true, nil
}

// InFile says of each mistake which file it is in.
func InFile(path string, err error) error {
	all, several := err.(interface{ Unwrap() []error })
	if !several {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for _, e := range all.Unwrap() {
		errs = append(errs, fmt.Errorf("%s: %w", path, e))
	}
	return errors.Join(errs...)
}

// loadRobots: where the store does not answer, those of the last time stay, until each expires.
func (g *Guard) loadRobots(ctx context.Context, into *state) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	found, err := g.robots.load(ctx)
	if found == nil || found.equal(into.robots) {
		return false, err
	}
	into.robots = found
	return true, err
}

func (g *Guard) loadKeys(ctx context.Context, into *state) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	found, err := sharedKeys(ctx, g.o.Store, g.o.Now(), g.o.Random)
	if found == nil || found.equal(into.keys) {
		return false, err
	}
	into.keys = found
	return true, err
}

// tell tells of what changed, and of each mistake once.
func (g *Guard) tell(name string, changed bool, err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	was := g.told[name]
	g.told[name] = now
	switch {
	case now == was && !changed:
		return
	case err != nil:
		g.o.Log.Error("access cannot read all that there is; what was read before stays in use", "what", name, "err", err)
	default:
		g.o.Log.Info("access has read anew", "what", name)
	}
	g.o.Events.Reloaded(name, err)
}

// warnOfStrangers tells whom the policy names that nobody can log in as. It is no mistake: who is revoked first leaves the users.
func (g *Guard) warnOfStrangers(s *state) {
	if s.accounts == nil {
		return
	}
	for _, name := range s.policy.Names() {
		if !s.accounts.users.has(name) {
			g.o.Log.Warn("the policy names somebody who is no user", "user", name)
		}
	}
}

// warnOfNobody tells when nobody can log in: a file that somebody emptied is a valid one. Robots of a store that does not
// answer are not known.
func (g *Guard) warnOfNobody(s *state) {
	if s.accounts == nil || len(s.accounts.users.byName) > 0 || s.robots == nil && g.told[sourceRobots] != "" {
		return
	}
	for name := range s.robots {
		if _, _, ok := s.robots.mark(name, g.o.Now()); ok {
			return
		}
	}
	g.o.Log.Warn("there are neither users nor robots, so nobody can log in", "file", g.o.Htpasswd, "remedy", "entrepot htpasswd USER, or entrepot robot add NAME")
}
