package proxy

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	mostPages    = 8 // made at once: each of them looks at many small things
	pagePatience = 10 * time.Second
)

// KeptManifests tells what is here of upstreams' manifests and tags. It asks no upstream. *cache.Manifests is one.
type KeptManifests interface {
	CachedTags(ctx context.Context, repo cache.Repo, n int, last string) (tags []cache.Entry, more bool, err error)
	Kept(ctx context.Context, repo cache.Repo, ref string) (m cache.Manifest, checked time.Time, err error)
	KeptReferrers(ctx context.Context, repo cache.Repo, d digest.Digest) (index ocispec.Index, checked time.Time, err error)
	Sizes(ctx context.Context, here func(digest.Digest) int64) iter.Seq2[cache.RepoSize, error]
}

// KeptBlobs tells what is here of blobs. It asks no upstream. *cache.Blobs is one.
type KeptBlobs interface {
	Presence(d digest.Digest) (have, size int64)
	PresenceIn(ctx context.Context, repo cache.Repo, d digest.Digest) (have, size int64)
	KeptBlob(ctx context.Context, repo cache.Repo, d digest.Digest, limit int64) (b []byte, ok bool, err error)
	Fills() []cache.FillStatus // the largest first
	Usage() cache.Usage
}

// Page is what the web page looks at, all of it needed.
type Page struct {
	Manifests KeptManifests
	Blobs     KeptBlobs
	Memory    func() (used, limit int64) // bytes of the memory tier
	Figures   func() Figures
	Version   string // of the program; shown to those who have logged in, or to all where there are no users
}

// webPage answers GET and HEAD of a page. Ref is its path.
func (c *call) webPage() error {
	if name, ok := strings.CutPrefix(c.req.Ref, "/ui/assets/"); ok {
		return c.asset(name)
	}
	if err := c.mustBeHere(); err != nil {
		return err
	}
	release, err := c.reserve(c.server.pages, "too many pages are being made")
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(c.server.ctx, pagePatience)
	defer cancel()
	c.looking = ctx
	c.keep()
	return c.pageAt()
}

func (c *call) pageAt() error {
	if name, ok := strings.CutPrefix(c.req.Ref, "/ui/repositories/"); ok {
		return c.repositoryPage(name)
	}
	if image, ok := strings.CutPrefix(c.req.Ref, "/ui/images/"); ok {
		return c.imagePage(image)
	}
	switch c.req.Ref {
	case "/":
		return c.overviewPage()
	case "/login":
		return c.loginPage()
	case "/ui/live":
		return c.livePart()
	case "/ui/repositories":
		return c.repositoriesPage()
	case "/ui/space":
		return c.spacePage()
	case "/ui/setup":
		return c.setupPage()
	}
	return errNoPage()
}

func errNoPage() error {
	return &Error{Code: CodeUnsupported, Status: http.StatusNotFound, Message: "there is no such page"}
}

// asset answers with a part of all pages, which holds nobody's secrets. Its name changes with its content.
func (c *call) asset(name string) error {
	body, mediaType, ok := c.server.ui.Asset(name)
	if !ok {
		return errNoPage()
	}
	c.set("Cache-Control", "public, "+forEver)
	c.secure()
	c.ctx.SetContentType(mediaType)
	c.send(body)
	return nil
}

// secure forbids browsers whatever the page does not need.
func (c *call) secure() {
	c.set("Content-Security-Policy", ui.Policy)
	c.set("X-Content-Type-Options", "nosniff")
	c.set("Referrer-Policy", "same-origin") // browsers send the Origin of forms to nobody else then, and none at all with no-referrer
	c.set("Cross-Origin-Resource-Policy", "same-origin")
}

// show sends HTML. What one reader may see is for no other one: nothing on the way may keep it.
func (c *call) show(render func(io.Writer) error) error {
	var html bytes.Buffer
	if err := render(&html); err != nil {
		return err
	}
	c.set("Cache-Control", "no-store")
	c.secure()
	c.ctx.SetContentType("text/html; charset=utf-8")
	c.send(html.Bytes())
	return nil
}

// frame is what all pages have.
func (c *call) frame(title, at string) ui.Page {
	_, server, _ := strings.Cut(c.base(), "://")
	p := ui.Page{Title: title, At: at, Server: server}
	if c.caller != nil {
		p.User = string(c.caller.Subject)
	}
	if strings.HasPrefix(c.req.Ref, "/ui/") {
		p.Here = c.req.Ref
	}
	p.Login = c.server.o.Access.Closed() && p.User == ""
	if !p.Login {
		p.Version = c.server.o.Page.Version
	}
	return p
}

// showFailure is writeError for a page. What helps after it is in its header all the same.
func (c *call) showFailure(e *Error) {
	failure := ui.Failure{Page: c.frame(http.StatusText(e.status()), ""), Status: e.status(), Message: e.Message}
	if c.show(func(w io.Writer) error { return c.server.ui.Failure(w, failure) }) != nil {
		c.ctx.SetContentType("text/plain; charset=utf-8")
		c.send([]byte(e.Message))
	}
}

// mayKnow fails unless the reader is told how the server is: where there are users, those who have logged in.
func (c *call) mayKnow(what string) error {
	if err := c.caller.MayList(); err != nil {
		return err
	}
	if c.server.o.Access.Closed() && c.caller.Subject == access.Anonymous {
		return &access.Refusal{Reason: access.NotLoggedIn, Message: "to see " + what + ", log in first"}
	}
	return nil
}

// upstreams are those that the reader is told of. Strangers read no names of registries that they may pull nothing of.
func (c *call) upstreams() (hosts []string) {
	for _, host := range c.server.names.Upstreams {
		stranger := c.server.o.Access.Closed() && c.caller.Subject == access.Anonymous
		if !stranger || c.caller.Any(false) && !c.server.o.Registries[host].Private {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// mustBeHere fails where the page is asked for by a name that stands for an upstream: what it says of names would not hold there.
func (c *call) mustBeHere() error {
	registry, _, err := scope(c.server.names, "", view(c.ctx.Host()))
	if err == nil && registry != "" {
		err = &Error{Code: CodeUnsupported, Status: http.StatusNotFound, Message: "this name stands for " + registry + ", which has no page here; open the page by another name of this server"}
	}
	return err
}

// look gives the home of a repository that a page names, if the reader may see it. No upstream is asked: of a registry that
// is read with a credential, nothing is shown to those whom it is not lent to.
func (c *call) look(name, ref string) (Home, error) {
	if !ValidName(name) {
		return Home{}, newError(CodeNameInvalid, "that is not the name of a repository")
	}
	home, err := Target(c.server.names, name, "", "")
	if err != nil {
		return Home{}, err
	}
	c.home, c.req.Name = home, name
	if err := c.caller.MayList(); err != nil {
		return Home{}, err
	}
	decision, err := c.allowed(home, name, ref)
	if err != nil || home.Hosted || decision.Lent || !c.server.o.Registries[home.Registry].Private {
		return home, err
	}
	if c.server.o.Access.Closed() {
		return Home{}, c.caller.Refuse(access.Pull, name)
	}
	return Home{}, newError(CodeDenied, home.Registry+" is read with a credential, and what it has is not for everybody")
}

// shown is a repository's name as pages write it: with its registry. It is false where no image name leads there.
func (c *call) shown(home Home) (name string, ok bool) {
	if home.Hosted {
		return home.Name, true
	}
	name = home.Registry + "/" + home.Name
	there, err := Target(c.server.names, name, "", "")
	return name, err == nil && there == home
}
