package proxy

import (
	"io"
	"time"
)

// body is content on its way to a client. Whatever ends it early cuts the connection: an answer that ends cleanly before
// its Content-Length, or a last chunk after too few bytes, cannot be.
type body struct {
	content Content
	conn    *conn // nil where the connection is not ours
	plain   bool
	length  int64 // -1 unknown
	sent    int64
	whole   bool // content ended by itself
	closed  bool

	// What is told when it is over.
	server *Server
	answer Answer
	start  time.Time
	line   accessLine
}

// report makes the end of the body the end of the answer.
func (b *body) report(s *Server, a Answer, start time.Time, line accessLine) {
	b.server, b.answer, b.start, b.line = s, a, start, line
}

// SupportsBodyWriteTo makes the server use WriteTo for bodies of unknown length too: its own loop sends chunks of 4 KiB.
func (b *body) SupportsBodyWriteTo() bool { return true }

// WriteTo hands the connection's ReadFrom to the content, which makes files go by sendfile. On a TLS connection there is
// no sendfile, and without ReadFrom the content uses buffers of its own, which are large.
func (b *body) WriteTo(w io.Writer) (n int64, err error) {
	out := extending{w, b.conn}
	if from, ok := w.(io.ReaderFrom); ok && b.plain {
		n, err = b.content.WriteTo(extendingFrom{out, from})
	} else {
		n, err = b.content.WriteTo(out)
	}
	b.sent += n
	b.whole = err == nil
	return n, err
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	b.sent += int64(n)
	b.whole = err == io.EOF
	if b.conn != nil {
		b.conn.extend()
	}
	return n, err
}

// Close is called by the server once it is done with the body, more than once in some versions.
func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	err := b.content.Close()
	b.answer.Bytes = b.sent
	b.answer.Cut = !b.whole || b.length >= 0 && b.sent < b.length
	if b.server != nil {
		b.server.finish(b.answer, b.start, b.line)
	}
	return err
}

// extending gives what is written after a wait its full time again: the deadline in force may be from before the wait.
type extending struct {
	io.Writer
	conn *conn
}

func (e extending) Write(p []byte) (int, error) {
	if e.conn != nil {
		e.conn.extend()
	}
	return e.Writer.Write(p)
}

type extendingFrom struct {
	extending
	from io.ReaderFrom
}

func (e extendingFrom) ReadFrom(r io.Reader) (int64, error) {
	if e.conn != nil {
		e.conn.extend()
	}
	return e.from.ReadFrom(r)
}
