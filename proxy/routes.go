package proxy

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// route is what is done for one kind of path.
type route struct {
	read    func(*call) error // GET and HEAD; it sets headers only once it has the answer
	hosted  func(*call) error // the same, where the name is hosted
	named   bool              // the path names a repository
	missing Code              // of a 404
	change  []change          // that the specification knows
}

// change is a method that changes something, or is a part of a push.
type change struct {
	method string
	do     func(*call) error
}

var routes = [kinds]route{
	KindPing: {read: (*call).ping},
	KindBlob: {
		read: (*call).blob, hosted: (*call).hostedBlob, named: true, missing: CodeBlobUnknown,
		change: []change{{"DELETE", (*call).deleteBlob}},
	},
	KindManifest: {
		read: (*call).manifest, hosted: (*call).hostedManifest, named: true, missing: CodeManifestUnknown,
		change: []change{{"PUT", (*call).putManifest}, {"DELETE", (*call).deleteManifest}},
	},
	KindUpload: {
		named: true, missing: CodeBlobUploadUnknown,
		change: []change{
			{"PATCH", (*call).patchUpload}, {"PUT", (*call).putUpload}, {"DELETE", (*call).cancelUpload},
			{"GET", (*call).uploadStatus}, {"HEAD", (*call).uploadStatus},
		},
	},
	KindTags:      {read: (*call).tags, hosted: (*call).hostedTags, named: true, missing: CodeNameUnknown},
	KindReferrers: {read: (*call).referrers, hosted: (*call).hostedReferrers, named: true, missing: CodeNameUnknown},
	KindCatalog:   {read: (*call).catalog, missing: CodeNameUnknown},

	KindSearchPing: {read: (*call).searchPing},
	KindSearch:     {read: (*call).search},

	KindToken: {read: (*call).token, change: []change{{"POST", (*call).oauth2Token}}},

	KindPage: {read: (*call).webPage},
}

// uploads is the route of a path that names no upload yet.
var uploads = route{named: true, missing: CodeBlobUploadUnknown, change: []change{{"POST", (*call).startUpload}}}

// deletions is the route of the one form of the page that changes something.
var deletions = route{change: []change{{"POST", (*call).deleteByPage}}}

func (r Request) route() *route {
	switch {
	case r.Kind == KindUpload && r.Ref == "":
		return &uploads
	case r.Kind == KindPage && r.Ref == deletePath:
		return &deletions
	}
	return &routes[r.Kind]
}

func (r *route) reads(ctx *fasthttp.RequestCtx) bool {
	return r.read != nil && (ctx.IsGet() || ctx.IsHead())
}

// changes gives what a method does; nil where it does nothing here.
func (r *route) changes(method string) func(*call) error {
	for _, change := range r.change {
		if change.method == method {
			return change.do
		}
	}
	return nil
}

// allow lists the methods that may succeed, for a 405.
func (c *call) allow(r *route) string {
	var methods []string
	if r.read != nil {
		methods = append(methods, "GET", "HEAD")
	}
	for _, change := range r.change {
		if !r.named || !c.server.o.ReadOnly && (change.method != "DELETE" || !c.undeletable()) {
			methods = append(methods, change.method)
		}
	}
	return strings.Join(methods, ", ")
}

func (c *call) ping() error {
	if err := c.mustLogIn(); err != nil {
		return err
	}
	c.ctx.SetContentType("application/json")
	c.send(viewBytes("{}"))
	return nil
}
