package proxy

import (
	"context"
	"io"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/proxy/ui"
)

const (
	shownRows = 50
	lookTags  = 20 // in a list of repositories: where there are more, they are not looked at one by one
	lookAhead = 4  // rows that are looked up at once
)

// placeHosted is the word for what was pushed here. No host of a registry is called so: that would have a dot, or be localhost.
const placeHosted = "hosted"

// listing is what a page of repositories shows: those of one place or of all, one place after the other, whose names hold a
// term, after the last one of the page before.
type listing struct {
	term, in         string
	afterIn, afterAt string // place and name
}

// listing reads the query. It copies.
func (c *call) listing() (listing, error) {
	args := c.ctx.QueryArgs()
	l := listing{term: strings.ToLower(strings.TrimSpace(string(args.Peek("q")))), in: string(args.Peek("in"))}
	l.afterIn, l.afterAt, _ = strings.Cut(string(args.Peek("after")), "/")
	if len(l.term) > longestParam || len(l.afterAt) > longestParam {
		return listing{}, newError(CodePaginationNumber, "that is too long to search for")
	}
	if places := c.places(); l.in != "" && !slices.Contains(places, l.in) || l.afterIn != "" && !slices.Contains(places, l.afterIn) {
		return listing{}, &Error{Code: CodeNameUnknown, Message: "no such registry is configured here"}
	}
	return l, nil
}

func (c *call) places() []string { return append([]string{placeHosted}, c.upstreams()...) }

// path is that of the page after the place and the name given.
func (l listing) path(place, name string) string {
	q := url.Values{}
	for key, value := range map[string]string{"q": l.term, "in": l.in} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if place != "" {
		q.Set("after", place+"/"+name)
	}
	if len(q) == 0 {
		return "/ui/repositories"
	}
	return "/ui/repositories?" + q.Encode()
}

func (c *call) repositoriesPage() error {
	l, err := c.listing()
	if err != nil {
		return err
	}
	rows, more, err := c.repositories(l, shownRows)
	if err != nil {
		return err
	}
	p := ui.Repositories{Page: c.frame("Repositories", "repositories"), Query: l.term, In: l.in, Places: c.places()}
	if l.afterIn != "" {
		p.Prev = l.path("", "")
	}
	if more {
		last := rows[len(rows)-1]
		p.Next = l.path(last.place(), last.Name)
	}
	if p.Rows, err = lookUp(c.looking, rows, c.row); err != nil {
		return err
	}
	return c.show(func(w io.Writer) error { return c.server.ui.Repositories(w, p) })
}

func (h Home) place() string {
	if h.Hosted {
		return placeHosted
	}
	return h.Registry
}

// repositories lists up to n repositories that the reader may see, and whether there are more.
func (c *call) repositories(l listing, n int) (found []Home, more bool, err error) {
	if err := c.caller.MayList(); err != nil {
		return nil, false, err
	}
	places := c.places()
	for _, place := range places[max(0, slices.Index(places, l.afterIn)):] {
		if l.in != "" && l.in != place {
			continue
		}
		last := ""
		if place == l.afterIn {
			last = l.afterAt
		}
		names, further, err := c.namesAt(place, l.term, n+1-len(found), last)
		if err != nil {
			return nil, false, err
		}
		for _, name := range names {
			found = append(found, homeAt(place, name))
		}
		if more = further || len(found) > n; more {
			return found[:min(n, len(found))], true, nil
		}
	}
	return found, false, nil
}

func homeAt(place, name string) Home {
	if place == placeHosted {
		return Home{Hosted: true, Name: name}
	}
	return Home{Registry: place, Name: name}
}

// namesAt lists the names of one place that hold a term, which may begin with the place.
func (c *call) namesAt(place, term string, n int, last string) (names []string, more bool, err error) {
	if !c.caller.Any(place == placeHosted) {
		return nil, false, nil
	}
	listed := func(name string) bool {
		home := homeAt(place, name)
		shown, ok := c.shown(home)
		return ok && strings.Contains(shown, term) && c.sees(home)
	}
	if place == placeHosted {
		return c.server.o.Hosted.Repositories(c.looking, n, last, listed)
	}
	return c.server.o.Manifests.Names(c.looking, place, n, last, listed)
}

// lookUp makes a row of each item, some at once, until one fails or ctx ends.
func lookUp[Item, Row any](ctx context.Context, items []Item, row func(Item) (Row, error)) ([]Row, error) {
	rows := make([]Row, len(items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookAhead)
	for i, item := range items {
		g.Go(recovered(func() (err error) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rows[i], err = row(item)
			return err
		}))
	}
	return rows, g.Wait()
}

// row is what a list says of a repository.
func (c *call) row(home Home) (ui.Repository, error) {
	name, _ := c.shown(home)
	row := ui.Repository{Name: name, Hosted: home.Hosted}
	if home.Hosted && c.server.o.Copies { // each tag would be one request to a store that is far
		tags, more, err := c.server.o.Hosted.Repo(home.Name).Tags(c.looking, lookTags, "")
		row.Tags, row.MoreTags = len(tags), more
		return row, unlessMissing(err)
	}
	tags, more, err := c.shelf(home).tags(c.looking, lookTags, "")
	row.Tags, row.MoreTags = len(tags), more
	for _, t := range tags {
		if !more && t.changed.After(row.Changed) {
			row.Latest, row.Changed = t.name, t.changed
		}
	}
	return row, unlessMissing(err)
}

func (c *call) repositoryPage(name string) error {
	home, err := c.look(name, "")
	if err != nil {
		return err
	}
	after := string(c.ctx.QueryArgs().Peek("after"))
	if len(after) > longestParam {
		return newError(CodePaginationNumber, "after is too long")
	}
	tags, more, err := c.shelf(home).tags(c.looking, shownRows, after)
	if missing(err) {
		return &Error{Code: CodeNameUnknown, Message: "nothing of that repository is here"}
	}
	if err != nil {
		return err
	}
	p := ui.RepositoryPage{
		Page: c.frame(name, "repositories"), Name: name, Hosted: home.Hosted, Bytes: -1,
		Delete: c.mayDelete(home, !c.server.o.NoDelete.Tags), DeleteAll: c.mayDelete(home, !c.server.o.NoDelete.Manifests),
	}
	deleted := Request{Kind: KindManifest, Name: name, Ref: string(c.ctx.QueryArgs().Peek("deleted"))}
	if deleted.check() == nil { // a link can say anything
		p.Notice = "Deleted: " + deleted.Ref
		if !deleted.ByDigest() {
			p.Notice += ". The image that it named stays, by its digest."
		}
	}
	if usage, counted := c.server.o.Hosted.Usage().Repositories[home.Name]; counted && home.Hosted {
		p.Bytes = usage.Bytes
	}
	if after != "" {
		p.Prev = "/ui/repositories/" + name
	}
	if more {
		p.Next = "/ui/repositories/" + name + "?after=" + url.QueryEscape(tags[len(tags)-1].name)
	}
	if p.Tags, err = lookUp(c.looking, tags, func(t tagHere) (ui.Tag, error) { return c.tagRow(home, t) }); err != nil {
		return err
	}
	return c.show(func(w io.Writer) error { return c.server.ui.Repository(w, p) })
}
