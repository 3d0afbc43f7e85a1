package hosted

import (
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
)

// steady lists objects of random names in the order in which they were first written, so that a schedule does the same
// when it is run again.
type steady struct {
	*mem.Store
	born   map[string]int
	writes int
}

func (s *steady) note(key string) {
	s.writes++
	if _, known := s.born[key]; !known {
		s.born[key] = len(s.born)
	}
}

func (s *steady) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	s.note(key)
	return s.Store.Put(ctx, key, body, size)
}

func (s *steady) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (storage.Version, error) {
	s.note(key)
	return s.Store.PutIf(ctx, key, record, was)
}

func (s *steady) Delete(ctx context.Context, key string) error {
	s.writes++
	return s.Store.Delete(ctx, key)
}

func (s *steady) DeleteIf(ctx context.Context, key string, was storage.Version) error {
	s.writes++
	return s.Store.DeleteIf(ctx, key, was)
}

func (s *steady) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	if prefix != partFolder && prefix != uploadFolder {
		return s.Store.List(ctx, prefix, after)
	}
	return func(yield func(storage.Info, error) bool) {
		var keys []string
		for info := range s.Store.List(ctx, prefix, "") {
			if after == "" || s.born[info.Key] > s.born[after] {
				keys = append(keys, info.Key)
			}
		}
		slices.SortFunc(keys, func(a, b string) int { return s.born[a] - s.born[b] })
		for _, key := range keys {
			if info, err := s.Stat(ctx, key); err == nil && !yield(info, nil) {
				return
			}
		}
	}
}

// walk picks any actor each time.
func walk(r *rand.Rand) func([]*actor) *actor {
	return func(ready []*actor) *actor { return ready[r.IntN(len(ready))] }
}

// sticky mostly goes on with the actor that it picked before.
func sticky(r *rand.Rand) func([]*actor) *actor {
	var last *actor
	return func(ready []*actor) *actor {
		if !slices.Contains(ready, last) || r.IntN(12) == 0 {
			last = ready[r.IntN(len(ready))]
		}
		return last
	}
}

// priorities picks the actor of the highest priority, and at few moments makes that the lowest: most faults of concurrent
// programs need very few changes at the right moments (Burckhardt et al., probabilistic concurrency testing).
func priorities(r *rand.Rand, steps int) func([]*actor) *actor {
	changes := map[int]bool{}
	for range 1 + r.IntN(5) {
		changes[r.IntN(steps)] = true
	}
	of := map[*actor]int{}
	step, lowest := 0, 0
	return func(ready []*actor) *actor {
		step++
		best := ready[0]
		for _, a := range ready {
			if of[a] == 0 {
				of[a] = 1 + r.IntN(1000)
			}
			if of[a] > of[best] {
				best = a
			}
		}
		if changes[step] {
			lowest--
			of[best] = lowest
		}
		return best
	}
}

// choice is how many actors there were to choose from, and which was taken.
type choice struct{ ready, taken int }

// switches goes on with one actor until it is done, but at the steps named with others. It notes its choices.
func switches(at map[int]int, choices *[]choice) func([]*actor) *actor {
	var last *actor
	return func(ready []*actor) *actor {
		taken := slices.Index(ready, last)
		if i, named := at[len(*choices)]; named && i < len(ready) {
			taken = i
		}
		taken = max(taken, 0)
		last = ready[taken]
		*choices = append(*choices, choice{len(ready), taken})
		return last
	}
}

// event is something that an actor asked for.
type event struct {
	kind   string // put, delete manifest, delete tag, delete blob
	repo   string
	digest digest.Digest
	tags   []string
	image  *testImage
	begin  int
	end    int // 0: it goes on, or its actor has stopped
	err    error
}

// after: it was going on, or began, after another had begun.
func (e *event) after(other *event) bool { return e.end == 0 || e.end > other.begin }
