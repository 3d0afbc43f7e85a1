package proxy

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/upstream"
)

const (
	searchSize     = 25   // results of a search that is asked for without n, as everywhere
	longestSearch  = 100  // results that one answer may be asked for
	mostFound      = 1000 // results of all pages: they are made in memory
	searchPatience = 10 * time.Second
)

// searchPing is what docker search asks first: a registry that stands alone has no index of its own elsewhere.
func (c *call) searchPing() error {
	c.set("X-Docker-Registry-Standalone", "true")
	c.ctx.SetContentType("application/json")
	c.send(viewBytes(`{"standalone":true}`))
	return nil
}

// searchAnswer is that of the v1 protocol, which docker search and podman search speak.
type searchAnswer struct {
	Query    string                  `json:"query"`
	Found    int                     `json:"num_results"` // of all pages
	Page     int64                   `json:"page"`
	PageSize int                     `json:"page_size"`
	Pages    int                     `json:"num_pages"`
	Results  []upstream.SearchResult `json:"results"`
}

// search lists what is hosted, then what was pulled, then what the default upstream finds, each by the name by which it is
// pulled from here. Where ns or the Host header names an upstream, it lists only what that one has.
func (c *call) search() error {
	term, n, page, err := c.searched()
	if err != nil {
		return err
	}
	registry, _, err := scope(c.server.names, c.ns, view(c.ctx.Host()))
	if err != nil {
		return err
	}
	c.home.Registry = registry
	c.scope(c.ns != "")
	if err := c.mayList(registry, "what it has"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.server.ctx, searchPatience)
	defer cancel()
	f := finding{o: &c.server.o, sees: c.sees, lists: c.lists, registry: registry, term: term, names: map[string]struct{}{}}
	if err := f.here(ctx); err != nil {
		return err
	}
	if page*int64(n) > int64(len(f.results)) && c.caller.Any(false) {
		f.upstream(ctx)
	}
	from := min((page-1)*int64(n), int64(len(f.results)))
	return c.sendJSON("application/json", searchAnswer{
		Query: term, Found: len(f.results), Page: page, PageSize: n, Pages: (len(f.results) + n - 1) / n,
		Results: append([]upstream.SearchResult{}, f.results[from:min(from+int64(n), int64(len(f.results)))]...),
	})
}

// searched reads the query. It copies.
func (c *call) searched() (term string, n int, page int64, err error) {
	args := c.ctx.QueryArgs()
	if term = string(args.Peek("q")); len(term) > longestParam {
		return "", 0, 0, &Error{Code: CodeNameInvalid, Status: http.StatusBadRequest, Message: "the search term is longer than 512 bytes"}
	}
	size, page := int64(searchSize), int64(1)
	for name, value := range map[string]*int64{"n": &size, "page": &page} {
		if !args.Has(name) {
			continue
		}
		var ok bool
		if *value, ok = position(view(args.Peek(name))); !ok || *value == 0 || *value > math.MaxInt32 {
			return "", 0, 0, newError(CodePaginationNumber, name+" is not a number from 1 on")
		}
	}
	if size > longestSearch {
		return "", 0, 0, newError(CodePaginationNumber, "n is more than 100")
	}
	return term, int(size), page, nil
}

// finding is a search under way.
type finding struct {
	o        *Options
	sees     func(Home) bool // of what is here
	lists    func(Home) (allowed, lent bool)
	registry string // whose names are listed, as they are there; empty: those of this server
	term     string
	results  []upstream.SearchResult
	names    map[string]struct{} // of results
}

// add takes a result, unless its name is there already, and reports whether there is room for more.
func (f *finding) add(r upstream.SearchResult) bool {
	if _, known := f.names[r.Name]; known || len(f.results) == mostFound {
		return len(f.results) < mostFound
	}
	f.names[r.Name] = struct{}{}
	f.results = append(f.results, r)
	return true
}

// here finds what is hosted and what was pulled.
func (f *finding) here(ctx context.Context) error {
	if f.registry == "" {
		if err := f.hosted(ctx); err != nil {
			return err
		}
	}
	for repo, err := range f.o.Manifests.Search(ctx, f.term) {
		if err != nil {
			return err
		}
		if name, ok := f.spelled(repo); ok && !f.add(upstream.SearchResult{Name: name, Description: "cached from " + repo.Registry}) {
			return nil
		}
	}
	return nil
}

// hosted finds what was pushed here.
func (f *finding) hosted(ctx context.Context) error {
	for name, err := range f.o.Hosted.Search(ctx, f.term) {
		if err != nil {
			return err
		}
		if f.sees(Home{Hosted: true, Name: name}) && !f.add(upstream.SearchResult{Name: name, Description: "hosted here"}) {
			return nil
		}
	}
	return nil
}

// spelled is the name of a cached repository, if it may be told and can be pulled.
func (f *finding) spelled(repo cache.Repo) (string, bool) {
	_, configured := f.o.Registries[repo.Registry]
	if !configured || f.registry != "" && f.registry != repo.Registry || !f.sees(Home{Registry: repo.Registry, Name: repo.Name}) {
		return "", false
	}
	return f.spell(repo), true
}

func (f *finding) spell(repo cache.Repo) string {
	if f.registry != "" {
		return repo.Name
	}
	return spelling(&f.o.Names, repo)
}

// spelling is the name by which a repository of an upstream is pulled from here.
func spelling(cfg *Names, repo cache.Repo) string {
	if home, err := unscoped(cfg, repo.Name, false); err == nil && home == (Home{Registry: repo.Registry, Name: repo.Name}) {
		return repo.Name
	}
	return repo.Registry + "/" + repo.Name
}

// upstream asks the default upstream, or the one that is searched. Whatever is wrong with it, the rest is worth an answer.
func (f *finding) upstream(ctx context.Context) {
	registry := f.registry
	if registry == "" {
		registry = f.o.Names.Default
	}
	ask := f.o.Registries[registry].Search
	if ask == nil || f.term == "" {
		return
	}
	found, err := ask(ctx, f.term, longestSearch)
	if err != nil {
		f.o.Log.Debug("upstream was not searched", "upstream", registry, "err", err)
		return
	}
	for _, r := range found {
		r.Name = hubName(registry, r.Name)
		if allowed, _ := f.lists(Home{Registry: registry, Name: r.Name}); allowed && ValidName(r.Name) {
			r.Name = f.spell(cache.Repo{Registry: registry, Name: r.Name})
			f.add(r)
		}
	}
}
