package proxy

import (
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/valyala/fasthttp"
)

// call is one request on its way through the server. Calls are reused; nothing keeps one after its handler.
type call struct {
	server *Server
	ctx    *fasthttp.RequestCtx
	conn   *conn // nil where the connection is not ours
	plain  bool  // not TLS

	req    Request // views of ctx
	ns     string  // a view of ctx
	home   Home
	answer Answer
	start  time.Time
	stream *body // what reports the end of the answer, if it is not the handler

	scratch []byte // for header values; kept from call to call
}

func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c := s.begin(ctx)
	defer c.end()
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

// expect answers a request that asks before it sends its body. No route reads one, so the answer is always final.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	s.handle(ctx)
	return ctx.Response.StatusCode()
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
	c := s.calls.Get().(*call)
	c.ctx, c.start = ctx, s.o.Now()
	c.conn, c.plain = connOf(ctx.Conn())
	return c
}

// end is deferred by the outermost handler: without its recover a panic would end the process.
func (c *call) end() {
	if p := recover(); p != nil {
		c.server.o.Log.Error("panic in a handler", "kind", c.req.Kind.String(), "panic", p, "stack", string(debug.Stack()))
		c.ctx.Response.Reset()
		c.stream = nil
		c.ctx.SetConnectionClose()
		c.writeError(newError(CodeUnknown, "internal error"))
	}
	c.answer.Kind, c.answer.Registry = c.req.Kind, c.home.Registry
	c.answer.Status = c.ctx.Response.StatusCode()
	line := c.server.log.line(c.ctx, c.answer.Status)
	if c.stream != nil {
		c.stream.report(c.server, c.answer, c.start, line)
	} else {
		c.server.finish(c.answer, c.start, line)
	}
	*c = call{server: c.server, scratch: c.scratch}
	c.server.calls.Put(c)
}

// serve finds the route, then whose name it is, and only then touches anything.
func (c *call) serve() (err error) {
	c.set(headerAPIVersion, apiVersion)
	if c.ctx.Request.IsBodyStream() {
		c.letRead()
	}
	if c.req, err = ParsePath(view(c.ctx.URI().PathOriginal())); err != nil {
		return err
	}
	r := &routes[c.req.Kind]
	reads := c.ctx.IsGet() || c.ctx.IsHead()
	switch {
	case c.req.Kind == KindNone:
		return &Error{Code: CodeUnsupported, Status: http.StatusNotFound, Message: "no such endpoint"}
	case reads && r.read != nil:
		return c.read(r)
	case r.changes(view(c.ctx.Method())):
		return c.refuseChange()
	}
	return &Error{Code: CodeUnsupported, Message: "method not allowed here", Allow: r.allow()}
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
	if home.Hosted {
		return c.notHosted(r)
	}
	if err := c.admit(); err != nil {
		return err
	}
	return r.read(c)
}

// scope says in the answer which namespace was asked for.
func (c *call) scope(scoped bool) {
	if scoped {
		c.set(headerNamespace, c.ns)
	}
}

// admit is the one place where a private registry's content is withheld, whatever the route and the tier.
func (c *call) admit() error {
	if !c.server.o.Registries[c.home.Registry].Private {
		return nil
	}
	c.keep()
	ref := c.req.Ref
	if ref == "" { // lists name none, and a repository is judged by something in it
		ref = "latest"
	}
	ok, err := c.server.o.Public(c.server.ctx, c.repository(), ref)
	if err == nil && !ok {
		err = newError(CodeDenied, c.home.Registry+" lets nobody read this anonymously, and this cache does not lend its credential")
	}
	return err
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

// notHosted: nothing is hosted yet, so a hosted name is always one that nobody pushed.
func (c *call) notHosted(r *route) error {
	message := "nothing of that name is hosted here"
	if def := c.server.names.Default; def != "" && strings.IndexByte(c.req.Name, '/') < 0 {
		spelling := def + "/" + c.req.Name
		if def == dockerHub {
			spelling = hubName(def, c.req.Name)
		}
		message += "; to ask " + def + ", spell it " + spelling
	}
	return newError(r.missing, message)
}

// refuseChange answers pushes and deletions.
func (c *call) refuseChange() error {
	ns := c.ctx.QueryArgs().Peek("ns")
	home, err := Target(c.server.names, c.req.Name, view(ns), view(c.ctx.Host()))
	if err != nil {
		var unknown *Error
		if errors.As(err, &unknown) {
			return newError(CodeDenied, unknown.Message+"; nothing can be pushed there")
		}
		return err
	}
	if home.Hosted {
		return &Error{Code: CodeUnsupported, Message: "this server hosts no repositories", Allow: routes[c.req.Kind].allow()}
	}
	c.home.Registry = home.Registry
	message := home.Registry + " owns this name, and what is pulled from there is read-only here"
	if first, _, _ := strings.Cut(c.req.Name, "/"); first != home.Registry {
		message += "; to push under " + first + "/, set ENTREPOT_HOSTED=" + first
	}
	return newError(CodeDenied, message)
}

// letRead closes the connection after the answer, but only once the client has read it: a body that nobody reads may
// neither be taken for the next request nor reset the connection.
func (c *call) letRead() {
	c.ctx.SetConnectionClose()
	if c.conn != nil {
		c.conn.linger()
	}
}

// finish tells of an answer that has been sent.
func (s *Server) finish(a Answer, start time.Time, line accessLine) {
	a.Duration = s.o.Now().Sub(start)
	s.o.Answered(a)
	if line != nil {
		s.log.write(line, a)
	}
}
