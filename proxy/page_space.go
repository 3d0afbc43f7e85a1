package proxy

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/opencontainers/go-digest"
)

const (
	shownLargest = 50
	keptLargest  = 1000            // of what was counted: some of it is not for every reader
	countedFor   = 5 * time.Minute // after which the next reader makes it be counted again
	firstCount   = 300 * time.Millisecond
)

// spaceCount is what each cached repository takes. It is counted behind the page: that reads every tag and manifest.
type spaceCount struct {
	mu       sync.Mutex // guards all
	sizes    []cache.RepoSize
	counted  time.Time     // zero: not yet
	counting chan struct{} // closed when that is done; nil: nobody counts
}

func (c *call) spacePage() error {
	if err := c.mayKnow("what takes how much space"); err != nil {
		return err
	}
	p := ui.Space{Page: c.frame("Space", "space"), Tiers: c.tiers(), Hosted: c.hostedUsage()}
	var cached []cache.RepoSize
	cached, p.Counted, p.Counting = c.cachedSizes()
	p.Largest = c.largest(cached)
	return c.show(func(w io.Writer) error { return c.server.ui.Space(w, p) })
}

// largest are the repositories that take most, of those that the reader may see.
func (c *call) largest(cached []cache.RepoSize) []ui.Largest {
	var all []ui.Largest
	for _, r := range cached {
		home := Home{Registry: r.Repo.Registry, Name: r.Repo.Name}
		if name, ok := c.shown(home); ok && c.sees(home) {
			all = append(all, ui.Largest{Name: name, Bytes: r.Bytes})
		}
	}
	for name, usage := range c.server.o.Hosted.Usage().Repositories {
		if c.seesHosted(name) {
			all = append(all, ui.Largest{Name: name, Hosted: true, Bytes: usage.Bytes})
		}
	}
	slices.SortFunc(all, func(a, b ui.Largest) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(len(all), shownLargest)]
}

// cachedSizes gives what was counted last. Where nothing was, it waits a moment for what is counted now.
func (c *call) cachedSizes() (sizes []cache.RepoSize, counted time.Time, counting bool) {
	n := &c.server.space
	done := c.server.countAnew()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counted.IsZero() && done != nil {
		n.mu.Unlock()
		ctx, cancel := context.WithTimeout(c.looking, firstCount)
		select {
		case <-done:
		case <-ctx.Done():
		}
		cancel()
		n.mu.Lock()
	}
	return n.sizes, n.counted, n.counting != nil
}

// countAnew begins to count where that was long ago. What it gives is closed when that is done; nil where nobody counts.
func (s *Server) countAnew() (done chan struct{}) {
	n := &s.space
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counting == nil && (n.counted.IsZero() || s.o.Now().Sub(n.counted) > countedFor) && s.ctx.Err() == nil {
		n.counting = make(chan struct{})
		s.running.Add(1) // Shutdown waits for it
		go s.countSpace()
	}
	return n.counting
}

// countSpace ends with what it counts, or with the server.
func (s *Server) countSpace() {
	defer s.running.Add(-1)
	var sizes []cache.RepoSize
	err := recovered(func() (err error) {
		sizes, err = s.sizes(s.ctx)
		return err
	})()
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	close(s.space.counting)
	s.space.counting = nil
	if err != nil { // what was counted before stands, and the next reader makes it be tried again
		if s.ctx.Err() == nil {
			s.o.Log.Warn("what cached repositories take cannot be counted", "err", err)
		}
		return
	}
	s.space.sizes, s.space.counted = sizes, s.o.Now()
}

// sizes keeps the largest.
func (s *Server) sizes(ctx context.Context) ([]cache.RepoSize, error) {
	here := func(d digest.Digest) int64 {
		have, _ := s.o.Page.Blobs.Presence(d)
		return have
	}
	var all []cache.RepoSize
	larger := func(a, b cache.RepoSize) int { return cmp.Compare(b.Bytes, a.Bytes) }
	for size, err := range s.o.Page.Manifests.Sizes(ctx, here) {
		if err != nil {
			return nil, err
		}
		at, _ := slices.BinarySearchFunc(all, size, larger)
		if at == keptLargest {
			continue
		}
		all = slices.Insert(all, at, size)
		all = all[:min(len(all), keptLargest)]
	}
	return all, nil
}
