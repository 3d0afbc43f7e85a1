package hosted

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// nameRecord says that a repository has manifests.
type nameRecord struct {
	Name    string    `json:"name"`
	Claimed time.Time `json:"claimed"`
}

// putName makes the catalog list the repository.
func (r Repo) putName(ctx context.Context) error {
	return contend(ctx, func() error {
		rec, v, err := readAs[nameRecord](ctx, r.g, nameKey(r.name))
		if err != nil && !lacking(err) {
			return err
		}
		if err == nil && r.g.fresh(live, rec.Claimed) {
			return nil
		}
		_, err = r.g.writeAs(ctx, nameKey(r.name), nameRecord{Name: r.name, Claimed: r.g.now()}, v)
		return err
	})
}

// Repositories lists up to n repositories (n < 0: a page) after last, in byte order of their names, and says whether there
// are more. Those that may does not allow are as if they were not there; nil: it allows all.
func (g *Registry) Repositories(ctx context.Context, n int, last string, may func(name string) bool) (names []string, more bool, err error) {
	if n < 0 {
		n = pageSize
	}
	first := least{n: n}
	for name, err := range g.names(ctx) {
		if err != nil {
			return nil, false, fmt.Errorf("list hosted repositories: %w", err)
		}
		if name > last && (may == nil || may(name)) {
			first.add(name)
		}
	}
	names, more = first.sorted()
	return names, more, nil
}

// Search yields the repositories whose names contain the term, in no order that matters. An error ends it.
func (g *Registry) Search(ctx context.Context, term string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for name, err := range g.names(ctx) {
			if err != nil {
				yield("", fmt.Errorf("search hosted repositories: %w", err))
				return
			}
			if strings.Contains(name, strings.ToLower(term)) && !yield(name, nil) {
				return
			}
		}
	}
}

// names yields all repositories in the order of their keys, which is not that of their names: a '/' sorts after a '-', and
// the '!' in its place before. An error ends it.
func (g *Registry) names(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for info, err := range g.store.List(ctx, nameFolder, "") {
			if err == nil && hasEnded(info) {
				continue
			}
			if !yield(parseRepoKey(strings.TrimPrefix(info.Key, nameFolder)), err) || err != nil {
				return
			}
		}
	}
}

// least keeps the n least of the names it is given, in memory for 2n.
type least struct {
	n     int
	names []string
	more  bool
}

func (l *least) add(name string) {
	l.names = append(l.names, name)
	if len(l.names) > 2*l.n {
		l.sorted()
	}
}

func (l *least) sorted() (names []string, more bool) {
	slices.Sort(l.names)
	if len(l.names) > l.n {
		l.names, l.more = l.names[:l.n], true
	}
	return l.names, l.more
}
