package proxy

import "slices"

// route is what is done for one kind of path.
type route struct {
	read    func(*call) error // GET and HEAD; it sets headers only once it has the answer
	named   bool              // the path names a repository
	missing Code              // of a 404
	change  []string          // methods of the specification that would change something
}

var routes = [kinds]route{
	KindPing:      {read: (*call).ping},
	KindBlob:      {read: (*call).blob, named: true, missing: CodeBlobUnknown, change: []string{"DELETE"}},
	KindManifest:  {read: (*call).manifest, named: true, missing: CodeManifestUnknown, change: []string{"PUT", "DELETE"}},
	KindUpload:    {named: true, change: []string{"POST", "PATCH", "PUT", "GET", "HEAD", "DELETE"}},
	KindTags:      {read: (*call).tags, named: true, missing: CodeNameUnknown},
	KindReferrers: {read: (*call).referrers, named: true, missing: CodeNameUnknown},
	KindCatalog:   {read: (*call).catalog, missing: CodeNameUnknown},

	KindSearchPing: {read: (*call).searchPing},
	KindSearch:     {read: (*call).search},
}

func (r *route) changes(method string) bool { return slices.Contains(r.change, method) }

// allow lists what succeeds, for a 405.
func (r *route) allow() string {
	if r.read == nil {
		return ""
	}
	return "GET, HEAD"
}

func (c *call) ping() error {
	c.ctx.SetContentType("application/json")
	c.send(viewBytes("{}"))
	return nil
}
