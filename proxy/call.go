package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/valyala/fasthttp"
)

// call is one request on its way through the server. Calls are reused; nothing keeps one after its handler.
type call struct {
	server *Server
	ctx    *fasthttp.RequestCtx
	conn   *conn // nil where the connection is not ours
	plain  bool  // not TLS

	req     Request // views of ctx
	ns      string  // a view of ctx
	home    Home
	caller  *access.Caller  // who asks
	alone   bool            // another server asks, for a client of its own
	paged   bool            // a browser asks, for a page
	looking context.Context // of what a page looks up
	answer  Answer
	start   time.Time
	stream  *body        // what reports the end of the answer, if it is not the handler
	body    *requestBody // nil until a handler asks for it

	unanswered bool            // another call answers the request
	failure    *Error          // the answer, where it is one
	refusal    *access.Refusal // the reason of failure, where it is one
	made       string          // digest of what was pushed
	moved      []string        // tags that were moved, where the path names none

	scratch []byte // for header values; kept from call to call
}

func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c := s.begin(ctx)
	defer c.end()
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

// expect is asked about a request whose client waits before it sends the body. What can be refused without the body is
// refused here, and the answer is final; everything else goes on to handle.
func (s *Server) expect(ctx *fasthttp.RequestCtx) (status int) {
	status = http.StatusInternalServerError // of a panic
	c := s.begin(ctx)
	defer c.end()
	if err := c.foresee(); err != nil {
		c.letRead() // some clients do not wait for long
		c.fail(err)
		return ctx.Response.StatusCode()
	}
	c.unanswered = true
	return http.StatusContinue
}

// foresee fails where the request is refused whatever its body is.
func (c *call) foresee() error {
	r, err := c.find()
	if err == nil && !r.reads(c.ctx) {
		_, err = c.change(r)
	}
	return err
}

// unreadable answers what is not a request.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	c := s.begin(ctx)
	defer c.end()
	e := &Error{Code: CodeUnknown, Status: http.StatusBadRequest, Message: "malformed request", Err: err}
	var timeout net.Error
	var long *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &long):
		e.Status, e.Message = http.StatusRequestHeaderFieldsTooLarge, "the request line and headers exceed 32 KiB"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Status, e.Message = http.StatusRequestTimeout, "the request did not arrive in time"
	}
	c.letRead()
	c.writeError(e)
}

func (s *Server) begin(ctx *fasthttp.RequestCtx) *call {
	s.running.Add(1) // until finish, or the end of what another call answers
	c := s.calls.Get().(*call)
	c.ctx, c.start = ctx, s.o.Now()
	c.conn, c.plain = connOf(ctx.Conn())
	return c
}

// serve finds the route, then whose name it is, and only then touches anything.
func (c *call) serve() error {
	r, err := c.find()
	if err != nil {
		return err
	}
	if r.reads(c.ctx) {
		return c.read(r)
	}
	do, err := c.change(r)
	if err != nil {
		return err
	}
	c.keep()
	return do(c)
}

func (c *call) find() (r *route, err error) {
	c.set(headerAPIVersion, apiVersion)
	if c.req, err = ParsePath(view(c.ctx.URI().PathOriginal())); err != nil {
		return nil, err
	}
	if c.paged = c.req.Kind == KindPage; c.paged && c.server.o.Page == nil {
		c.req, c.paged = Request{}, false
	}
	if c.req.Kind == KindNone {
		return nil, errNoEndpoint()
	}
	if err = c.knowReplica(); err != nil {
		return nil, err
	}
	if c.req.Kind != KindToken {
		err = c.recognize()
	} else if !c.server.o.Access.Closed() {
		err = errNoEndpoint()
	}
	return c.req.route(), err
}

func errNoEndpoint() error {
	return &Error{Code: CodeUnsupported, Status: http.StatusNotFound, Message: "no such endpoint"}
}

func (c *call) read(r *route) error {
	if query := c.ctx.URI().QueryString(); len(query) > 0 {
		c.ns = view(c.ctx.QueryArgs().Peek("ns"))
	}
	if !r.named {
		return r.read(c)
	}
	home, err := Target(c.server.names, c.req.Name, c.ns, view(c.ctx.Host()))
	if err != nil {
		return err
	}
	c.home = home
	c.scope(home.Scoped)
	if err := c.mayPull(home, c.req.Name, c.req.Ref); err != nil {
		return err
	}
	c.let(access.Pull)
	if home.Hosted {
		c.keep()
		return c.hint(r.hosted(c))
	}
	return r.read(c)
}

// let notes that somebody in particular may do what they ask for.
func (c *call) let(a access.Action) {
	if c.caller.Subject != access.Anonymous {
		c.answer.Allowed, c.answer.Action = true, a
	}
}

// scope says in the answer which namespace was asked for.
func (c *call) scope(scoped bool) {
	if scoped {
		c.set(headerNamespace, c.ns)
	}
}

// keep copies what was parsed. It comes before the first call that may remember a string.
func (c *call) keep() {
	c.req = c.req.clone()
	c.home.Name = strings.Clone(c.home.Name)
}

// repository is made after keep.
func (c *call) repository() Repository {
	return c.server.o.Registries[c.home.Registry].Repository(c.home.Name)
}

func (c *call) repo() cache.Repo { return cache.Repo{Registry: c.home.Registry, Name: c.home.Name} }
