package proxy

import (
	"math"
	"net/url"
	"strconv"
)

const (
	pageSize     = 1000  // of a catalog that is asked for without n
	longestPage  = 10000 // whatever n says: a page is made in memory
	longestParam = 512   // bytes of last and artifactType
)

// page is what a list request asks for.
type page struct {
	n    int // -1: not said
	last string
}

// page reads n and last. It copies.
func (c *call) page() (page, error) {
	args := c.ctx.QueryArgs()
	p := page{n: -1, last: string(args.Peek("last"))}
	if len(p.last) > longestParam {
		return page{}, newError(CodePaginationNumber, "last is too long")
	}
	if !args.Has("n") {
		return p, nil
	}
	n, ok := position(view(args.Peek("n")))
	if !ok || n > math.MaxInt32 {
		return page{}, newError(CodePaginationNumber, "n is not a number of entries")
	}
	p.n = int(min(n, longestPage))
	return p, nil
}

// size is the n of the next page, where this one has so many entries.
func (p page) size(entries int) int {
	if p.n < 0 {
		return entries
	}
	return p.n
}

// next links to the page after last. The link is relative, and keeps the namespace. more is the part of the query that
// every page has; it begins with an ampersand unless it is empty.
func (c *call) next(path string, n int, last, more string) {
	query := "?n=" + strconv.Itoa(n) + "&last=" + url.QueryEscape(last) + more
	if c.ns != "" {
		query += "&ns=" + url.QueryEscape(c.ns)
	}
	c.set("Link", "<"+path+query+`>; rel="next"`)
}
