package proxy

import (
	"runtime/debug"
	"time"
)

// end is deferred by the outermost handler: without its recover a panic would end the process.
func (c *call) end() {
	if p := recover(); p != nil {
		c.server.o.Log.Error("panic in a handler", "kind", c.req.Kind.String(), "panic", p, "stack", string(debug.Stack()))
		c.ctx.Response.Reset()
		c.stream, c.paged = nil, false // a page is made by much more code than an error
		c.ctx.SetConnectionClose()
		c.writeError(newError(CodeUnknown, "internal error"))
	}
	if c.body != nil {
		c.body.leave()
	}
	defer c.reuse()
	if c.unanswered {
		c.server.running.Add(-1)
		return
	}
	c.closeUnread()
	c.audit()
	c.answer.Kind, c.answer.Registry, c.answer.Hosted = c.req.Kind, c.home.Registry, c.home.Hosted
	if c.paged { // also where it deletes; what it shows is no content of anybody's
		c.answer.Kind, c.answer.Registry, c.answer.Hosted = KindPage, "", false
	}
	c.answer.Replica = c.alone
	c.answer.Status = c.ctx.Response.StatusCode()
	if c.body != nil {
		c.answer.Received = c.body.n
	}
	line := c.server.log.line(c, c.answer.Status)
	if c.stream != nil {
		c.stream.report(c.server, c.answer, c.start, line)
	} else {
		c.server.finish(c.answer, c.start, time.Time{}, line)
	}
}

func (c *call) reuse() {
	*c = call{server: c.server, scratch: c.scratch}
	c.server.calls.Put(c)
}

// letRead closes the connection after the answer, but only once the client has read it: a body that nobody reads may
// neither be taken for the next request nor reset the connection.
func (c *call) letRead() {
	c.ctx.SetConnectionClose()
	if c.conn != nil {
		c.conn.linger()
	}
}

// finish tells of an answer that has been sent. first is when the first byte of its body was, zero where the body was not
// streamed or had none.
func (s *Server) finish(a Answer, start, first time.Time, line accessLine) {
	defer s.running.Add(-1)
	a.Duration = s.o.Now().Sub(start)
	switch {
	case a.FirstByte < 0:
	case first.IsZero():
		a.FirstByte = a.Duration
	default:
		a.FirstByte = first.Sub(start)
	}
	s.o.Answered(a)
	if line != nil {
		s.log.write(line, a)
	}
}
