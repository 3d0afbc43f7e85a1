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
	fileLimit  = 8 << 20
	fileSettle = 50 * time.Millisecond // after which a file that is being written in place is another one

	rememberedCount = 8192    // tokens, and as many logins
	rememberedSize  = 1 << 10 // bytes of what one of them was asked for, about
	grantSize       = 150     // bytes beside the name
)

// state is who and what there is at one time. It changes only in what it remembers of requests: a new state has forgotten
// all of them, so whoever is revoked with it is looked at anew.
type state struct {
	policy    *Policy
	users     *users // nil: none
	robots    robots
	keys      *keys // nil: none could be read yet
	anonymous *Caller

	tokens *lru.Cache[sum, *Caller] // that were verified
	logins *lru.Cache[sum, *Caller] // user names with passwords that were looked at; nil: wrong
	checks *singleflight.Group      // of logins: a client's connections log in all at once
}

// sum is the hash of a credential. The credential itself is not kept.
type sum [32]byte

func newState(p *Policy, u *users, r robots, k *keys) *state {
	s := &state{policy: p, users: u, robots: r, keys: k, checks: new(singleflight.Group)}
	s.anonymous = &Caller{state: s}
	s.tokens, _ = lru.New[sum, *Caller](rememberedCount) // fails on sizes below 1 only
	s.logins, _ = lru.New[sum, *Caller](rememberedCount)
	return s
}

// file is a source on disk, as it was last read.
type file struct {
	path    string
	settle  func() // waits as long as it takes to write such a file
	text    []byte // nil: not read yet
	mistake error  // in that text
}

func newFile(path string) file {
	return file{path: path, settle: func() { time.Sleep(fileSettle) }}
}

// read gives the content, and whether it is another than the last time. Content is compared, not times: those of a mounted
// secret may stay as they are. What is still being written is left for the next time.
func (f *file) read() (text []byte, changed bool, err error) {
	text, err = readFile(f.path)
	if err != nil || f.text != nil && bytes.Equal(f.text, text) {
		return text, false, err
	}
	if f.text != nil {
		f.settle()
		again, err := readFile(f.path)
		if err != nil || !bytes.Equal(again, text) {
			return nil, false, err
		}
	}
	f.text = append([]byte{}, text...)
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
	g.state.Store(newState(first.policy, first.users, first.robots, first.keys))
	g.warnOfStrangers(&first)
	return nil
}

// Refresh reads what has changed. Each source counts whole or not at all: one with a mistake leaves the last good content of
// it in use, and the others count all the same, so that a broken policy keeps nobody from being revoked.
func (g *Guard) Refresh(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.state.Load()
	next, changed := *was, false
	var errs []error
	for _, source := range g.sources() {
		differs, err := source.load(ctx, &next)
		g.tell(source.name, differs, err)
		changed = changed || differs
		errs = append(errs, err)
	}
	if changed {
		g.state.Store(newState(next.policy, next.users, next.robots, next.keys))
		g.warnOfStrangers(&next)
	}
	return errors.Join(errs...)
}

// source is one of the things that make up a state.
type source struct {
	name string
	file bool                                                             // a mistake in it is somebody's who starts the server
	load func(ctx context.Context, into *state) (changed bool, err error) // changes into, or leaves it
}

func (g *Guard) sources() []source {
	all := []source{}
	if g.o.Policy != "" {
		all = append(all, source{sourcePolicy, true, g.loadPolicy})
	}
	if !g.Closed() {
		return all
	}
	all = append(all, source{sourceUsers, true, g.loadUsers}, source{sourceRobots, false, g.loadRobots})
	if g.o.TokenKey != "" {
		return append(all, source{sourceKeys, true, g.loadKeyFile})
	}
	return append(all, source{sourceKeys, false, g.loadKeys})
}

func (g *Guard) loadPolicy(_ context.Context, into *state) (bool, error) {
	return loadFile(&g.policy, &into.policy, func(text []byte) (*Policy, error) {
		return ParsePolicy(text, g.Closed(), g.o.Upstreams)
	})
}

func (g *Guard) loadUsers(_ context.Context, into *state) (bool, error) {
	return loadFile(&g.users, &into.users, parseUsers)
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
		f.mistake = inFile(f.path, err)
		return false, f.mistake
	}
	f.mistake, *into = nil, parsed
	return true, nil
}

// inFile says of each mistake which file it is in.
func inFile(path string, err error) error {
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
	ctx, cancel := context.WithTimeout(ctx, storeTime/2)
	defer cancel()
	found, err := g.robots.load(ctx)
	if found == nil || found.equal(into.robots) {
		return false, err
	}
	into.robots = found
	return true, err
}

func (g *Guard) loadKeys(ctx context.Context, into *state) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime/2)
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
	if s.users == nil {
		return
	}
	for _, name := range s.policy.Names() {
		if !s.users.has(name) {
			g.o.Log.Warn("the policy names somebody who is no user", "user", name)
		}
	}
}
